"""Workloads: GEMMs, vector operators and block masks. Floor 1."""

from lspsim.workload.mask import BlockMask
from lspsim.workload.ops import INPUT, Gemm, VectorOp
from lspsim.workload.workload import Workload

__all__ = ["INPUT", "BlockMask", "Gemm", "VectorOp", "Workload"]
