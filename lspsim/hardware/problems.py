"""Everything wrong with a description, found in one go and said in plain words."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lspsim.errors import ConfigError
from lspsim.hardware.fields import FieldSpec, example_value, fields_of
from lspsim.hardware.sourced import Quantity, Record
from lspsim.units import QuantityError

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake."""

    path: str
    """Dotted path of the key; "" for the whole file."""
    what: str
    """What is wrong."""
    cure: str
    """How to mend it."""
    at_key: bool = False
    """Whether the key is at fault, not its value."""
    meant: str | None = None
    """For an unknown key: the path that was probably meant."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, f"{self.what}; {self.cure}") if part)


@dataclass(frozen=True, slots=True)
class Check(Generic[R]):
    """A rule that spans several fields."""

    reads: tuple[str, ...]
    """Paths that the rule looks at; a mistake is reported at the first."""
    find: Callable[[R], tuple[str, str] | None]
    """None, or what is wrong and how to mend it."""


def error(found: Sequence[Problem], where: str) -> ConfigError:
    """Make the one exception that names all problems.

    Parameters
    ----------
    found
        At least one problem.
    where
        What was being read or changed; stands before each problem.
    """
    return joined([f"{where}: {problem}" for problem in found], where)


def joined(lines: Sequence[str], where: str) -> ConfigError:
    """Join messages, one a line; several are counted first."""
    unique = list(dict.fromkeys(lines))
    if len(unique) == 1:
        return ConfigError(unique[0])
    return ConfigError("\n".join([f"{where}: {len(unique)} mistakes", *unique]))


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant."""
    by_case = {k.casefold().replace("-", "_"): k for k in known}
    folded = word.casefold().replace("-", "_")
    near = difflib.get_close_matches(folded, list(by_case), n=1, cutoff=0.6)
    return by_case[near[0]] if near else None


def build(
    model: type[R], data: dict[str, Any], checks: Sequence[Check[R]] = ()
) -> tuple[R | None, list[Problem]]:
    """Validate a document against its model and the rules that span fields.

    Where single fields are wrong, the rules that do not look at them are still
    checked, on a copy in which the wrong fields have a default or example value.

    Parameters
    ----------
    model
        The format.
    data
        Nested dict as read from a file; not changed.
    checks
        Rules that span fields.

    Returns
    -------
    tuple
        The validated record, or None; and all problems.
    """
    try:
        made = model.model_validate(data)
    except ValidationError as failure:
        found = _translate(model, failure)
        faulty = {p.path for p in found} | {p.meant for p in found if p.meant}
        try:
            repaired = model.model_validate(_repair(model, data, failure))
        except ValidationError:
            return None, found
        sound = [c for c in checks if not any(_touch(r, f) for r in c.reads for f in faulty)]
        return None, found + _run(sound, repaired)
    found = _run(checks, made)
    return (None if found else made), found


def _run(checks: Iterable[Check[R]], record: R) -> list[Problem]:
    found = []
    for check in checks:
        finding = check.find(record)
        if finding is not None:
            found.append(Problem(check.reads[0], *finding))
    return found


def _touch(a: str, b: str) -> bool:
    """Whether one path is the other or lies inside it."""
    return a == b or a.startswith(b + ".") or b.startswith(a + ".") or "" in (a, b)


def _repair(model: type[Record], data: dict[str, Any], failure: ValidationError) -> dict[str, Any]:
    """Copy `data` with each faulty value dropped, or exemplary where one is needed."""
    repaired = copy.deepcopy(data)
    specs = fields_of(model)
    for detail in failure.errors(include_url=False, include_input=False):
        *parents, key = (str(part) for part in detail["loc"])
        section: Any = repaired
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            continue
        spec = specs.get(".".join([*parents, key]))
        section.pop(key, None)
        if spec is not None and spec.required:
            section[key] = example_value(spec)
    return repaired


def _translate(model: type[Record], failure: ValidationError) -> list[Problem]:
    """Turn pydantic's errors into problems; a misspelt key is not also missing."""
    specs = fields_of(model)
    found = [_problem(specs, detail) for detail in failure.errors(include_url=False)]
    misspelt = {problem.meant for problem in found if problem.meant}
    return [
        problem
        for problem, detail in zip(found, failure.errors(include_url=False), strict=True)
        if not (detail["type"] == "missing" and problem.path in misspelt)
    ]


