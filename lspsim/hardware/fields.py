"""The fields of a configuration format, as a table.

Error messages, `lspsim hardware show` and docs/hardware.md all read from here, so
they say the same as the models do.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from lspsim.hardware.sourced import Quantity, Ratio, Record, Sourced, Unit


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One key of a configuration file."""

    path: str
    """Dotted keys from the root: `memory.dram.bandwidth`."""
    kind: type
    """`Record` for a section, `Quantity`, `Ratio`, `int`, `bool`, `str`, or `Literal`'s `str`."""
    choices: tuple[str, ...]
    """What may be written, where that is a fixed list."""
    unit: str
    """Unit of the value; "" where it has none."""
    example: str
    """A value as it is written in a file."""
    description: str
    """What the field means."""
    required: bool
    """Whether a file must give it."""
    default: Any
    """Value where it is not given; None for no value."""
    record: type[Record] | None
    """The model of a section."""

    @property
    def key(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class _Shape:
    """What an annotation comes down to."""

    kind: type
    record: type[Record] | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    example: str = ""


def _shape(annotation: Any, metadata: list[Any]) -> _Shape:
    """Look through Optional and Annotated at the type that a file must give."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not types.NoneType)
    if get_origin(annotation) is Annotated:
        metadata = [*annotation.__metadata__, *metadata]
        annotation = annotation.__origin__
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return _Shape(str, choices=choices, example=choices[0])
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return _Shape(Record, record=annotation)
    for mark in metadata:
        if isinstance(mark, Quantity):
            return _Shape(Quantity, unit=mark.dimension.base, example=mark.dimension.example)
        if isinstance(mark, Ratio):
            return _Shape(Ratio, example="0.8")
        if isinstance(mark, Unit):
            return _Shape(int, unit=mark.name, example="32")
    example = {bool: "true", int: "1"}.get(annotation, "text")
    return _Shape(annotation, example=example)


def _spec(path: str, field: FieldInfo) -> FieldSpec:
    shape = _shape(field.annotation, field.metadata)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return FieldSpec(
        path=path,
        kind=shape.kind,
        choices=shape.choices,
        unit=shape.unit,
        example=str(field.examples[0]) if field.examples else shape.example,
        description=field.description or "",
        required=field.is_required(),
        default=default,
        record=shape.record,
    )


def _walk(model: type[Record], prefix: str) -> Iterator[FieldSpec]:
    for name, field in model.model_fields.items():
        spec = _spec(prefix + (field.alias or name), field)
        yield spec
        if spec.record is not None:
            yield from _walk(spec.record, spec.path + ".")


@cache
def fields_of(model: type[Record]) -> dict[str, FieldSpec]:
    """Every key that a file of this format may hold, sections included, in file order.

    Returns
    -------
    dict
        Dotted path -> its `FieldSpec`.
    """
    return {spec.path: spec for spec in _walk(model, "")}


def is_sourced(spec: FieldSpec) -> bool:
    """Whether this section is one constant with its source and bounds."""
    return spec.record is not None and issubclass(spec.record, Sourced)


def example_value(spec: FieldSpec) -> Any:
    """Return a value that passes validation, for a field or a whole section."""
    if spec.record is not None:
        inner = fields_of(spec.record).values()
        return {f.key: example_value(f) for f in inner if f.required and "." not in f.path}
    if spec.kind is int:
        return int(spec.example)
    if spec.kind is bool:
        return spec.example == "true"
    return spec.example


def default_text(spec: FieldSpec, model: type[Record]) -> str:
    """Return the default as a file would say it; "" where there is none."""
    if spec.default is None or spec.record is not None:
        return ""
    if isinstance(spec.default, bool):
        return "true" if spec.default else "false"
    if isinstance(spec.default, int | Fraction):
        formatter = _formatter(spec.path, model)
        return str(spec.default if formatter is None else formatter.format(spec.default))
    return str(spec.default)


def _formatter(path: str, model: type[Record]) -> Quantity | Ratio | None:
    """Return the annotation that reads and writes the field at `path`."""
    section, _, key = path.rpartition(".")
    owner = fields_of(model)[section].record if section else model
    assert owner is not None
    for name, field in owner.model_fields.items():
        if (field.alias or name) == key:
            for mark in field.metadata:
                if isinstance(mark, Quantity | Ratio):
                    return mark
    return None
