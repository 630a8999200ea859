"""A program: torch's Triton kernel as the adapter calls it, compiled for GPUs that are not here.

Prints one JSON object per kernel; test_compiled_for_gpus.py reads them.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.utils._triton

torch.utils._triton.has_triton = lambda: True  # it would ask for a GPU

import triton  # noqa: E402
from torch.sparse import _triton_ops  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from lspsim.gpu.kernels import Tile, pack  # noqa: E402
from lspsim.gpu.kernels.adapter import kernel_product  # noqa: E402
from lspsim.gpu.kernels.tile import DTYPES, default_tile  # noqa: E402
from tests.gpu.kernels.kernel_cases import mask_for  # noqa: E402

KERNEL = _triton_ops._bsr_strided_addmm_kernel
CUOBJDUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
POINTERS = {torch.float16: "*fp16", torch.bfloat16: "*bf16", torch.float32: "*fp32"}
POINTERS |= {torch.int32: "*i32"}
WARP = 32


class Recorder:
    """Stands for the kernel, and keeps what it is launched with."""

    def __getitem__(self, grid):
        return self.launch

    def launch(self, *arguments, **named):
        self.values = dict(zip(KERNEL.arg_names, arguments, strict=False)) | named


def launched(dtype, block, tokens, tile):
    """Return what torch launches for a product of 768 to 3072 features."""
    recorder = _triton_ops._bsr_strided_addmm_kernel = Recorder()
    packed = pack(torch.zeros(3072, 768, dtype=dtype), mask_for(3072, 768, block, block, 0.3))
    x, bias = torch.zeros(tokens, 768, dtype=dtype), torch.zeros(3072, dtype=dtype)
    kernel_product(x, packed.crow, packed.col, packed.values, bias, 3072, tile)
    return recorder.values


def compiled(capability, dtype, block, tokens, tile):
    """Compile as Triton does at a launch: ones are constants, multiples of 16 are known."""
    values = launched(dtype, block, tokens, tile)
    options = {name: values.pop(name) for name in ("num_stages", "num_warps")}
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(KERNEL.params):
        value = values[parameter.name]
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name], constants[index,] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = POINTERS[value.dtype]
            attributes[index,] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "i32"
            if value % 16 == 0:
                attributes[index,] = [["tt.divisibility", 16]]
    source = ASTSource(KERNEL, signature, constants, attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, WARP), options=options)


def resources(cubin):
    """Return registers per thread, and bytes that spilled to the stack or local memory."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [CUOBJDUMP, "-res-usage", file.name]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {name: int(n) for name, n in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", printed)}
    return {"registers": found["REG"], "spilled_bytes": found["STACK"] + found["LOCAL"]}


def report(capability, dtype_name, block, tokens, tile=None):
    dtype = DTYPES[dtype_name]
    tile = tile or default_tile(tokens, dtype)
    kernel = compiled(capability, dtype, block, tokens, tile)
    row = {"capability": capability, "dtype": dtype_name, "block": block, "tokens": tokens}
    row |= {"stages": tile.stages, "shared_bytes": kernel.metadata.shared}
    row |= {name: name in kernel.asm["ptx"] for name in ("wgmma", "mma.sync")}
    print(json.dumps(row | resources(kernel.asm["cubin"])))


if __name__ == "__main__":
    for case in json.loads(sys.argv[1]):
        tile = case.pop("tile", None)
        report(**case, tile=Tile(**tile) if tile else None)
