"""A pruned network on disk: what was asked for, what came out, and the network itself.

| file | content |
|---|---|
| `prune.json` | `PointRecord`: choices, figures before and after, provenance |
| `pruned.safetensors` | the state dict, removed blocks exactly zero |
| `masks.npz` | the masks by layer |
| `permutations.npz` | where channels were permuted: the old number of each new one |

Reading a record needs no torch; `lspsim front` reads hundreds.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from lspsim.errors import MissingDependencyError, ResultError
from lspsim.report.files import whole_directory
from lspsim.workload import BlockMask
from lspsim.workload.mask_io import save_masks

if TYPE_CHECKING:
    import torch

SCHEMA: Literal["lspsim/prune/v1"] = "lspsim/prune/v1"
RECORD = "prune.json"
WEIGHTS = "pruned.safetensors"
MASKS = "masks.npz"
PERMUTATIONS = "permutations.npz"
CONTENT = (RECORD, WEIGHTS, MASKS, PERMUTATIONS)

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[int | float, Field(ge=0)]
"""Counts stay whole numbers; a cost model other than the simulator may have fractions."""
PositiveAmount = Annotated[int | float, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction01 = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Measured:
    """One network on one chip and one data set.

    Parameters
    ----------
    cycles, latency_s, energy_pj
        Of one inference, by the engine that the provenance names.
    macs
        Multiply-accumulates with kept weights, attention's included.
    top1
        Fraction of images classified correctly; None where the images have no labels.
    kl_nats
        Mean KL divergence from the dense network's predictions, per image; None where
        it was not measured. Rounding can make it slightly negative.
    images
        Images that `top1` and `kl_nats` are over.
    """

    cycles: PositiveAmount
    latency_s: Positive
    energy_pj: Positive
    macs: Amount
    top1: Fraction01 | None
    kl_nats: float | None
    images: Count


@dataclass(frozen=True, slots=True, config=_STRICT)
class AllocationRecord:
    """How far the chosen masks are from the best that the estimates allow.

    Parameters
    ----------
    loss
        Estimated loss increase of the chosen masks.
    bound
        Lagrangian lower bound on it: same menus, additive costs. None where it was not computed.
    gap_relative
        `(loss - bound) / bound`; None where the bound is not above zero.
    gap_nats
        `loss - bound`; None where the curves are not in nats.
    multipliers
        Price of each budget ("cycles", ...): estimated loss per unit of cost. The paper's
        lambda and beta are here under these names.
    unit
        Unit of the curves, hence of `loss` and `bound`: "nats" per image, or what the score
        measures ("weight", "output").
    """

    loss: float
    bound: float | None
    gap_relative: float | None
    gap_nats: float | None
    multipliers: Mapping[str, float]
    unit: Text = "nats"


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class PointRecord:
    """One pruned network: choices, figures, origin.

    Parameters
    ----------
    schema
        Version of the format.
    label
        What to call the network ("cycles=0.5").
    model, data, hardware
        Names, as the command took them.
    block
        Block size as written, rows of N by columns of K ("16x16").
    score, allocate, compensate
        Names of the methods.
    budgets
        Kind to text as written ("cycles" to "0.5").
    seed
        Of calibration sampling and random masks.
    sparsity
        Fraction of the prunable weights that was removed.
    dense, pruned
        Figures before and after.
    allocation
        Loss, bound and gap.
    damping
        Damping that each layer's compensation needed, relative to the mean diagonal of its
        Gram; empty without compensation.
    provenance
        Versions, digests, command; anything that JSON holds.

    Raises
    ------
    pydantic.ValidationError
        When a value has the wrong type, is out of range or not finite.
    """

    schema: Literal["lspsim/prune/v1"] = SCHEMA
    label: Text
    model: Text
    data: Text
    hardware: Text
    block: Text
    score: Text
    allocate: Text
    compensate: Text
    budgets: Mapping[str, str]
    seed: Count
    sparsity: Fraction01
    dense: Measured
    pruned: Measured
    allocation: AllocationRecord
    damping: Mapping[str, NotNegative]
    provenance: Mapping[str, JsonValue]

    def to_json(self) -> str:
        """Return the text of `prune.json`."""
        return _ADAPTER.dump_json(self, indent=1).decode() + "\n"


_ADAPTER = TypeAdapter(PointRecord)


def write_point(
    directory: Path,
    record: PointRecord,
    state_dict: Mapping[str, torch.Tensor],
    masks: Mapping[str, BlockMask],
    *,
    permutations: Mapping[str, NDArray[np.int64]] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a pruned network, whole or not at all.

    Parameters
    ----------
    directory
        Where. Missing parents are made.
    record
        Choices and figures.
    state_dict
        The pruned network's, removed blocks zero; from any device.
    masks
        By layer.
    permutations
        By name, the old number of each new channel; kept for the record.
    overwrite
        Replace an existing network. Anything else is never replaced.

    Returns
    -------
    Path
        `directory`.

    Raises
    ------
    ResultError
        When the place is taken or cannot be written.
    WorkloadError
        When a layer's name cannot name a mask.
    """
    check_free(directory, overwrite)
    with whole_directory(directory) as temporary:
        (temporary / RECORD).write_text(record.to_json(), encoding="utf-8")
        save_masks(temporary / MASKS, masks, record.model)
        if permutations:
            np.savez_compressed(temporary / PERMUTATIONS, **permutations)  # type: ignore[arg-type]
        _write_weights(temporary / WEIGHTS, state_dict, directory)
    return directory


