"""torch's Triton kernel compiles for GPUs that are not here, and fits on them."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed"
)
SHARED_LIMIT_BYTES = {80: 163 << 10, 89: 99 << 10, 90: 227 << 10}
"""Per thread block (CUDA C++ programming guide, table of compute capabilities)."""
ONE_IMAGE, MANY_IMAGES = 197, 64 * 197
CASES = [
    *((80, "bf16", 32, MANY_IMAGES), (80, "bf16", 64, MANY_IMAGES)),
    *((89, "fp16", 16, MANY_IMAGES), (89, "bf16", 64, MANY_IMAGES)),
    *((90, "bf16", 16, MANY_IMAGES), (90, "bf16", 32, MANY_IMAGES)),
    *((90, "bf16", 64, MANY_IMAGES), (90, "fp16", 128, MANY_IMAGES)),
    *((90, "bf16", 64, ONE_IMAGE), (90, "fp32", 32, ONE_IMAGE)),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    names = "capability", "dtype_name", "block", "tokens"
    cases = [dict(zip(names, case, strict=True)) for case in CASES]
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))}
    environment.pop("TRITON_INTERPRET", None)
    answer = subprocess.run(
        [sys.executable, "-m", "tests.gpu.kernels.compiled_for_gpus", json.dumps(cases)],
        cwd=Path(__file__).parents[3],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def test_every_kernel_fits_and_keeps_its_sums_in_registers(kernels):
    assert len(kernels) == len(CASES)
    for kernel in kernels:
        assert kernel["shared_bytes"] <= SHARED_LIMIT_BYTES[kernel["capability"]], kernel
        assert kernel["spilled_bytes"] == 0, kernel


def test_only_large_blocks_use_the_warp_group_instructions_of_hopper(kernels):
    for kernel in kernels:
        sixteen_bits = kernel["dtype"] != "fp32"
        hopper = kernel["capability"] == 90 and kernel["block"] >= 64
        assert kernel["wgmma"] == (sixteen_bits and hopper), kernel
        assert kernel["mma.sync"] == (sixteen_bits and not hopper), kernel