def _problem(specs: Mapping[str, FieldSpec], detail: ErrorDetails) -> Problem:
    path = ".".join(str(part) for part in detail["loc"])
    spec = specs.get(path)
    if detail["type"] == "extra_forbidden" or spec is None:
        return unknown_key(specs, path)
    what, cure = _words(spec, detail)
    return Problem(path, what, cure)


def _words(spec: FieldSpec, detail: ErrorDetails) -> tuple[str, str]:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return "missing", _missing_cure(spec)
    if kind == "value_error" and isinstance(context.get("error"), QuantityError):
        return context["error"].what, context["error"].cure
    if kind == "literal_error":
        return f"{given!r} is not a choice here", _choice_cure(given, spec)
    if kind == "model_type":
        return "this must be a section", _section_cure(spec)
    if kind in ("int_type", "int_from_float"):
        return f"{given!r} is not a whole number", f"write one, such as {spec.example}"
    if kind == "bool_type":
        return f"{given!r} is neither true nor false", "write true or false, without quotes"
    if kind == "greater_than_equal":
        return f"{given} is too small", f"it must be at least {context['ge']}"
    if kind == "less_than_equal":
        return f"{given} is too large", f"it must be at most {context['le']}"
    if kind == "string_type":
        return f"{given!r} is not a text", "put it in quotes"
    if kind == "string_too_short":
        return "empty", f"say what it is: {spec.description[0].lower()}{spec.description[1:]}"
    return detail["msg"], "see docs/hardware.md"


def _missing_cure(spec: FieldSpec) -> str:
    if spec.record is not None:
        return f"add the section; {_section_cure(spec)}"
    return f"add {_example_line(spec)} or what your chip has ({spec.description})"


def _section_cure(spec: FieldSpec) -> str:
    """Name the keys that a section must have, with what they look like."""
    assert spec.record is not None
    inner = [f for f in fields_of(spec.record).values() if "." not in f.path]
    needed = [f for f in inner if f.required] or inner
    return "give below it " + ", ".join(_example_line(f) for f in needed)


def _example_line(spec: FieldSpec) -> str:
    if spec.record is not None:
        return f"`{spec.key}: ...`"
    example = f'"{spec.example}"' if spec.kind is Quantity else spec.example
    return f"`{spec.key}: {example}`"


def _choice_cure(given: object, spec: FieldSpec) -> str:
    *others, last = spec.choices
    use = f"use {', '.join(others)} or {last}" if others else f"use {last}"
    near = suggest(str(given), spec.choices)
    return f"did you mean {near!r}? ({use})" if near and others else use


def _siblings(specs: Mapping[str, FieldSpec], section: str) -> dict[str, str]:
    """Key -> path of the fields directly in a section."""
    return {s.key: s.path for s in specs.values() if s.path.rpartition(".")[0] == section}


def unknown_key(specs: Mapping[str, FieldSpec], path: str) -> Problem:
    """Say that a path does not exist, and which one was probably meant.

    Parameters
    ----------
    specs
        The format's fields.
    path
        The unknown path; the part that is wrong may be any of its keys.
    """
    section, _, key = path.rpartition(".")
    if section and section not in specs:
        return unknown_key(specs, section)
    if section and specs[section].record is None:
        what = f"{section} is a single value and holds no {key!r}"
        return Problem(path, what, f"set {section} itself", at_key=True, meant=section)
    siblings = _siblings(specs, section)
    near = suggest(key, siblings)
    elsewhere = [s.path for s in specs.values() if s.key == key]
    if near is not None:
        cure, meant = f"did you mean {near!r}?", siblings[near]
    elif elsewhere:
        cure, meant = f"did you mean {elsewhere[0]!r}?", elsewhere[0]
    else:
        cure, meant = f"known here: {', '.join(siblings)}", None
    return Problem(path, f"unknown key {key!r}", cure, at_key=True, meant=meant)
