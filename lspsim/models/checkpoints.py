"""Read checkpoints safely, and find the blocks that their weights no longer use."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lspsim.errors import MissingDependencyError, ModelError
from lspsim.workload.generate import PRUNABLE, mask_from_weight
from lspsim.workload.mask import BlockMask
from lspsim.workload.workload import Workload

_WRAPPERS = ("model", "state_dict")
"""Keys under which training scripts put the state dict (DeiT's, timm's)."""


def masks_from_weights(
    weights: nn.Module | Mapping[str, torch.Tensor], block_out: int, block_in: int
) -> dict[str, BlockMask]:
    """Return the masks of a model's prunable layers: all-zero blocks are removed.

    Parameters
    ----------
    weights
        A module or its state dict. Looked at are the linear layers of the
        transformer blocks (`lspsim.workload.generate.PRUNABLE`).
    block_out, block_in
        Rows of N and columns of K per block.

    Returns
    -------
    One mask per prunable layer by name, full ones included.

    Raises
    ------
    ModelError
        When no layer is prunable, or a weight has no values (meta device).
    WorkloadError
        When a block size is below 1.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    masks = {}
    for key, tensor in state.items():
        name, _, kind = key.rpartition(".")
        if kind != "weight" or PRUNABLE.search(name) is None:
            continue
        if tensor.is_meta:
            raise ModelError(
                f"{key} has no values: the model was built on the meta device; load weights first"
            )
        nonzero = (tensor.detach() != 0).cpu().numpy()
        masks[name] = mask_from_weight(nonzero, block_out, block_in)
    if not masks:
        raise ModelError(
            "no prunable layer (blocks.*.attn.qkv, attn.proj, mlp.fc1, mlp.fc2) among the "
            f"{len(state)} weights; is this a vision transformer's state dict?"
        )
    return masks


def check_fits(state: Mapping[str, torch.Tensor], workload: Workload, source: str) -> None:
    """Refuse weights that are not those of a workload's GEMMs, one for one.

    Parameters
    ----------
    state
        The state dict; matrices and convolutions named `*.weight` are looked at.
    workload
        Operators of the model that it should belong to.
    source
        Where it is from, for the message.

    Raises
    ------
    ModelError
        When a weight is missing, has another shape or belongs to no operator.
    """
    there = {
        key.removesuffix(".weight"): (len(tensor), tensor[0].numel())
        for key, tensor in state.items()
        if key.endswith(".weight") and tensor.ndim >= 2 and len(tensor)
    }
    needed = {gemm.name: (gemm.n, gemm.k) for gemm in workload.gemms if gemm.rhs == "weight"}
    for name in dict.fromkeys([*needed, *there]):
        found, wanted = there.get(name), needed.get(name)
        if found == wanted:
            continue
        if found is None:
            reason = f"it has no {name}.weight"
        elif wanted is None:
            reason = f"the model has no {name}"
        else:
            reason = f"{name} is {found[0]}x{found[1]} there and {wanted[0]}x{wanted[1]} in it"
        raise ModelError(
            f"{source} does not fit {workload.model}: {reason}; name the model that it was saved "
            "from"
        )


def load_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from `.safetensors`, or from torch's format without running its code.

    A dict under `model` or `state_dict` is unwrapped.

    Raises
    ------
    ModelError
        When the file is missing, corrupted, holds anything but tensors, or is
        a pickle that would run code.
    """
    path = Path(path)
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ModelError(f"checkpoint {path}: cannot be read: {error.strerror or error}") from error
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for wrapper in _WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        raise ModelError(
            f"checkpoint {path}: it holds a {type(state).__name__}, not a state dict; "
            "save model.state_dict()"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise ModelError(
                f"checkpoint {path}: entry {key!r} is a {type(value).__name__}, not a tensor; "
                "save model.state_dict()"
            )
    return state


def _read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'{path} needs safetensors; install it with: pip install "lspsim[models]"'
        ) from error
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise ModelError(
            f"checkpoint {path}: not a safetensors file, or corrupted ({error}); download or save "
            "it again"
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # decided below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's text is long and advises to run the code after all
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"an object ({found[1]})" if found else "something"
        raise ModelError(
            f"checkpoint {path}: refused, it holds {what} besides tensors, which could run "
            "code, or is corrupted; save model.state_dict(), best as .safetensors"
        ) from error
    except Exception as error:  # a damaged stream leads its reader to any error at all
        reason = f"{type(error).__name__} {error}".partition("\n")[0].partition(". ")[0]
        raise ModelError(
            f"checkpoint {path}: not a torch checkpoint, or corrupted ({reason.strip()}); download "
            "or save it again"
        ) from error
