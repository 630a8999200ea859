"""One DeiT-B for all benchmarks, and what times are compared with."""

import timeit

import numpy as np
import pytest

from lspsim import load_hardware
from lspsim.models import workload_from_model
from lspsim.workload.generate import random_masks

FOUR_CORES = {"cores": 4, "noc": {"bandwidth": "64 GB/s"}}
SEPARATE = {
    "memory.channels": "separate",
    "memory.shares": {"weights": 0.5, "activations": 0.25, "writeback": 0.25},
}


def best_of(call, number, repeat=7):
    """Least seconds per call: the run that others disturbed least."""
    call()
    return min(timeit.repeat(call, number=number, repeat=repeat)) / number


@pytest.fixture(scope="session")
def edge():
    return load_hardware("edge_32x32")


@pytest.fixture(scope="session")
def deit_b():
    """DeiT-B with 48 different masks, 50 % of 32x32 blocks kept."""
    dense = workload_from_model("deit_base_patch16_224")
    return dense.with_masks(random_masks(dense, density=0.5, block_out=32, block_in=32, seed=0))


@pytest.fixture(scope="session")
def yardstick_s(deit_b):
    """Seconds of `u8.sum()` over the same masks as one uint8 array."""
    masks = [op.mask for op in deit_b.gemms if op.mask is not None]
    assert len({mask.digest for mask in masks}) == 48
    kept = np.concatenate([mask.keep.ravel() for mask in masks]).astype(np.uint8)
    return best_of(lambda: kept.sum(), 1000)
