"""Reading Yosys, and what a small core costs."""

from __future__ import annotations

import shutil

import pytest

from lspsim.hardware import load_hardware
from lspsim.rtl import Parameters
from lspsim.rtl.area import CELL_UM2, Part, count_parts, overheads, synthesise
from lspsim.validate.rtl_area import area_rows

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


@pytest.mark.skipif(
    shutil.which("yosys") is None,
    reason="needs yosys; on Debian: apt-get install --no-install-recommends yosys",
)
def test_a_small_core() -> None:
    parameters = Parameters(2, 2, 4, 4, 12, 8, overlap=0, gather=2)
    parts = synthesise(parameters)
    assert parts["lsp_array"] == parts["lsp_pe"]  # of all four
    assert 0 < parts["lsp_array"].um2 < parts["lsp_ws_core"].um2
    # a second weight register per element is the difference, at least its flip-flops
    assert overheads(parameters).double_buffering >= 4 * 4 * CELL_UM2["$_DFF_"] * 0.9
    small = load_hardware("edge_32x32").with_values(
        {"array.rows": 4, "array.cols": 2, "array.dataflow": "output-stationary"}
    )
    rows = {row.part: row for row in area_rows(small)}
    shares = [row.share for name, row in rows.items() if not name.startswith(("core", "of it"))]
    assert sum(shares) == pytest.approx(1.0)
