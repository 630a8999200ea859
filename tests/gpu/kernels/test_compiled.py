"""torch's Triton kernel compiled for a GPU that is not there: what docs/gpu_measuring.md says."""

import importlib.util
import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, torch, torch.utils._triton
torch.utils._triton.has_triton = lambda: True  # it would ask for a GPU
from torch.sparse import _triton_ops
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lspsim.gpu.kernels import Tile, pack
from lspsim.gpu.kernels.adapter import kernel_product
from tests.gpu.kernels.kernel_cases import mask_for

kernel, seen = _triton_ops._bsr_strided_addmm_kernel, {}
class Recorder:
    def __getitem__(self, grid):
        return lambda *values, **named: seen.update(zip(kernel.arg_names, values), **named)
_triton_ops._bsr_strided_addmm_kernel = Recorder()

def compiled(block, tile):
    # the operands that the adapter makes, then Triton's own rules for specialising on them
    weight = pack(torch.zeros(768, 768, dtype=torch.bfloat16), mask_for(768, 768, block, block))
    x, bias = torch.zeros(1000, 768).bfloat16(), torch.zeros(768).bfloat16()
    kernel_product(x, weight.crow, weight.col, weight.values, bias, 768, tile)
    options = {name: seen.pop(name) for name in ("num_stages", "num_warps")}
    types, constants, attributes = {}, {}, {}
    for place, parameter in enumerate(kernel.params):
        value = seen[parameter.name]
        types[parameter.name] = "i32"
        if isinstance(value, torch.Tensor):
            types[parameter.name] = "*bf16" if value.is_floating_point() else "*i32"
        if parameter.is_constexpr or isinstance(value, int) and value == 1:
            types[parameter.name], constants[(place,)] = "constexpr", value
        elif isinstance(value, torch.Tensor) or value % 16 == 0:
            attributes[(place,)] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, types, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)

report = {}
for block in (64, 32, 16):
    one = compiled(block, Tile(128, stages=3))
    ptx = one.asm["ptx"]
    report[block] = ["wgmma" in ptx, "mma.sync" in ptx, "cp.async" in ptx, one.metadata.shared]
report["4 like 3"] = [compiled(32, Tile(64, stages=stages)).asm["ptx"] for stages in (3, 4, 5)]
report["4 like 3"] = [text == report["4 like 3"][0] for text in report["4 like 3"]]
print(json.dumps(report))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_what_hopper_gets():
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    for block, warp_group in (("64", True), ("32", False), ("16", False)):
        wgmma, mma, pipelined, shared_bytes = report[block]
        assert (wgmma, mma) == (warp_group, not warp_group)
        assert pipelined
        assert shared_bytes < 99 * 1024  # what an RTX 30 or 40 has per block
    assert report["4 like 3"] == [True, True, False]
