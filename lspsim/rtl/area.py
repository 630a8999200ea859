"""What the RTL's parts cost: Yosys cell counts, weighed with a published cell library."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.rtl.parameters import Parameters
from lspsim.rtl.sources import sources

CELL_UM2: Mapping[str, float] = {
    "$_NOT_": 0.532,
    "$_NAND_": 0.798,
    "$_NOR_": 0.798,
    "$_AND_": 1.064,
    "$_OR_": 1.064,
    "$_ANDNOT_": 1.064,
    "$_ORNOT_": 1.064,
    "$_XOR_": 1.596,
    "$_XNOR_": 1.596,
    "$_MUX_": 1.862,
    "$_DFF_": 4.522,
    "$_DFFE_": 4.522 + 1.862,
    "$_SDFF_": 4.522 + 1.064,
    "$_SDFFE_": 4.522 + 1.862 + 1.064,
    "$_SDFFCE_": 4.522 + 1.862 + 1.064,
}
"""um2 of the smallest (X1) cell of the NanGate 45 nm Open Cell Library: those of inverter,
NAND2 and flip-flop re-read in public excerpts of it, the others not. A cell with one
inverted input as AND2, a flip-flop with enable or synchronous reset as DFF with MUX2 or
AND2. Wires, sizing for speed and the clock tree are not in it."""

SRAM_STUB = """(* blackbox *)
module lsp_sram #(parameter int WIDTH = 32, parameter int DEPTH = 256, parameter int ADDR = 8) (
    input logic clk, re, we, input logic [ADDR-1:0] raddr, waddr, input logic [WIDTH-1:0] wdata,
    output logic [WIDTH-1:0] rdata);
endmodule
"""
"""Memories are macros and stay out of the counts."""


@dataclass(frozen=True, slots=True)
class Part:
    """Cells of one part of a core, those of the modules in it included."""

    cells: int
    um2: float
    """At 45 nm."""

    def minus(self, other: Part) -> Part:
        """Return what this part has more."""
        return Part(self.cells - other.cells, self.um2 - other.um2)


def synthesise(parameters: Parameters) -> Mapping[str, Part]:
    """Synthesise one core, memories left out, and count cells by module.

    Returns
    -------
    Mapping[str, Part]
        Module name without parameters -> all its instances in the core; the top module's
        name -> the whole core.

    Raises
    ------
    MissingDependencyError
        Without Yosys.
    LspsimError
        When Yosys refuses the sources.
    """
    return _synthesise(parameters.top, tuple(parameters.verilog().items()))


@cache
def _synthesise(top: str, parameters: tuple[tuple[str, int], ...]) -> Mapping[str, Part]:
    if shutil.which("yosys") is None:
        raise MissingDependencyError(
            "counting cells needs yosys, not found on the PATH; on Debian: apt-get install "
            "--no-install-recommends yosys"
        )
    files = {name: text for name, text in sources().items() if name.endswith(".sv")}
    files["lsp_sram.sv"] = SRAM_STUB
    values = " ".join(f"-set {key} {value}" for key, value in parameters)
    with tempfile.TemporaryDirectory(prefix="lspsim-yosys-") as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text, encoding="utf-8")
        script = (
            f"read_verilog -sv {' '.join(sorted(files))}; chparam {values} {top}; "
            f"synth -top {top}; tee -o stat.txt stat"
        )
        done = subprocess.run(
            ["yosys", "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LspsimError(f"yosys failed:\n{(done.stdout + done.stderr)[-2000:]}")
        return count_parts(Path(folder, "stat.txt").read_text(encoding="utf-8"), top)


def count_parts(stat: str, top: str) -> dict[str, Part]:
    """Read the text of Yosys' `stat` for a hierarchical design."""
    own: dict[str, Counter[str]] = {}
    blocks = re.split(r"^=== (.+) ===$", stat, flags=re.MULTILINE)[1:]
    for name, text in zip(blocks[::2], blocks[1::2], strict=True):
        found = re.findall(r"^     (\S+) +(\d+)$", text, flags=re.MULTILINE)
        if name != "design hierarchy":
            own[name] = Counter({cell: int(count) for cell, count in found})
    (top_name,) = [name for name in own if _plain(name) == top]
    instances: Counter[str] = Counter()
    _visit(top_name, 1, own, instances)
    parts = {top: _whole(top_name, own)}
    for name, count in instances.items():
        if name in own and name != top_name:
            one, before = _whole(name, own), parts.get(_plain(name), Part(0, 0.0))
            parts[_plain(name)] = Part(
                before.cells + count * one.cells, before.um2 + count * one.um2
            )
    return parts


def _visit(name: str, times: int, own: Mapping[str, Counter[str]], out: Counter[str]) -> None:
    out[name] += times
    for cell, count in own.get(name, {}).items():
        if cell in own:
            _visit(cell, times * count, own, out)


def _whole(name: str, own: Mapping[str, Counter[str]]) -> Part:
    cells, um2 = 0, 0.0
    for cell, count in own[name].items():
        if cell in own:
            inner = _whole(cell, own)
            cells, um2 = cells + count * inner.cells, um2 + count * inner.um2
        elif cell.startswith("$_"):
            cells, um2 = cells + count, um2 + count * CELL_UM2[_kind(cell)]
        elif _plain(cell) != "lsp_sram":
            raise LspsimError(f"unknown cell {cell} in the synthesised {name}")
    return Part(cells, um2)


def _kind(cell: str) -> str:
    """Return `$_DFF_` for `$_DFF_P_`: without the letters of edge, reset and value."""
    return re.sub(r"^(\$_S?DFF(?:CE|E)?_)[NP01]+_$", r"\1", cell)


def _plain(name: str) -> str:
    found = re.search(r"lsp_\w+", name)
    return found[0] if found else name


@dataclass(frozen=True, slots=True)
class Overheads:
    """What options of a weight-stationary core add, in um2 at 45 nm of logic."""

    core: float
    array: float
    double_buffering: float
    """The array's second weight registers: arrays of 2x2 with and without them, scaled up."""
    block_list: float
    """The whole controller that reads the block list; a dense core needs part of it, too."""
    multiplexers: float
    """Those between the places that X is read from and the ports of its banks."""
    gather: float
    """What gathering adds in all: the multiplexers, and addresses of several places; fewer
    skew registers, since places that are read later need fewer."""


def overheads(parameters: Parameters) -> Overheads:
    """Compare builds with and without double buffering and gathering.

    Parameters
    ----------
    parameters
        Of a weight-stationary core; its own overlap and gather are replaced.
    """
    full = replace(parameters, overlap=0)
    parts = synthesise(full)
    plain = synthesise(replace(full, gather=1)) if full.gather > 1 else parts
    widths = {"W": full.weight_bits, "A": full.activation_bits, "ACC": full.accumulator_bits}
    small = tuple({"R": 2, "C": 2, **widths}.items())
    one, other = (_synthesise("lsp_array", (*small, ("DOUBLE", d)))["lsp_array"] for d in (1, 0))
    return Overheads(
        core=parts["lsp_ws_core"].um2,
        array=parts["lsp_array"].um2,
        double_buffering=full.rows * full.cols / 4 * one.minus(other).um2,
        block_list=plain["lsp_ws_control"].um2,
        multiplexers=parts["lsp_gather"].um2,
        gather=sum(
            parts[name].minus(plain[name]).um2
            for name in ("lsp_feed", "lsp_gather", "lsp_ws_control")
        ),
    )


__all__ = ["CELL_UM2", "Overheads", "Part", "count_parts", "overheads", "synthesise"]
