"""What the schedule refuses, and the tables that kernels read."""

from __future__ import annotations

import gc
from fractions import Fraction

import numpy as np
import pytest

from lspsim.errors import ScheduleError, WorkloadError
from lspsim.hardware import Hardware
from lspsim.kernels import layout as at
from lspsim.schedule import build_program, lower
from lspsim.schedule.lower import chip_of, lower_hardware, lower_workload
from lspsim.simulate.analytic import analyse
from lspsim.workload import INPUT, BlockMask, Gemm, VectorOp, Workload
from tests.schedule.small import SEPARATE, blocks, chip, chip_with, gemm, load


def refuse(workload: Workload, hardware: Hardware, message: str) -> None:
    """Both ways into the schedule refuse, with the same words."""
    with pytest.raises(ScheduleError, match=message) as built:
        build_program(workload, hardware)
    with pytest.raises(ScheduleError) as analysed:
        analyse(workload, hardware)
    assert str(built.value) == str(analysed.value)


# ---- errors -----------------------------------------------------------------------------------

HALF = blocks([[1, 0]], 4, 4)
FULL = blocks([[1, 1]], 4, 4)


def test_pruned_weights_on_an_input_stationary_array() -> None:
    hardware = chip(array__dataflow="input-stationary", array__sparsity="block")
    refuse(Workload([gemm(4, 8, 4, HALF)]), hardware, r"gemm 'gemm' has pruned blocks.*use weight")
    build_program(Workload([gemm(4, 8, 4, FULL)]), hardware)  # full = none


@pytest.mark.parametrize(("height", "fits"), [(1, 1), (2, 1), (3, 0), (4, 1), (6, 0), (8, 1)])
def test_k_compact_gathers_whole_blocks(height: int, fits: bool) -> None:
    mask = BlockMask(np.array([[True, False]]), 4, height)
    workload = Workload([gemm(4, 2 * height, 4, mask)])
    hardware = chip(array__sparsity="block", array__packing="k-compact")
    if fits:
        build_program(workload, hardware)
    else:
        refuse(
            workload, hardware, f"gemm 'gemm': packing k-compact.*of {height} K values.*of 4 rows"
        )
    for other in ({"array__packing": "none"}, {"array__sparsity": "none"}):
        build_program(workload, chip(**{"array__sparsity": "block"} | other))


def test_a_full_mask_of_any_height_is_no_mask() -> None:
    hardware = chip(array__sparsity="block", array__packing="k-compact")
    build_program(Workload([gemm(4, 6, 4, blocks([[1, 1]], 4, 3))]), hardware)


@pytest.mark.parametrize(
    ("label", "limit"), [("weight_bits", 8), ("activation_bits", 8), ("accumulator_bits", 32)]
)
def test_operands_wider_than_the_array(label: str, limit: int) -> None:
    def workload(bits: int) -> Workload:
        return Workload([load(4, 4), Gemm("wide", 4, 4, 4, **{label: bits})])  # type: ignore[arg-type]

    build_program(workload(limit), chip())
    message = rf"operator 'wide' needs {label}={limit + 1}, but.*{limit}; raise precision\.{label}"
    refuse(workload(limit + 1), chip(), message)


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"buffers__activation": "15 B"}, r"one row of its 8 .*enlarge buffers\.activation"),
        (
            {"array__dataflow": "output-stationary", "buffers__activation": "63 B"},
            r"4 rows of its 8 .*enlarge buffers\.activation",
        ),
        (
            {"array__dataflow": "input-stationary", "array__cols": 2, "buffers__weight": "15 B"},
            r"one row of its 8 .*enlarge buffers\.weight",
        ),
    ],
)
def test_a_streamed_row_must_fit_half_its_buffer(changes: dict[str, object], cure: str) -> None:
    workload = Workload([gemm(4, 8, 4)])
    refuse(workload, chip(**changes), f"gemm 'gemm': {cure}")
    roomier = {key: "16 B" if value == "15 B" else value for key, value in changes.items()}
    roomier = {key: "64 B" if value == "63 B" else value for key, value in roomier.items()}
    build_program(workload, chip(**roomier))


def test_figures_beyond_64_bits_are_refused() -> None:
    big = Workload([gemm(1 << 20, 4, 1 << 20)])
    crooked = chip(clock="999999937 Hz", memory__dram__bandwidth="25600000037 B/s")
    refuse(big, crooked, "do not fit 64 bits.*rounder values for clock, bandwidth and efficiency")
    analyse(big, chip())  # the same workload with round figures
    analyse(Workload([gemm(16, 4, 16)]), crooked)


def test_a_vector_operator_reads_at_most_two_tensors() -> None:
    ops = [load(2, 2, "a"), load(2, 2, "b"), VectorOp("c", "add", 2, 2, inputs=("a", "b", INPUT))]
    with pytest.raises(WorkloadError, match=r"'c' reads 3 tensors; at most 2.*split it"):
        lower_workload(Workload(ops))


