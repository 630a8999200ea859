"""Faults to seed into the RTL: one change of one line each, and what must show it."""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.rtl.sources import sources
from tests.rtl.tier import Build

DOUBLE = Build(4, 4, 0, 2, 64)
SINGLE = Build(4, 4, 1, 1, 64)
SERIAL = Build(4, 6, 2, 4, 32)
OUTPUT = Build(4, 4, 0, 1, 64, 1)

RESULTS, CYCLES, COUNTS = "results", "cycles", "counts"


@dataclass(frozen=True)
class Fault:
    """One wrong line."""

    name: str
    file: str
    right: str
    wrong: str
    shown_by: str
    """What differs, among other things perhaps."""
    build: Build = DOUBLE
    harmless: bool = False
    """Whether results stay right, so that only the cycle count can show it."""

    def files(self) -> dict[str, str]:
        """Return the sources with the fault in them."""
        files = sources()
        assert files[self.file].count(self.right) == 1, f"{self.name}: the line has changed"
        files[self.file] = files[self.file].replace(self.right, self.wrong)
        return files


FAULTS = (
    Fault(
        "no shadow bypass",
        "lsp_pe.sv",
        "assign weight = first_in ? shadow : active;",
        "assign weight = active;",
        RESULTS,
    ),
    Fault(
        "late swap",
        "lsp_pe.sv",
        "if (first_in) active <= shadow;",
        "if (first_out) active <= shadow;",
        RESULTS,
    ),
    Fault(
        "every row shifts R times",
        "lsp_load.sv",
        "assign shift_left = active ? reach : '0;",
        "assign shift_left = {R{active && |reach}};",
        RESULTS,
    ),
    Fault(
        "weights without column skew",
        "lsp_load.sv",
        "lsp_delay #(.WIDTH(W), .N(c)) skew",
        "lsp_delay #(.WIDTH(W), .N(0)) skew",
        RESULTS,
    ),
    Fault(
        "loader one cycle late",
        "lsp_ws_control.sv",
        "assign may_shift = state == EMPTY || stream_begin;",
        "assign may_shift = state == EMPTY;",
        CYCLES,
        harmless=True,
    ),
    Fault(
        "reload one cycle early",
        "lsp_ws_control.sv",
        "assign may_shift = state == EMPTY && idle;",
        "assign may_shift = state == EMPTY && left <= 1;",
        CYCLES,
        SINGLE,
        harmless=True,
    ),
    Fault(
        "serial gap one cycle long",
        "lsp_ws_control.sv",
        "localparam int GAP = R + C - 2;",
        "localparam int GAP = R + C - 1;",
        CYCLES,
        SERIAL,
        harmless=True,
    ),
    Fault(
        "first fold adds to what was there",
        "lsp_accumulator.sv",
        "(first_1 ? '0 : bank_1 ?",
        "(first_1 && rst ? '0 : bank_1 ?",
        RESULTS,
    ),
    Fault(
        "first fold reads in vain",
        "lsp_accumulator.sv",
        "assign read = valid && !first;",
        "assign read = valid;",
        COUNTS,
    ),
    Fault(
        "gather without its delay",
        "lsp_feed.sv",
        ".N(g * H + h - g)) skew",
        ".N(g * H + h)) skew",
        RESULTS,
    ),
    Fault(
        "a gathered half of X given free with its last row",
        "lsp_ws_core.sv",
        "G > 1 ? valid_line[R-2] && token_before[0] : visit_consumed;",
        "visit_consumed;",
        CYCLES,
    ),
    Fault(
        "one read port per bank",
        "lsp_ws_control.sv",
        "assign stream_port = stream_begin ^ port;",
        "assign stream_port = port;",
        RESULTS,
    ),
    Fault(
        "data of the other read port",
        "lsp_gather.sv",
        "port_1 <= port[g];",
        "port_1 <= !port[g];",
        RESULTS,
    ),
    Fault(
        "a bank's word moves on with every row",
        "lsp_ws_control.sv",
        "ROW'(stream_x_bank == XB'(G - 1));",
        "ROW'(1);",
        RESULTS,
    ),
    Fault(
        "a fast channel does not wait for the rows",
        "lsp_writeback.sv",
        "assign out_ready = ready && channel_done && rows_done;",
        "assign out_ready = ready && channel_done && (rows_done || out_dram);",
        CYCLES,
    ),
    Fault(
        "slot given back when its tile begins to shift",
        "lsp_ws_control.sv",
        "assign slot_freed = state == SHIFTING && to_shift == 1 &&",
        "assign slot_freed = state == SHIFTING && to_shift == RW'(R - 1) &&",
        RESULTS,
    ),
    Fault(
        "held tiles are not found again",
        "lsp_ws_control.sv",
        "if (fold_last && !fold_release) begin",
        "if (fold_last && !fold_release && rst) begin",
        RESULTS,
    ),
    Fault(
        "third bank",
        "lsp_writeback.sv",
        "assign bank_free = in_use < 2;",
        "assign bank_free = in_use < 3;",
        RESULTS,
    ),
    Fault(
        "pieces do not wait for their half",
        "lsp_fetch.sv",
        "assign piece_request = piece_valid && consumed >= piece_after;",
        "assign piece_request = piece_valid && consumed + 1 >= piece_after;",
        CYCLES,
    ),
    Fault(
        "done before the last column",
        "lsp_ws_core.sv",
        "done_1 <= g_acc[C-1].valid && g_acc[C-1].done && !rst;",
        "done_1 <= g_acc[C-2].valid && g_acc[C-2].done && !rst;",
        CYCLES,
    ),
    Fault(
        "ragged columns are written",
        "lsp_ws_core.sv",
        ".valid(valid && cols > CW'(c)),",
        ".valid(valid && cols > 0),",
        COUNTS,
    ),
    Fault(
        "padding rows are read",
        "lsp_feed.sv",
        "valid && real_rows > RW'(g * H + h);",
        "valid && real_rows > 0;",
        COUNTS,
    ),
    Fault(
        "empty columns are not zero",
        "lsp_ws_core.sv",
        "(zero_1 ? '0 : drained)",
        "(zero_1 && rst ? '0 : drained)",
        RESULTS,
    ),
    Fault(
        "OS: no room left in the output chain",
        "lsp_os_control.sv",
        "32'(since) + 32'(fold_length) >= R;",
        "32'(since) + 32'(fold_length) >= 1;",
        RESULTS,
        OUTPUT,
    ),
    Fault(
        "OS: room in the chain seen one cycle late",
        "lsp_os_control.sv",
        "32'(since) + 32'(fold_length) >= R;",
        "32'(since) + 32'(fold_length) > R;",
        CYCLES,
        OUTPUT,
        harmless=True,
    ),
    Fault(
        "OS: the whole chain moves",
        "lsp_os_core.sv",
        "assign move_left = begins ? {{(R - 1){1'b1}}, 1'b0} : rest;",
        "assign move_left = begins ? {R{1'b1}} : {R{|rest}};",
        RESULTS,
        OUTPUT,
    ),
)
