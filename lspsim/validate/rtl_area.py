"""The simulator's area model beside the cells that the RTL takes."""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.hardware import Hardware
from lspsim.rtl.area import overheads, synthesise
from lspsim.rtl.parameters import parameters_of
from lspsim.simulate.area import area_mm2

NODE = "45nm"
"""Where both the cell library and the model's published areas are."""


@dataclass(frozen=True, slots=True)
class AreaRow:
    """One part of a core, logic only."""

    part: str
    cells: int | None
    """Generic cells; None = a difference of two builds."""
    rtl_um2: float
    share: float
    """Of the core's logic."""
    model_um2: float | None
    """What the simulator takes for it; None = it has no such part."""


_PARTS = {
    "processing elements": ("lsp_array", "lsp_os_array"),
    "accumulators, without SRAM": ("lsp_accumulator",),
    "weight loading": ("lsp_load",),
    "activation feed": ("lsp_feed",),
    "gather multiplexers": ("lsp_gather",),
    "block list": ("lsp_ws_control", "lsp_os_control"),
    "fetching": ("lsp_fetch",),
    "write-back": ("lsp_writeback",),
}


def area_rows(hardware: Hardware, gather: int | None = None) -> list[AreaRow]:
    """Synthesise one core of `hardware` and lay its parts beside the area model's.

    Both are at 45 nm, whatever the hardware's technology. Memories are in neither.

    Parameters
    ----------
    hardware
        The accelerator.
    gather
        As for `lspsim.rtl.parameters_of`.

    Raises
    ------
    MissingDependencyError
        Without Yosys.
    ConfigError
        For hardware that the RTL does not cover.
    """
    parameters = parameters_of(hardware, gather)
    model = area_mm2(hardware.with_values({"technology": NODE}))
    per_core = {name: band.value * 1e6 / hardware.cores for name, band in model.items()}
    parts = synthesise(parameters)
    core = parts[parameters.top]
    rows = []
    for label, names in _PARTS.items():
        for name in names:
            if name in parts:
                part = parts[name]
                known = per_core["processing_elements"] if name.endswith("_array") else None
                rows.append(AreaRow(label, part.cells, part.um2, part.um2 / core.um2, known))
    named = sum(row.rtl_um2 for row in rows)
    rest = core.um2 - named
    rows.append(AreaRow("delay lines and wiring of the core", None, rest, rest / core.um2, None))
    rows.append(AreaRow("core", core.cells, core.um2, 1.0, None))
    if not parameters.output_stationary:
        extra = overheads(parameters)
        for label, um2 in (
            ("of it: double buffering", extra.double_buffering),
            ("of it: gathering", extra.gather),
        ):
            rows.append(AreaRow(label, None, um2, um2 / core.um2, None))
        sparse = extra.block_list + extra.gather
        rows.append(
            AreaRow(
                "of it: block list and gathering",
                None,
                sparse,
                sparse / core.um2,
                per_core["index"],
            )
        )
    return rows
