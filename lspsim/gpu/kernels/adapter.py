"""`block_sparse_linear`: the one place that calls torch's private BSR kernel.

`torch.sparse._triton_ops.bsr_dense_addmm` computes `beta * input + W @ dense` with a BSR
`W [N, K]` and a dense operand `[K, tokens]`. It reads and writes through strides, so the
activations `[tokens, K]` go in as a transposed view, the result comes out as one, and the
bias is an operand of stride zero: nothing is copied but the padding of tokens to whole
tiles. Behind `torch.library.custom_op` the BSR arrays are plain tensors, which
`torch.compile` takes.

On a CPU a plain product over rows of blocks does the same in any of the kernel's dtypes.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.kernels.tile import Tile, check_block, default_tile, dtype_name
from lspsim.gpu.kernels.tuning import TuningKey, current

INDEX_LIMIT = 2**31
"""The kernel computes offsets with 32 bits."""


def block_sparse_linear(
    x: Tensor, crow: Tensor, col: Tensor, values: Tensor, bias: Tensor | None, out_features: int
) -> Tensor:
    """Return `x @ W^T + bias` for a weight `W [out_features, K]` in BSR form.

    Inference only: it has no gradient. The tile is the tuned one of this GPU and shape
    where there is one, else `default_tile`.

    Parameters
    ----------
    x
        `[..., K]`, fp16, bf16 or fp32.
    crow, col, values
        As `BsrWeight` has them, on the device of `x`.
    bias
        `[out_features]` or None.
    out_features
        The real N, without the padding of ragged blocks.

    Returns
    -------
    `[..., out_features]`, contiguous, of x's dtype.

    Raises
    ------
    LspsimError
        On a dtype, block or device that the kernel does not take.
    """
    result: Tensor = _operator(x, crow, col, values, bias, out_features)
    return result


@torch.library.custom_op(
    "lspsim::block_sparse_linear",
    mutates_args=(),
    schema="(Tensor x, Tensor crow, Tensor col, Tensor values, Tensor? bias, int out_features)"
    " -> Tensor",
)
def _operator(
    x: Tensor, crow: Tensor, col: Tensor, values: Tensor, bias: Tensor | None, out_features: int
) -> Tensor:
    flat = x.reshape(-1, x.shape[-1])
    _check(flat, values, bias, out_features)
    if x.device.type == "cpu":
        y = plain_product(flat, crow, col, values, bias, out_features)
    else:
        key = TuningKey.of(flat, values, out_features)
        tile = current().get(key) or default_tile(flat.shape[0], x.dtype)
        y = kernel_product(flat, crow, col, values, bias, out_features, tile)
    return y.view(*x.shape[:-1], out_features)


@_operator.register_fake
def _shape(
    x: Tensor, crow: Tensor, col: Tensor, values: Tensor, bias: Tensor | None, out_features: int
) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


def kernel_product(
    x: Tensor,
    crow: Tensor,
    col: Tensor,
    values: Tensor,
    bias: Tensor | None,
    out_features: int,
    tile: Tile,
) -> Tensor:
    """Return `x [tokens, K] @ W^T + bias` by torch's Triton kernel with the given tile.

    Raises
    ------
    MissingDependencyError
        When Triton is not installed, or does not know the device.
    LspsimError
        When the product is too large for the kernel's 32-bit offsets.
    """
    tokens, k = x.shape
    block_out, block_in = values.shape[1:]
    rows = crow.numel() - 1
    padded = tile.padded(tokens)
    padded_k = -(-k // block_in) * block_in
    n = rows * block_out
    if padded * max(n, padded_k) >= INDEX_LIMIT:
        raise LspsimError(
            f"{tokens} tokens x {max(n, padded_k)} features pass the kernel's 32-bit offsets; "
            "take a smaller batch"
        )
    x = _padded(x, padded, padded_k)
    y = x.new_empty(padded, n)
    addend = y.t()  # not read when beta is 0
    if bias is not None:
        if n != out_features:  # padding by nothing would still launch a copy
            bias = functional.pad(bias, (0, n - out_features))
        addend = bias[:, None].expand(n, padded)
    _addmm()(
        addend,
        _bsr(crow, col, values, (n, padded_k)),
        x.t(),
        beta=0 if bias is None else 1,
        out=y.t(),
        meta=tile.meta(padded),
    )
    return y[:tokens, :out_features].contiguous()


def _padded(x: Tensor, tokens: int, k: int) -> Tensor:
    """Return `x` in `[tokens, k]`; rows that are added hold anything, columns hold zeros.

    A row of the result depends on its own row of x alone, so that added rows, which are cut
    off again, need no second kernel that fills them.
    """
    if x.shape == (tokens, k):
        return x
    if x.shape[1] != k:
        return functional.pad(x, (0, k - x.shape[1], 0, tokens - x.shape[0]))
    larger = x.new_empty(tokens, k)
    larger[: x.shape[0]] = x
    return larger


def plain_product(
    x: Tensor, crow: Tensor, col: Tensor, values: Tensor, bias: Tensor | None, out_features: int
) -> Tensor:
    """Return `x [tokens, K] @ W^T + bias`, one row of blocks after the other, on any device."""
    block_out, block_in = values.shape[1:]
    tokens, k = x.shape
    blocks = functional.pad(x, (0, -k % block_in)).view(tokens, -1, block_in)
    starts = crow.tolist()
    y = x.new_zeros(tokens, (len(starts) - 1) * block_out)
    for row, (first, last) in enumerate(pairwise(starts)):
        if last > first:
            picked = blocks[:, col[first:last]].reshape(tokens, -1)
            weight = values[first:last].transpose(0, 1).reshape(block_out, -1)
            y[:, row * block_out : (row + 1) * block_out] = picked @ weight.t()
    y = y[:, :out_features].contiguous()
    return y if bias is None else y + bias


def _check(x: Tensor, values: Tensor, bias: Tensor | None, out_features: int) -> None:
    dtype_name(x.dtype)
    check_block(*values.shape[1:])
    for name, other in (("weight", values), ("bias", bias)):
        if other is not None and (other.dtype != x.dtype or other.device != x.device):
            raise LspsimError(
                f"activations are {x.dtype} on {x.device}, the {name} is {other.dtype} on "
                f"{other.device}; convert one, e.g. model.to({x.dtype})"
            )
    if x.device.type not in ("cpu", "cuda"):
        raise LspsimError(
            f"the block-sparse kernel runs on cuda and cpu, not on {x.device.type!r}; move the "
            "model there"
        )


def _addmm() -> Any:
    """Return torch's function, or say what is missing."""
    from torch.sparse import _triton_ops

    if _triton_ops._bsr_strided_addmm_kernel is None:
        raise MissingDependencyError(
            "the block-sparse kernel needs Triton and a GPU that it knows; install a CUDA build "
            "of torch, which brings it (triton on PyPI)"
        )
    return _triton_ops.bsr_dense_addmm


def _bsr(crow: Tensor, col: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return torch's BSR tensor over these arrays, without a copy and unchecked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse BSR tensor support is in beta state")
        return torch.sparse_bsr_tensor(crow, col, values, size, check_invariants=False)