def read_point(directory: Path) -> PointRecord:
    """Read the record of a pruned network; the weights and masks beside it are not opened.

    Parameters
    ----------
    directory
        Of the pruned network.

    Raises
    ------
    ResultError
        When there is none, or it is damaged, of another version, or has a missing, unknown
        or impossible entry; all of these are named at once.
    """
    path = directory / RECORD
    if not directory.is_dir():
        raise ResultError(
            f"{directory}: no such directory; give one that `lspsim prune --out` wrote"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ResultError(
            f"{directory}: not a pruned network (it has no {RECORD}); give a directory that "
            "`lspsim prune --out` wrote"
        ) from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: not text ({error}); it is damaged, prune again") from error
    _check_schema(path, text)
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as failure:
        found = failure.errors(include_url=False)
        known = [f"{'.'.join(map(str, e['loc']))}: {_words(e)}" for e in found]
        raise ResultError(
            f"{path}: {'; '.join(known)}. Was it edited, or written by another version of "
            "lspsim? Prune again"
        ) from failure


def record_beside(path: Path) -> PointRecord | None:
    """Return the record of the pruned network that a file belongs to; None without one.

    Raises
    ------
    ResultError
        When the record is damaged, as `read_point`.
    """
    return read_point(path.parent) if (path.parent / RECORD).is_file() else None


def read_permutations(directory: Path) -> dict[str, NDArray[np.int64]]:
    """Read which channels were permuted; nothing where none were.

    Raises
    ------
    ResultError
        When the file is damaged.
    """
    path = directory / PERMUTATIONS
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored}
    except (OSError, ValueError, BadZipFile) as error:
        raise ResultError(f"{path}: cannot be read ({error}); prune again") from error


def _check_schema(path: Path, text: str) -> None:
    """Raise unless the text is a JSON object of this version."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ResultError(f"{path}: not valid JSON ({error}); it is damaged, prune again") from None
    if not isinstance(data, dict):
        raise ResultError(f"{path}: expected a JSON object, got {type(data).__name__}; prune again")
    if data.get("schema") != SCHEMA:
        raise ResultError(
            f"{path}: schema is {data.get('schema')!r}, but this version reads {SCHEMA!r}; "
            "prune again"
        )


def _words(error: ErrorDetails) -> str:
    """Say what is wrong with one entry."""
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "unexpected_keyword_argument":
        key = str(error["loc"][-1])
        fields = [*PointRecord.__slots__, *Measured.__slots__, *AllocationRecord.__slots__]
        near = difflib.get_close_matches(key, fields, n=1)
        return "is unknown" + (f" (did you mean {near[0]}?)" if near else "")
    return f"{error['msg']}, got {error['input']!r}"


def check_free(path: Path, overwrite: bool = False) -> None:
    """Refuse a place unless it is free, empty, or a pruned network that may be replaced.

    Raises
    ------
    ResultError
        When the place is taken.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir():
        raise ResultError(f"cannot write the pruned network {path}: a file is there; name another")
    names = {entry.name for entry in path.iterdir()}
    if foreign := sorted(names - set(CONTENT)):
        raise ResultError(
            f"cannot write the pruned network {path}: it also holds {', '.join(foreign)}, which "
            "would be lost; name a new directory"
        )
    if names and not overwrite:
        raise ResultError(
            f"the pruned network {path} exists; name a new one or remove it "
            "(in Python: overwrite=True)"
        )


def _write_weights(path: Path, state: Mapping[str, torch.Tensor], directory: Path) -> None:
    """Write the state dict; tensors that share memory are stored apart."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import save_file
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'writing weights needs safetensors; install it with: pip install "lspsim[models]"'
        ) from error
    tensors = {name: x.detach().cpu().contiguous().clone() for name, x in state.items()}
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:  # how it reports a full disk
        raise ResultError(
            f"cannot write the weights of the pruned network {directory}: {error}; choose "
            "a place with enough free space"
        ) from error
