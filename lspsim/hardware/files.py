"""Reading one configuration file into its model, with every mistake placed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from lspsim.errors import ConfigError
from lspsim.hardware import problems, yaml_text
from lspsim.hardware.problems import Check
from lspsim.hardware.sourced import Record

R = TypeVar("R", bound=Record)


def read_record(
    path: str | PathLike[str],
    model: type[R],
    checks: Sequence[Check[R]] = (),
    prepare: Callable[[dict[str, Any], Path], None] | None = None,
) -> R:
    """Read a YAML file of any format whose model is a `Record`.

    Parameters
    ----------
    path
        The file.
    model
        Its format.
    checks
        Rules that span several fields.
    prepare
        Called with the file's data and path before validation; may change the data.

    Raises
    ------
    ConfigError
        Names everything that is wrong, a line each: `file:line:column: path: what; cure`.
    """
    file = Path(path)
    document = yaml_text.read(_text_of(file))
    found = list(document.problems)
    record = None
    if document.data:
        if prepare is not None:
            prepare(document.data, file)
        record, more = problems.build(model, document.data, checks)
        found += [(document.place(problem), problem) for problem in more]
    if record is None or found:
        found.sort(key=lambda item: item[0])
        lines = [f"{file}:{mark.line}:{mark.column}: {problem}" for mark, problem in found]
        raise problems.joined(lines, str(file))
    return record


def read_notes(path: str | PathLike[str]) -> dict[str, str]:
    """Comments behind the values of a file: in the presets, their sources.

    Returns
    -------
    dict
        Dotted path -> comment.
    """
    return yaml_text.read(_text_of(Path(path))).notes


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: not a text file (byte {error.start} is not UTF-8); give a YAML file"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{file}: cannot be read: {reason}; check the path") from None
