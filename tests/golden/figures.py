"""Golden figures: what every preset says of every DeiT, to the last cycle.

`python -m tests.golden.figures` writes them again and prints what changed; that
difference belongs in the commit message and under "Results that changed".
"""

from __future__ import annotations

import json
from pathlib import Path

from lspsim import load_hardware, simulate
from lspsim.hardware import preset_names
from lspsim.models import workload_from_model
from lspsim.simulate.columns import BUCKETS, COUNTS
from lspsim.workload import Workload
from lspsim.workload.generate import random_masks

FILE = Path(__file__).with_name("figures.json")
MODELS = ("deit_tiny_patch16_224", "deit_small_patch16_224", "deit_base_patch16_224")


def half_pruned(model: str) -> Workload:
    """Return the model with half of its 32x32 blocks removed."""
    dense = workload_from_model(model)
    return dense.with_masks(random_masks(dense, sparsity=0.5, block_out=32, block_in=32, seed=0))


def figures_of(workload: Workload, preset: str) -> dict[str, int]:
    """Return every integer that a run on `preset` totals up to."""
    hardware = load_hardware(preset)
    result = simulate(workload, hardware)
    bound = simulate(workload, hardware, engine="analytic")
    figures = {
        "cycles_total": result.totals.cycles_total,
        "cycles_lower_bound": bound.totals.cycles_total,
        "tiles_live": int(result.table.tiles_live.sum()),
        "folds": int(result.table.folds.sum()),
    }
    figures |= {
        f"core_cycles_{name}": int(value)
        for name, value in zip(BUCKETS, result.table.buckets.sum(axis=0), strict=True)
    }
    figures |= {
        name: int(value)
        for name, value in zip(COUNTS, result.table.counts.sum(axis=0), strict=True)
    }
    return figures


def key(model: str, preset: str) -> str:
    """Return the name of one set of figures."""
    return f"{model} on {preset}"


def all_figures() -> dict[str, dict[str, int]]:
    """Return the figures of every model on every preset."""
    out: dict[str, dict[str, int]] = {}
    for model in MODELS:
        workload = half_pruned(model)
        for preset in preset_names():
            out[key(model, preset)] = figures_of(workload, preset)
    return out


def difference(old: dict[str, dict[str, int]], new: dict[str, dict[str, int]]) -> list[str]:
    """Return one line per figure that is new, gone or changed."""
    lines = []
    for run in sorted(old.keys() | new.keys()):
        before, after = old.get(run, {}), new.get(run, {})
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                lines.append(f"{run}: {name} {before.get(name)} -> {after.get(name)}")
    return lines


def main() -> None:
    """Write the file again and print the difference."""
    old = json.loads(FILE.read_text()) if FILE.exists() else {}
    new = all_figures()
    FILE.write_text(json.dumps(new, indent=1) + "\n")
    print("\n".join(difference(old, new)) or "nothing changed")


if __name__ == "__main__":
    main()
