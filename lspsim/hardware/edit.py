"""Replacing single values of a document by dotted paths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, SupportsIndex

from lspsim.hardware.fields import FieldSpec, fields_of
from lspsim.hardware.problems import Problem, unknown_key
from lspsim.hardware.sourced import Record

_BOOLEANS = {"true": True, "false": False}
_NULLS = {"null", "~"}
_INTEGER = re.compile(r"[+-]?\d{1,20}")


def assign(
    data: dict[str, Any], values: Mapping[str, object], model: type[Record]
) -> list[Problem]:
    """Write values into a document.

    Parameters
    ----------
    data
        Nested dict; changed in place.
    values
        Dotted path -> Python object, or the text that a YAML file would hold.
    model
        The document's format.

    Returns
    -------
    list of Problem
        The paths that do not exist; their values are left out.
    """
    specs = fields_of(model)
    found = []
    for path, value in _flat(values):
        spec = specs.get(path)
        if spec is None:
            found.append(unknown_key(specs, path))
            continue
        *parents, key = path.split(".")
        section = data
        for parent in parents:
            inner = section.get(parent)
            if not isinstance(inner, dict):
                inner = section[parent] = {}
            section = inner
        section[key] = _plain(value, spec)
    return found


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted path and value of each leaf."""
    for path, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{path}.")
        else:
            yield f"{prefix}{path}", value


def _plain(value: object, spec: FieldSpec) -> object:
    """Read a text as YAML would for this field; make an integer of any integer type."""
    if isinstance(value, str):
        text = value.strip()
        if not spec.required and text in _NULLS:
            return None
        if spec.kind is bool:
            return _BOOLEANS.get(text.casefold(), value)
        if spec.kind is int and _INTEGER.fullmatch(text):
            return int(text)
    elif isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return value.__index__()
    return value
