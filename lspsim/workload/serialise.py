"""Workloads as JSON. Masks are named by digest; they live in their own `.npz`."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from lspsim.errors import WorkloadError
from lspsim.workload.atomic import write_atomically
from lspsim.workload.mask import BlockMask
from lspsim.workload.mask_io import load_masks
from lspsim.workload.ops import Gemm, VectorOp
from lspsim.workload.workload import Op, Workload

SCHEMA = "lspsim/workload/v1"
MASK_FILE = "masks.npz"
"""Where `load_workload` looks for masks: beside the workload, as in a run directory."""

_TYPES: dict[str, type[Gemm] | type[VectorOp]] = {"gemm": Gemm, "vector": VectorOp}


def workload_to_json(workload: Workload) -> str:
    """Return the workload as JSON text, one operator per line.

    Fields at their defaults are left out. A mask is written as its digest.
    """
    head = json.dumps({"schema": SCHEMA, "model": workload.model, "batch": workload.batch})
    ops = ",\n".join("  " + json.dumps(_encode(op)) for op in workload.ops)
    return f'{head[:-1]}, "ops": [\n{ops}\n]}}\n'


def workload_from_json(
    text: str, masks: Mapping[str, BlockMask] | None = None, *, source: str = "workload"
) -> Workload:
    """Return the workload that `workload_to_json` wrote.

    Parameters
    ----------
    text
        The JSON text.
    masks
        Masks by operator name, for the operators that have one.
    source
        What to call the text in errors, e.g. its file.

    Raises
    ------
    WorkloadError
        On malformed text, an unknown field, a value of the wrong type, or a
        mask that is missing or does not match its digest.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise WorkloadError(f"{source}: not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise WorkloadError(f"{source}: not a workload; its schema must be {SCHEMA!r}")
    if set(document) != {"schema", "model", "batch", "ops"} or not (
        isinstance(document["model"], str)
        and type(document["batch"]) is int
        and isinstance(document["ops"], list)
    ):
        raise WorkloadError(
            f"{source}: a workload has a schema, a model's name, a batch, a list of ops, "
            f"and no more; got {', '.join(map(repr, document))}"
        )
    ops = [
        _decode(entry, masks or {}, f"{source}: ops[{index}]")
        for index, entry in enumerate(document["ops"])
    ]
    return Workload(ops, model=document["model"], batch=document["batch"])


def save_workload(path: str | Path, workload: Workload) -> None:
    """Write the workload without its masks; the file appears whole or not at all."""
    write_atomically(Path(path), lambda file: file.write(workload_to_json(workload).encode()))


def load_workload(path: str | Path, masks: Mapping[str, BlockMask] | None = None) -> Workload:
    """Read a workload file.

    Parameters
    ----------
    path
        The JSON file.
    masks
        Masks by operator name; default: those of `masks.npz` beside it, if there.

    Raises
    ------
    WorkloadError
        When the file cannot be read, or as `workload_from_json`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path}: not a workload file: {error}") from error
    beside = path.with_name(MASK_FILE)
    if masks is None and beside.is_file():
        masks = load_masks(beside)
    return workload_from_json(text, masks, source=str(path))


def _encode(op: Op) -> dict[str, Any]:
    entry: dict[str, Any] = {"op": "gemm" if isinstance(op, Gemm) else "vector"}
    for field in dataclasses.fields(op):
        value = getattr(op, field.name)
        if value != field.default:
            entry[field.name] = value.digest if isinstance(value, BlockMask) else value
    return entry


def _decode(entry: Any, masks: Mapping[str, BlockMask], where: str) -> Op:
    if not isinstance(entry, dict) or entry.get("op") not in _TYPES:
        raise WorkloadError(f"{where}: an operator is an object with op {' or '.join(_TYPES)}")
    values = dict(entry)
    kind = values.pop("op")
    cls, hints = _TYPES[kind], _hints(kind)
    if isinstance(values.get("inputs"), list):
        values["inputs"] = tuple(values["inputs"])
    if isinstance(values.get("mask"), str):
        values["mask"] = _mask(values["mask"], masks.get(str(values.get("name"))), where)
    for name, value in values.items():
        if name not in hints:
            raise WorkloadError(f"{where}: a {cls.__name__} has no field {name!r}")
        if not _fits(value, hints[name]):
            raise WorkloadError(f"{where}: {name} cannot be {value!r}")
    missing = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.name not in values
    ]
    if missing:
        raise WorkloadError(f"{where}: {', '.join(missing)} missing")
    return cls(**values)


def _mask(digest: str, mask: BlockMask | None, where: str) -> BlockMask:
    if mask is None:
        raise WorkloadError(
            f"{where}: its mask ({digest[:12]}...) is not given; put the {MASK_FILE} that was "
            "saved with it beside the workload, or pass masks="
        )
    if mask.digest != digest:
        raise WorkloadError(
            f"{where}: the mask given ({mask.digest[:12]}...) is not the one it was saved with "
            f"({digest[:12]}...)"
        )
    return mask


@functools.cache
def _hints(kind: str) -> dict[str, Any]:
    return typing.get_type_hints(_TYPES[kind])


def _fits(value: Any, hint: Any) -> bool:
    """Whether a decoded value is of the annotated type; a bool is no int."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, arm) for arm in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(type(item) is str for item in value)
    return type(value) is hint
