"""Reading Yosys, and what a small core costs."""

from __future__ import annotations

import shutil

import pytest

from lspsim.hardware import Hardware, load_hardware
from lspsim.rtl import parameters_of
from lspsim.rtl.area import CELL_UM2, Part, count_parts, overheads, synthesise
from lspsim.validate.rtl_area import area_rows
from tests.rtl.live import full_tier

STAT = """
=== $paramod$ab\\lsp_pe ===

   Number of cells:                  3
     $_DFFE_PP_                      1
     $_NOT_                          2

=== $paramod\\lsp_array\\R=s32'00 ===

   Number of cells:                  5
     $_XOR_                          1
     $paramod$ab\\lsp_pe              4

=== lsp_ws_core ===

   Number of cells:                  2
     $paramod\\lsp_array\\R=s32'00      1
     $paramod$cd\\lsp_sram            2

=== design hierarchy ===

   lsp_ws_core                       1
     $_NOT_                          8
"""


def test_cells_are_counted_through_the_hierarchy() -> None:
    parts = count_parts(STAT, "lsp_ws_core")
    pe = CELL_UM2["$_DFFE_"] + 2 * CELL_UM2["$_NOT_"]
    assert parts["lsp_pe"] == Part(12, pytest.approx(4 * pe))
    assert parts["lsp_array"] == parts["lsp_ws_core"]
    assert parts["lsp_ws_core"] == Part(13, pytest.approx(4 * pe + CELL_UM2["$_XOR_"]))


needs_yosys = pytest.mark.skipif(
    shutil.which("yosys") is None,
    reason="needs yosys; on Debian: apt-get install --no-install-recommends yosys",
)
SMALL = load_hardware("edge_32x32").with_values(
    {
        "array.rows": 2,
        "array.cols": 2,
        "array.accumulator_rows": 8,
        "array.packing": "k-compact",
        "precision.weight_bits": 4,
        "precision.activation_bits": 4,
        "precision.accumulator_bits": 12,
    }
)


@needs_yosys
def test_a_small_core() -> None:
    parameters = parameters_of(SMALL)
    parts = synthesise(parameters)
    assert parts["lsp_array"] == parts["lsp_pe"]  # of all four
    assert 0 < parts["lsp_array"].um2 < parts["lsp_ws_core"].um2
    extra = overheads(parameters)
    # a second weight register per element is the difference, at least its flip-flops
    assert extra.double_buffering >= 4 * 4 * CELL_UM2["$_DFF_"] * 0.9
    # 2 places and 2 ports of 2 banks: 3 of 4 inputs to choose from for each of 2 x 4 bits
    assert extra.multiplexers >= 2 * 4 * 3 * CELL_UM2["$_MUX_"] * 0.5
    assert_shares_sum_to_one(SMALL)


@needs_yosys
@full_tier
def test_a_small_output_stationary_core() -> None:
    assert_shares_sum_to_one(SMALL.with_values({"array.dataflow": "output-stationary"}))


def assert_shares_sum_to_one(hardware: Hardware) -> None:
    rows = {row.part: row for row in area_rows(hardware)}
    shares = [row.share for name, row in rows.items() if not name.startswith(("core", "of it"))]
    assert sum(shares) == pytest.approx(1.0)