# ---- tables -----------------------------------------------------------------------------------


def test_the_chip_vector_is_made_once_per_hardware_object() -> None:
    hardware = chip()
    first = chip_of(hardware)
    assert chip_of(hardware) is first
    assert not first.flags.writeable
    np.testing.assert_array_equal(first, lower_hardware(hardware))
    assert chip_of(chip(array__rows=2))[at.ROWS] == 2
    assert first[at.ROWS] == 4


def test_a_dropped_hardware_leaves_no_vector_behind() -> None:
    gc.collect()
    before = len(lower._CHIPS)
    hardware = chip(vector__lanes=7)
    chip_of(hardware)
    assert len(lower._CHIPS) == before + 1
    del hardware
    gc.collect()
    assert len(lower._CHIPS) == before


def test_rates_are_exact_fractions() -> None:
    def rate(hardware: Hardware, request_class: int) -> Fraction:
        slot = at.RATE_NUM + 2 * request_class
        return Fraction(int(chip_of(hardware)[slot]), int(chip_of(hardware)[slot + 1]))

    base = Fraction(10, 256) / Fraction(73, 100)  # 1 GHz over 25.6 GB/s at 0.73
    values = {"memory.dram.bandwidth": "25.6 GB/s", "memory.dram.efficiency": 0.73}
    assert [rate(chip_with(values), c) for c in range(3)] == [base] * 3
    shared = [rate(chip_with(values | SEPARATE), c) for c in range(3)]
    assert shared == [2 * base, 4 * base, 4 * base]
    noc = chip_of(chip(cores=2, noc__bandwidth="3 GB/s"))
    assert Fraction(int(noc[at.NOC_NUM]), int(noc[at.NOC_DEN])) == Fraction(1, 3)


def test_latency_is_rounded_up_and_absent_with_ideal_memory() -> None:
    assert chip_of(chip(clock="1.5 GHz", memory__dram__latency="5 ns"))[at.LATENCY] == 8
    assert chip_of(chip(memory__ideal=True))[at.LATENCY] == 0


def test_operator_tables_are_kept_with_the_workload() -> None:
    workload = Workload([load(4, 4), gemm(4, 4, 4)])
    assert lower_workload(workload) is lower_workload(workload)


def test_uses_and_last_uses() -> None:
    ops = [
        load(4, 4, "a"),
        VectorOp("b", "gelu", 4, 4),
        VectorOp("c", "add", 4, 4, inputs=("a", "a")),
        VectorOp("d", "add", 4, 4, inputs=("b", INPUT)),
    ]
    table = lower_workload(Workload(ops)).ops
    assert table[:, at.USES].tolist() == [3, 1, 0, 0]
    assert table[:2, at.LAST_USE].tolist() == [2, 3]
    assert table[:, at.IN0].tolist() == [at.FROM_DRAM, 0, 0, 1]
    assert table[:, at.IN1].tolist() == [at.NO_INPUT, at.NO_INPUT, 0, at.FROM_DRAM]


def test_a_full_mask_is_the_same_table_as_none() -> None:
    with_mask = lower_workload(Workload([gemm(4, 8, 4, FULL)]))
    without = lower_workload(Workload([gemm(4, 8, 4)]))
    np.testing.assert_array_equal(with_mask.ops, without.ops)
    assert with_mask.shape_digest == without.shape_digest


def test_masks_are_packed_one_after_the_other() -> None:
    wide = blocks([[1] * 64 + [0, 1], [0] * 66], 2, 1)  # two words per row
    masks = {"one": HALF, "two": wide}
    ops = [Gemm("one", 4, 8, 4, mask=HALF), Gemm("two", 4, 66, 4, mask=wide)]
    tables = lower_workload(Workload(ops))
    assert tables.ops[:, at.WORD_START].tolist() == [0, 1]
    assert tables.ops[:, at.WORDS_PER_ROW].tolist() == [1, 2]
    assert tables.ops[:, at.KEPT].tolist() == [mask.kept_weights for mask in masks.values()]
    assert tables.words.tolist() == [0b01, (1 << 64) - 1, 0b10, 0, 0]


def test_operators_of_one_shape_share_a_class_whatever_their_masks() -> None:
    def classes(*masks: BlockMask | None) -> list[int]:
        ops = [Gemm(f"g{i}", 4, 8, 4, mask=mask) for i, mask in enumerate(masks)]
        return lower_workload(Workload(ops)).ops[:, at.SHAPE].tolist()

    assert classes(HALF, blocks([[0, 1]], 4, 4)) == [0, 0]
    assert classes(HALF, None, FULL) == [0, 1, 1]
    assert classes(HALF, blocks([[0, 1], [0, 1]], 2, 4)) == [0, 1]
