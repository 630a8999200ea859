"""`build_program` against the plain scheduler, and against numbers worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from lspsim.errors import ScheduleError
from lspsim.hardware import Hardware, load_hardware
from lspsim.schedule import Program, build_program
from lspsim.workload import INPUT, Gemm, VectorOp, Workload
from lspsim.workload.workload import Op
from tests.schedule.cases import draw
from tests.schedule.compare import difference, needs_of
from tests.schedule.oracle import DoesNotFitError, oracle_program
from tests.schedule.small import SEPARATE, blocks, chip, chip_with, end, gemm, load
from tests.simulate.workload_cases import random_mask

CASES = 1200
BATCHES = 6


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_cases_equal_the_oracle(batch: int) -> None:
    fit = 0
    for seed in range(batch, CASES, BATCHES):
        workload, hardware = draw(seed)
        try:
            expected = oracle_program(workload, hardware)
        except DoesNotFitError as error:
            with pytest.raises(ScheduleError, match=f"gemm '{error}'.*enlarge buffers"):
                build_program(workload, hardware)
            continue
        fit += 1
        wrong = difference(build_program(workload, hardware), expected)
        assert not wrong, f"seed {seed} (built != oracle): {wrong}\n{workload.ops}\n{hardware}"
    assert fit >= 0.75 * CASES / BATCHES, f"only {fit} cases of this batch fit"


@pytest.mark.parametrize("cores", [1, 4])
@pytest.mark.parametrize("dataflow", ["weight-stationary", "output-stationary"])
def test_a_transformer_block_equals_the_oracle(dataflow: str, cores: int) -> None:
    """Sizes of a real layer: 197 tokens, width 192, 3 heads, one 8x8-pruned projection."""
    rng = random.Random(cores)
    hardware = load_hardware("edge_32x32").with_values(
        {
            "cores": cores,
            "array.dataflow": dataflow,
            "array.packing": "k-compact",
            "array.assignment": "longest-first",
            "buffers.activation": "128 KiB",
            "noc": {"bandwidth": "32 GB/s"},
        }
    )
    ops: list[Op] = [
        VectorOp("norm", "layernorm", 197, 192, parameters=384),
        Gemm("qkv", 197, 192, 576, bias=True),
        Gemm("qk", 197, 64, 197, batch=3, rhs="activation", inputs=("qkv", "qkv")),
        VectorOp("softmax", "softmax", 591, 197),
        Gemm("av", 197, 197, 64, batch=3, rhs="activation", inputs=("softmax", "qkv")),
        Gemm("proj", 197, 192, 192, mask=random_mask(rng, 192, 192, 8, 8), bias=True),
        VectorOp("residual", "add", 197, 192, inputs=("proj", "norm")),
    ]
    workload = Workload(ops)
    wrong = difference(build_program(workload, hardware), oracle_program(workload, hardware))
    assert not wrong, wrong


def build(ops: Sequence[Op], hardware: Hardware) -> Program:
    """Build a program; the oracle must agree with what the test then states."""
    program = build_program(Workload(ops), hardware)
    assert not difference(program, oracle_program(Workload(ops), hardware))
    return program


def of(program: Program, name: str, segment: int) -> list[int]:
    """One field of the visits of a segment, core after core."""
    return getattr(program, f"visit_{name}")[program.visit_segment == segment].tolist()


def core_of(program: Program, name: str, core: int) -> list[int]:
    """One field of the visits of a core."""
    start, stop = program.visit_start[core : core + 2]
    return getattr(program, f"visit_{name}")[start:stop].tolist()


# ---- one tile, and the scalars --------------------------------------------------------------


def test_one_tile() -> None:
    program = build([gemm(6, 4, 4)], chip())
    assert (program.fifo_slots, program.latency_cycles) == (4, 5)
    assert program.segment_op.tolist() == [0]
    assert program.segment_tile_cycles.tolist() == [16]  # 4 x 4 bytes
    assert program.segment_prefetchable.tolist() == [1]
    assert program.segment_gather_cycles.tolist() == [0]
    fields = {name: of(program, name, 0) for name in ("folds", "length", "acquire", "held")}
    assert fields == {"folds": [1], "length": [6], "acquire": [1], "held": [1]}
    assert of(program, "release", 0) == [1]
    assert of(program, "writeback_cycles", 0) == [24]  # 6 x 4 bytes, nobody reads them
    assert of(program, "drain_cycles", 0) == [0]
    assert program.act_cycles.tolist() == [24]  # 6 x 4 bytes of the network's input
    assert program.act_after_visit.tolist() == [-1]
    assert needs_of(program) == [[0]]


def test_arrays_are_read_only() -> None:
    program = build_program(Workload(chain()), chip())
    arrays = [
        value
        for name in Program.__slots__
        if isinstance(value := getattr(program, name), np.ndarray)
    ]
    assert len(arrays) > 20
    assert not any(array.flags.writeable for array in arrays)


def test_transfer_cycles_round_up_to_bursts_and_cycles() -> None:
    # 100 bytes = 2 bursts of 64; 128 bytes at 25.6 x 0.8 = 20.48 bytes per cycle: 6.25 -> 7
    fast = {
        "memory.dram.bandwidth": "25.6 GB/s",
        "memory.dram.efficiency": 0.8,
        "memory.dram.burst": "64 B",
        "array.accumulator_rows": 25,
    }
    ops = [load(25, 4), VectorOp("read", "softmax", 1, 1)]
    assert build(ops, chip_with(fast)).act_cycles[0] == 7
    # a quarter of it: 25 cycles exactly
    assert build(ops, chip_with(fast | SEPARATE)).act_cycles[0] == 25
    # 64 bytes at 400 bytes per cycle: at least 1
    quick = chip_with(fast, memory__dram__bandwidth="500 GB/s")
    assert build([load(1, 1)], quick).act_cycles.tolist() == [1]


# ---- residency ------------------------------------------------------------------------------

CHAIN = [
    Gemm("a", 4, 4, 8),  # 32 bytes
    Gemm("b", 4, 8, 4),  # 16 bytes, beside the 32 of a
    Gemm("c", 4, 4, 4),
]


@pytest.mark.parametrize(
    ("buffer", "stays"), [(48, [True, True]), (47, [True, False]), (31, [False, True])]
)
def test_a_result_stays_if_it_fits_beside_what_is_there(buffer: int, stays: list[bool]) -> None:
    program = build(CHAIN, chip(buffers__activation=f"{buffer} B"))
    for segment, stay in enumerate(stays):
        size = 32 if segment == 0 else 16
        assert sum(of(program, "writeback_cycles", segment)) == (0 if stay else size)
        assert any(of(program, "drain_cycles", segment)) is stay
        assert (segment + 1 in program.act_segment) is not stay


def test_a_residual_is_kept_until_its_last_reader() -> None:
    residual = [
        load(4, 4, "r"),  # 16 bytes
        VectorOp("s", "softmax", 4, 4),  # 16
        VectorOp("t", "softmax", 4, 4),  # 16; s is freed after it
        VectorOp("sum", "add", 4, 4, inputs=("t", "r")),  # 16
        VectorOp("u", "softmax", 4, 4),
    ]
    roomy = build(residual, chip(buffers__activation="48 B"))
    assert roomy.act_segment.tolist() == [0]
    # r, s and t do not fit together: t goes to DRAM and comes back
    tight = build(residual, chip(buffers__activation="47 B"))
    assert of(tight, "writeback_cycles", 2) == [16]
    assert tight.act_segment.tolist() == [0, 3]
    assert tight.act_cycles.tolist() == [16, 16]


# ---- fusion ---------------------------------------------------------------------------------


def chain(**gelu: object) -> list[Op]:
    options: dict[str, object] = {"kind": "gelu", "rows": 4, "cols": 4} | gelu
    return [
        load(4, 4, "r"),
        gemm(4, 4, 4),
        VectorOp("act", **options),  # type: ignore[arg-type]
        VectorOp("sum", "add", 4, 4, inputs=("act", "r")),
        VectorOp("end", "softmax", 4, 4),
    ]


def test_elementwise_operators_are_fused() -> None:
    program = build(chain(), chip())
    assert program.segment_op.tolist() == [0, 1, 4]
    assert of(program, "vector_cycles", 1) == [2 * (16 // 4 + 2)]
    assert of(program, "is_vector", 1) == [0]
    assert of(program, "vector_cycles", 2) == [3 * 16 // 4 + 2]  # softmax: 3 passes


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        (chain(kind="softmax"), [0, 1, 2, 3, 4]),
        (chain(kind="copy"), [0, 1, 2, 3, 4]),
        (chain(parameters=4), [0, 1, 2, 3, 4]),
        (chain(inputs=("r",)), [0, 1, 2, 3, 4]),
        (chain(rows=2), [0, 1, 2, 3, 4]),
        (chain(rows=2, cols=8), [0, 1, 4]),  # as many elements, other shape
        ([*chain()[:4], VectorOp("end", "add", 4, 4, inputs=("sum", "act"))], [0, 1, 3, 4]),
        ([*chain()[:3], VectorOp("sum", "add", 4, 4, inputs=("act", INPUT))], [0, 1, 3]),
        ([*chain()[:3], VectorOp("sum", "add", 4, 4, inputs=("r", "act"))], [0, 1]),
        ([*chain()[:3], VectorOp("sum", "add", 4, 4, inputs=("act", "act"))], [0, 1, 3]),
    ],
)
def test_what_breaks_a_chain(ops: list[Op], expected: list[int]) -> None:
    assert build(ops, chip()).segment_op.tolist() == expected


def test_nothing_is_fused_without_overlap() -> None:
    program = build(chain(), chip(vector__overlap=False))
    assert program.segment_op.tolist() == [0, 1, 2, 3, 4]
    assert of(program, "vector_cycles", 1) == [0]


# ---- chunks and held columns ------------------------------------------------------------------


def test_the_first_chunks_are_one_row_longer() -> None:
    program = build([load(10, 4), gemm(10, 4, 4)], chip(array__accumulator_rows=4))
    assert of(program, "length", 1) == [4, 3, 3]


def test_a_streamed_chunk_fits_half_the_buffer() -> None:
    # 4 bytes per row; half of 27 bytes holds 3 rows
    program = build([gemm(10, 4, 4)], chip(buffers__activation="27 B"))
    assert of(program, "length", 0) == [3, 3, 2, 2]
    assert program.act_cycles.tolist() == [12, 12, 8, 8]


@pytest.mark.parametrize(
    ("buffer", "acquire", "release"),
    [
        ("64 B", [2, 0, 0, 2, 0, 0], [0, 0, 1, 0, 0, 1]),
        ("63 B", [2, 2, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1]),
    ],
)
def test_a_column_is_held_if_twice_its_tiles_fit(
    buffer: str, acquire: list[int], release: list[int]
) -> None:
    ops = [load(10, 8), gemm(10, 8, 8)]
    program = build(ops, chip(array__accumulator_rows=4, buffers__weight=buffer))
    assert of(program, "length", 1) == [4, 3, 3, 4, 3, 3]  # column -> chunk
    assert of(program, "acquire", 1) == acquire
    assert of(program, "release", 1) == release
    assert of(program, "held", 1) == [2] * 6


def test_streamed_chunks_outside_columns() -> None:
    program = build([gemm(10, 7, 8)], chip(array__accumulator_rows=4))
    assert of(program, "length", 0) == [4, 4, 3, 3, 3, 3]  # chunk -> column
    assert of(program, "acquire", 0) == [2] * 6
    assert program.act_cycles.tolist() == [4 * 4, 4 * 3, 3 * 4, 3 * 3, 3 * 4, 3 * 3]
    # the third chunk may come when the first one's last visit, number 1, is through
    assert program.act_after_visit.tolist() == [-1, -1, -1, -1, 1, 1]
    assert needs_of(program) == [[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]]


# ---- masks ------------------------------------------------------------------------------------

# tile columns 0 to 4 with 2, 0, 2, 1, 1 live tiles
UNEVEN = blocks([[1, 1], [0, 0], [1, 1], [1, 0], [0, 1]], 4, 4)


@pytest.mark.parametrize(
    ("assignment", "first", "second"),
    [
        ("round-robin", [2, 2, 1], [0, 1]),
        # 0 -> core 0, 2 -> core 1, 3 -> core 0 (tie), 4 -> core 1, 1 -> core 0 (tie)
        ("longest-first", [2, 0, 1], [2, 1]),
    ],
)
def test_columns_are_dealt_to_cores(assignment: str, first: list[int], second: list[int]) -> None:
    sparse = chip(cores=2, array__sparsity="block", array__assignment=assignment)
    program = build([load(4, 8), gemm(4, 8, 20, UNEVEN)], sparse)
    visits = [core_of(program, "folds", core) for core in (0, 1)]
    segments = [core_of(program, "segment", core) for core in (0, 1)]
    folds = [
        [f for f, s in zip(v, g, strict=True) if s == 1]
        for v, g in zip(visits, segments, strict=True)
    ]
    assert folds == [first, second]


def test_tiles_meet_blocks_that_do_not_align() -> None:
    # blocks of 3 x 3 over 4 x 4 tiles; the kept block covers N 3..5, K 6..8
    mask = blocks([[0, 0, 0], [0, 0, 1]], 3, 3)
    program = build([load(4, 9), gemm(4, 9, 6, mask)], chip(array__sparsity="block"))
    assert of(program, "folds", 1) == [2, 2]  # K tiles 1 and 2 of both columns


def test_a_dense_only_core_ignores_the_mask() -> None:
    program = build([load(4, 8), gemm(4, 8, 20, UNEVEN)], chip())
    assert of(program, "folds", 1) == [2] * 5
    assert of(program, "header_cycles", 1) == [0] * 5


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # 9 K tiles: 2 bytes of bitmap; bias of 4 and 2 columns; weights take 2 cycles per byte
        ({}, [2 * (2 + 16), 0, 2 * (2 + 8), 0]),
        # 2 bytes per live tile and 4; the first column keeps 9 tiles, the second 1
        ({"array__index": "bsr"}, [2 * (22 + 16), 0, 2 * (6 + 8), 0]),
        # 18 sub-blocks of height 2: 3 bytes
        ({"array__packing": "k-compact"}, [2 * (3 + 16), 0, 2 * (3 + 8), 0]),
        ({"array__packing": "k-compact", "array__index": "bsr"}, [2 * 56, 0, 2 * (6 + 8), 0]),
        ({"array__sparsity": "none"}, [2 * 16, 0, 2 * 8, 0]),
    ],
)
def test_header_bytes(changes: dict[str, object], expected: list[int]) -> None:
    mask = blocks([[1] * 18, [1] * 18, [1] + [0] * 17], 2, 2)
    hardware = chip_with(
        SEPARATE | {"array.sparsity": "block", "array.accumulator_rows": 4},
        **changes,
    )
    program = build([load(6, 36), gemm(6, 36, 6, mask, bias=True)], hardware)
    assert of(program, "header_cycles", 1) == expected


def test_the_header_of_an_empty_column_uses_the_writeback_channel() -> None:
    hardware = chip_with(SEPARATE | {"array.sparsity": "block"})
    program = build([load(4, 8), gemm(4, 8, 20, UNEVEN, bias=True)], hardware)
    assert of(program, "header_cycles", 1) == [34, 4 * 17, 34, 34, 34]
    assert of(program, "acquire", 1) == [2, 0, 2, 1, 1]
    assert of(program, "writeback_cycles", 1) == [64] * 5  # zeros and bias are written too


GATHERED = blocks([[0, 1, 0, 1, 0, 0, 1, 1]], 4, 2)  # keeps K 2, 3, 6, 7, 12 to 15


def test_k_compact_waits_for_the_slice_of_its_last_row() -> None:
    hardware = chip(array__sparsity="block", array__packing="k-compact")
    program = build([gemm(6, 16, 4, GATHERED)], hardware)
    assert of(program, "folds", 0) == [2]
    assert program.act_cycles.tolist() == [24, 24, 24]  # slices 0, 1 and 3 of K
    assert needs_of(program) == [[1, 2]]  # K 2, 3, 6, 7 end in slice 1, K 12 to 15 in slice 3


# ---- output-stationary ------------------------------------------------------------------------


def output_stationary(**changes: object) -> Hardware:
    return chip(array__dataflow="output-stationary", array__sparsity="block", **changes)


def test_output_stationary_holds_a_column_for_all_m_tiles() -> None:
    program = build([load(10, 16), gemm(10, 16, 4, GATHERED)], output_stationary())
    assert of(program, "folds", 1) == [1, 1, 1]
    assert of(program, "length", 1) == [8, 8, 8]
    assert of(program, "acquire", 1) == [2, 0, 0]
    assert of(program, "held", 1) == [2, 2, 2]
    assert of(program, "release", 1) == [0, 0, 1]
    assert of(program, "header_cycles", 1) == [1, 0, 0]  # 8 sub-blocks: 1 byte
    assert of(program, "writeback_cycles", 1) == [16, 16, 8]


def test_output_stationary_streams_whole_m_tiles() -> None:
    # half of 256 bytes holds 8 rows of 16: 2 tiles of M per chunk
    program = build([gemm(10, 16, 4, GATHERED)], output_stationary(buffers__activation="256 B"))
    assert program.act_cycles.tolist() == [64, 64, 32]
    assert needs_of(program) == [[0], [1], [2]]
    assert of(program, "acquire", 0) == [2, 0, 2]
    assert of(program, "release", 0) == [0, 1, 1]


def test_output_stationary_needs_room_for_a_column() -> None:
    ops = [load(10, 16), gemm(10, 16, 4, GATHERED)]
    build(ops, output_stationary(buffers__weight="32 B"))
    with pytest.raises(ScheduleError, match=r"'gemm'.*2 tiles of 4x4.*holds 1;.*buffers\.weight"):
        build_program(Workload(ops), output_stationary(buffers__weight="31 B"))


# ---- input-stationary -------------------------------------------------------------------------


@pytest.mark.parametrize("resident", [True, False])
def test_input_stationary_is_the_gemm_transposed(resident: bool) -> None:
    hardware = chip(array__dataflow="input-stationary")
    ops: list[Op] = [load(6, 8)] if resident else []
    program = build([*ops, gemm(6, 8, 10, bias=True)], hardware)
    segment = len(ops)
    # rows of W are 8 bytes, half of the weight buffer is 32: chunks of at most 4 of the 10
    assert of(program, "length", segment) == [4, 4, 3, 3, 3, 3]
    assert of(program, "folds", segment) == [2] * 6
    assert of(program, "writeback_cycles", segment) == [16, 8, 12, 6, 12, 6]
    assert of(program, "header_cycles", segment) == [40, 0, 0, 0, 0, 0]  # all 10 biases
    assert of(program, "acquire", segment) == [0 if resident else 2] * 6
    assert program.segment_tile_cycles[segment] == (0 if resident else 16)
    assert program.segment_prefetchable[segment] == 0
    assert program.act_cycles[program.act_segment == segment].tolist() == [16, 16, 12, 12, 12, 12]


# ---- activation GEMMs -------------------------------------------------------------------------


def attention(x: str, w: str) -> list[Op]:
    """Two instances of [3, 4] x [6, 4]^T from 24 and 48 values."""
    product = Gemm("qk", 3, 4, 6, batch=2, rhs="activation", inputs=(x, w))
    return [load(6, 4, "q"), VectorOp("k", "copy", 12, 4), product, end(6, 6)]


def test_resident_operands_of_an_activation_gemm_move_nothing() -> None:
    program = build(attention("q", "k"), chip())
    assert program.segment_tile_cycles[2] == 0
    assert program.segment_prefetchable[2] == 0
    assert of(program, "folds", 2) == [1] * 4  # 2 instances x 2 columns
    assert of(program, "acquire", 2) == of(program, "held", 2) == [0] * 4
    assert 2 not in program.act_segment
    assert of(program, "drain_cycles", 2) == [3] * 4


@pytest.mark.parametrize(
    ("bandwidth", "moving", "drain"), [(1, 24, 0), (4, 6, 0), (8, 3, 3), (48, 1, 5)]
)
def test_a_bank_gives_one_row_per_cycle(bandwidth: int, moving: int, drain: int) -> None:
    """6 rows of 4 bytes leave in 6 cycles or more, be the channel as fast as it may."""
    program = build([gemm(6, 4, 4)], chip(memory__dram__bandwidth=f"{bandwidth} GB/s"))
    assert of(program, "writeback_cycles", 0) == [moving]
    assert of(program, "drain_cycles", 0) == [drain]


@pytest.mark.parametrize(
    ("packing", "dataflow", "cycles"),
    [
        ("none", "weight-stationary", 0),
        ("k-compact", "weight-stationary", 3),
        ("k-compact", "output-stationary", 0),
    ],
)
def test_a_core_that_gathers_reads_behind(packing: str, dataflow: str, cycles: int) -> None:
    hardware = chip(array__packing=packing, array__dataflow=dataflow, array__sparsity="block")
    assert build([gemm(6, 4, 4)], hardware).read_behind_cycles == cycles


def test_a_stationary_activation_is_fetched_when_it_is_in_dram() -> None:
    program = build(attention("k", INPUT), chip(memory__prefetch_across_layers=True))
    assert program.segment_tile_cycles[2] == 16
    assert program.segment_prefetchable[2] == 0
    assert of(program, "acquire", 2) == [1] * 4


def test_streamed_instances_come_one_after_the_other() -> None:
    program = build(attention(INPUT, "k"), chip(array__accumulator_rows=2))
    # instance -> chunk (2 and 1 rows) -> column
    assert of(program, "length", 2) == [2, 2, 1, 1, 2, 2, 1, 1]
    here = program.act_segment == 2
    assert program.act_cycles[here].tolist() == [8, 4, 8, 4]
    base = int((program.visit_segment < 2).sum())
    assert program.act_after_visit[here].tolist() == [-1, -1, base + 1, base + 3]


# ---- several cores, vector operators ----------------------------------------------------------


def test_vector_rows_are_split_over_cores_and_chunks() -> None:
    op = VectorOp("norm", "layernorm", 10, 4, parameters=8)
    program = build([op], chip(cores=3, array__accumulator_rows=2))
    assert program.visit_start.tolist() == [0, 2, 4, 6]  # 3 + 3 + 4 rows, at most 2 at a time
    # 2 passes over 8 or 4 values in 4 lanes, and the latency
    assert of(program, "vector_cycles", 0) == [6, 4, 6, 4, 6, 6]
    assert program.act_cycles.tolist() == [8 + 8, 4, 8 + 8, 4, 8 + 8, 8]
    assert of(program, "writeback_cycles", 0) == [8, 4, 8, 4, 8, 8]
    assert needs_of(program) == [[0], [1], [0], [1], [0], [1]]


def test_vector_transfers_wait_for_the_visit_before_the_last() -> None:
    program = build([load(7, 4)], chip(array__accumulator_rows=2))
    assert program.act_after_visit.tolist() == [-1, -1, 0, 1]


def test_two_different_inputs_are_read_once_each() -> None:
    def cycles(*inputs: str) -> list[int]:
        small = chip(buffers__activation="7 B")  # nothing stays
        ops = [load(2, 4), VectorOp("sum", "add", 2, 4, inputs=inputs)]
        return build(ops, small).act_cycles.tolist()

    assert cycles("load", INPUT) == [8, 16]
    assert cycles("load", "load") == [8, 8]


def test_parameters_alone_are_read_with_the_first_chunk() -> None:
    ops = [load(6, 4), VectorOp("norm", "layernorm", 6, 4, parameters=8)]
    program = build(ops, chip(array__accumulator_rows=2))
    assert program.act_cycles[program.act_segment == 1].tolist() == [8]
    assert needs_of(program) == [[0], [1], [2], [3], [], []]


def test_a_pool_writes_its_rows_as_they_come() -> None:
    pool = VectorOp("pool", "pool", 7, 4, out_rows=2)
    program = build([pool], chip(array__accumulator_rows=2))
    # chunks end at rows 2, 4, 6, 7: 0, 1, 1, 2 of the 2 results are there
    assert of(program, "writeback_cycles", 0) == [0, 4, 0, 4]


def test_resident_results_are_gathered_from_all_cores() -> None:
    ops = [load(4, 5), gemm(4, 5, 4)]
    many = chip(cores=2, noc__bandwidth="3 GB/s")
    assert build(ops, many).segment_gather_cycles.tolist() == [7, 0]  # 20 bytes; 16 go to DRAM
    assert build(ops, chip(cores=1)).segment_gather_cycles.tolist() == [0, 0]


# ---- ideal memory -----------------------------------------------------------------------------


def test_ideal_memory_moves_nothing() -> None:
    hardware = chip(memory__ideal=True, cores=2)
    program = build([*chain(), Gemm("last", 4, 4, 4, bias=True)], hardware)
    assert program.ideal
    assert program.latency_cycles == 0
    assert program.act_cycles.size == program.fold_needs.size == 0
    for name in ("acquire", "held", "header_cycles", "writeback_cycles", "drain_cycles"):
        assert not getattr(program, f"visit_{name}").any(), name
    for name in ("tile_cycles", "prefetchable", "gather_cycles"):
        assert not getattr(program, f"segment_{name}").any(), name
    assert program.visit_folds.sum() == 2
    assert of(program, "vector_cycles", 1) == [2 * (16 // 4 + 2)]
