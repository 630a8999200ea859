"""Changing fitted parameters and writing them to files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from lspsim.gpu.config.schema import Parameters
from lspsim.hardware.sourced import Record
from lspsim.report.files import whole_file

R = TypeVar("R", bound=Record)

_PLAIN = re.compile(r"(?!(?:true|false|null)$)[a-z][\w./-]*", re.IGNORECASE | re.ASCII)
"""A name that YAML reads as a text without quotes."""


def with_values(parameters: Parameters, values: Mapping[str, float | str]) -> Parameters:
    """Return parameters with some values changed.

    Parameters
    ----------
    parameters
        What to start from; unchanged.
    values
        Dotted path to value in base units, rounded to four significant digits; texts for
        names and sources.

    Raises
    ------
    KeyError
        For a path that is no parameter.
    """
    for path, value in values.items():
        section, _, key = path.rpartition(".")
        exact = value if isinstance(value, str) else rounded(value)
        if not section:
            parameters = _changed(parameters, key, exact)
        else:
            inner = _changed(getattr(parameters, section), key, exact)
            parameters = _changed(parameters, section, inner)
    return parameters


def rounded(value: float) -> Fraction:
    """Return a value to four significant digits, exactly as it will be written."""
    return Fraction(f"{value:.4g}")


def write_parameters(path: Path, parameters: Parameters) -> None:
    """Write a parameters file that `load_parameters` reads back to the same values.

    Raises
    ------
    ResultError
        When the place cannot be written.
    """
    document = parameters.model_dump(by_alias=True)
    lines = []
    for key, value in document.items():
        if not isinstance(value, dict):
            lines.append(f"{key}: {_text(key, value)}")
            continue
        lines += ["", f"{key}:"]
        lines += [f"  {inner}: {_text(inner, entry)}" for inner, entry in value.items()]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _changed(record: R, key: str, value: object) -> R:
    if key not in type(record).model_fields:
        raise KeyError(f"{key!r} is not a field of {type(record).__name__}")
    return record.model_copy(update={key: value})


def _text(key: str, value: Any) -> str:
    if isinstance(value, str) and not (key in ("schema", "name") and _PLAIN.fullmatch(value)):
        return json.dumps(value, ensure_ascii=False)  # a YAML text, too
    return str(value)
