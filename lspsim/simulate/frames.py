"""Results as pandas frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from lspsim.simulate.result import SimulationResult

PLAIN = (
    "name",
    "kind",
    "m",
    "k",
    "n",
    "batch",
    "density",
    "tiles_live",
    "tiles_total",
    "folds",
    "cycles_array",
    "cycles_total",
    "start_cycle",
    "macs_dense",
    "utilization",
    "bound_by",
    "fused_into",
)


def layer_frame(result: SimulationResult) -> pd.DataFrame:
    """Return one row per operator.

    Columns are the plain fields of `LayerResult`, then `core_cycles_<bucket>`,
    `energy_<component>_pj`, `energy_pj`, and one column per action count.
    """
    rows: list[dict[str, Any]] = []
    for layer in result.layers:
        row: dict[str, Any] = {name: getattr(layer, name) for name in PLAIN}
        row |= {f"core_cycles_{name}": value for name, value in layer.cycles.items()}
        row |= {f"energy_{name}_pj": value for name, value in layer.energy_pj.items()}
        row["energy_pj"] = sum(layer.energy_pj.values())
        row |= layer.counts
        rows.append(row)
    return pd.DataFrame(rows)
