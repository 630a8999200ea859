"""Workloads: GEMMs, vector operators and block masks.

Start with `ops` and `mask`; `generate` makes masks, `serialise` and `mask_io` the files.
"""

from lspsim.workload.mask import BlockMask
from lspsim.workload.ops import INPUT, Gemm, VectorOp
from lspsim.workload.workload import Workload

__all__ = ["INPUT", "BlockMask", "Gemm", "VectorOp", "Workload"]
