import pytest

from lspsim.gpu.config.load import load_framework
from lspsim.gpu.model.lower import AttentionKernel, ElementwiseKernel, GemmKernel, lower
from tests.gpu.model.gpu_cases import transformer

TOKENS = 64 * 197
WIDE = TOKENS * 768


def kinds(kernels):
    return [
        kernel.kind if isinstance(kernel, ElementwiseKernel) else type(kernel).__name__[:4]
        for kernel in kernels
    ]


def lowered(name, **changes):
    framework = load_framework(name).model_copy(update=changes)
    return lower(transformer(blocks=1), framework, "bf16")


def test_eager_launches_one_kernel_per_operator_but_one_attention():
    expected = "Gemm layernorm Gemm Atte Gemm add layernorm Gemm gelu Gemm add"
    assert kinds(lowered("cuda-graph")) == expected.split()


def test_a_compiler_merges_neighbours():
    kernels = lowered("compiled")
    assert kinds(kernels) == [
        "Gemm",
        "layernorm",
        "Gemm",
        "Atte",
        "Gemm",
        "layernorm",
        "Gemm",
        "gelu",
        "Gemm",
        "add",
    ]
    merged = kernels[5]
    # Reads the branch and the residual, writes the sum (read again later) and the norm.
    assert merged.read_bytes == 2 * (2 * WIDE + 2 * 768)
    assert merged.written_bytes == 2 * (WIDE + WIDE)


def test_epilogues_swallow_activation_and_residual():
    expected = "Gemm layernorm Gemm Atte Gemm layernorm Gemm Gemm"
    assert kinds(lowered("aitemplate")) == expected.split()


def test_unfused_attention_writes_its_scores():
    kernels = lowered("cuda-graph", attention="unfused")
    assert kinds(kernels)[3:7] == ["Gemm", "scale", "softmax", "Gemm"]
    assert kernels[5].read_bytes == 2 * 64 * 12 * 197 * 197
    assert (kernels[3].batch, kernels[3].m, kernels[3].k) == (64 * 12, 197, 64)


def test_a_compiler_merges_what_touches_the_scores():
    kernels = lowered("compiled", attention="unfused")
    assert kinds(kernels)[3:6] == ["Gemm", "softmax", "Gemm"]
    assert kernels[4].read_bytes == kernels[4].written_bytes == 2 * 64 * 12 * 197 * 197


@pytest.mark.parametrize(("longest", "attention"), [(196, "Gemm"), (197, "Atte"), (None, "Atte")])
def test_fused_attention_may_take_short_sequences_only(longest, attention):
    assert kinds(lowered("compiled", fused_tokens=longest))[3] == attention


def test_mixed_precision_keeps_the_residual_wide_and_casts():
    kernels = {kernel.name: kernel for kernel in lowered("timm-amp")}
    add = kernels["blocks.0.add1"]
    assert (add.read_bytes, add.written_bytes) == ((2 + 2) * WIDE, 4 * WIDE)
    second = kernels["blocks.0.add2"]
    assert (second.read_bytes, second.written_bytes) == ((2 + 4) * WIDE, 4 * WIDE)
    cast = kernels["blocks.0.mlp.fc1.cast_input"]
    assert (cast.read_bytes, cast.written_bytes) == (4 * WIDE, 2 * WIDE)
    assert "blocks.0.mlp.fc2.cast_input" not in kernels
    assert kernels["blocks.0.mlp.fc2.cast_weight"].read_bytes == 4 * 768 * 3072


@pytest.mark.parametrize("name", ["cuda-graph", "compiled", "aitemplate", "timm-amp", "superblock"])
def test_every_multiplication_is_launched_once(name):
    total = 0
    for kernel in lowered(name):
        if isinstance(kernel, GemmKernel):
            total += kernel.batch * kernel.m * kernel.n * kernel.k
        elif isinstance(kernel, AttentionKernel):
            total += 2 * kernel.sequences * kernel.tokens**2 * kernel.head_dim
    assert total == transformer(blocks=1).macs_dense


def test_layout_copies_stand_before_attention():
    assert kinds(lowered("superblock")).count("copy") == 4


def test_the_first_flash_attention_gives_a_whole_sequence_to_a_thread_block():
    shares = {
        name: [
            one.split for one in lowered("cuda-graph", attention=name) if kinds([one]) == ["Atte"]
        ]
        for name in ("flash", "flash1")
    }
    assert shares == {"flash": [True], "flash1": [False]}


def test_only_weights_are_marked_as_such():
    kernels = lowered("cuda-graph", attention="unfused")
    gemms = {one.name: one.weight for one in kernels if isinstance(one, GemmKernel)}
    assert {name for name, weight in gemms.items() if not weight} == {
        "blocks.0.attn.qk",
        "blocks.0.attn.av",
    }
