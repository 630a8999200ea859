"""Checking a file stays quick: nothing heavy is imported, nothing slow is done."""

from __future__ import annotations

import subprocess
import sys
import time

from lspsim.hardware import load_hardware

HEAVY = {"numba", "numpy", "pandas", "torch", "matplotlib", "scipy", "simpy", "pyarrow", "timm"}


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, lspsim.hardware as h; e = h.load_hardware('edge_32x32'); e.technology; "
        "e.with_values({'array.rows': 8}); h.list_presets(); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {module.partition(".")[0] for module in run.stdout.split()}
    assert "pydantic" in loaded
    assert loaded & HEAVY == set()


def test_loading_and_changing_are_quick() -> None:
    edge = load_hardware("edge_32x32")
    loads, changes = [], []
    for _ in range(10):
        start = time.perf_counter()
        load_hardware("edge_32x32")
        loads.append(time.perf_counter() - start)
        start = time.perf_counter()
        edge.with_values({"array.rows": 64})
        changes.append(time.perf_counter() - start)
    assert min(loads) < 0.05
    assert min(changes) < 0.001
