from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report import plots
from lspsim.report.grouping import group_layers
from lspsim.report.plots.breakdown import REST, Breakdown, cycles_of, energy_of, fold_small
from lspsim.report.plots.masks import mask_strips
from lspsim.report.plots.palette import BUCKET, BUCKET_LABEL, ENERGY
from lspsim.report.summary import RunSummary
from lspsim.simulate.columns import BUCKETS
from lspsim.simulate.energy import COMPONENTS
from lspsim.simulate.result import SimulationResult
from lspsim.workload import Workload


def test_pyplot_is_never_loaded() -> None:
    code = "import sys, lspsim.report.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_bucket_and_component_has_its_own_colour() -> None:
    assert set(BUCKET) == set(BUCKET_LABEL) == set(BUCKETS)
    assert set(ENERGY) == set(COMPONENTS)
    for colours in (BUCKET, ENERGY):
        assert len(set(colours.values())) == len(colours)


# ---- breakdowns ----


def test_cycles_sum_to_the_run(run: RunSummary) -> None:
    data = plots.cycle_breakdown(run)
    assert data.total == pytest.approx(run.totals.cycles_total)
    qkv = data.values[data.labels.index("attn.qkv \u00d73")]
    layers = [layer for layer in run.layers if layer.name.endswith("attn.qkv")]
    for part, value in zip(data.parts, qkv, strict=True):
        assert value * run.cores == sum(layer.cycles[part] for layer in layers)


def test_core_cycles_become_cycles(
    new_result: Callable[..., SimulationResult], hardware: Hardware
) -> None:
    chip = hardware.with_values({"cores": 4, "noc": {"bandwidth": "32 GB/s"}})
    run = RunSummary.of(new_result(hardware=chip))
    assert run.cores == 4
    assert plots.cycle_breakdown(run).total == pytest.approx(run.totals.cycles_total)


def test_energy_sums_to_the_run(run: RunSummary) -> None:
    data = plots.energy_breakdown(run)
    assert data.total == pytest.approx(run.totals.energy_j)
    assert data.parts == ("mac", "weight_buffer", "dram", "leakage", "other")
    assert data.part_labels[2] == "DRAM"


def test_small_rows_share_a_bar_and_empty_ones_have_none(run: RunSummary) -> None:
    rows = group_layers(run.layers)
    bars = fold_small(rows, [cycles_of], 0.05)
    assert bars[-1][0] == REST
    assert sum(row.cycles_total for _, group in bars for row in group) == run.totals.cycles_total
    drawn = [row.name for _, group in bars for row in group]
    assert "blocks.*.mlp.act" not in drawn
    both = fold_small(rows, [cycles_of, energy_of], 0.0)
    assert [row.name for _, group in both for row in group] == [row.name for row in rows]


def test_stages_keep_their_number(run: RunSummary) -> None:
    layers = [
        x._replace(name=f"layers.{i}.{x.name}", m=x.m + i)
        for i in range(2)
        for x in run.layers
        if x.name.endswith("fc1")
    ]
    labels = [label for label, _ in fold_small(group_layers(layers), [cycles_of], 0.0)]
    assert labels == ["layers.0.mlp.fc1 \u00d73", "layers.1.mlp.fc1 \u00d73"]


@pytest.mark.parametrize("make", [plots.cycle_breakdown, plots.energy_breakdown])
def test_bars_are_drawn_to_scale(run: RunSummary, make: Callable[[RunSummary], Breakdown]) -> None:
    data = make(run)
    ax = Figure().add_subplot()
    figure, same = plots.draw_breakdown(data, ax=ax)
    assert same is ax
    assert figure is ax.figure
    widths = np.array([[bar.get_width() for bar in bars] for bars in ax.containers]).T
    assert widths.shape == data.values.shape
    np.testing.assert_allclose(widths / widths.sum(), data.values / data.total)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(data.labels)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(data.part_labels)


def test_empty_runs_are_refused(run: RunSummary) -> None:
    empty = replace(
        run,
        totals=run.totals._replace(cycles_total=0),
        layers=tuple(
            x._replace(energy_pj=dict.fromkeys(x.energy_pj, 0.0), macs_executed=0)
            for x in run.layers
        ),
    )
    with pytest.raises(ResultError, match="no cycles to draw"):
        plots.cycle_breakdown(empty)
    with pytest.raises(ResultError, match="no energy to draw"):
        plots.energy_breakdown(empty)


# ---- roofline ----


def test_roofline(run: RunSummary, hardware: Hardware) -> None:
    data = plots.roofline(run, hardware)
    assert data.peak_macs_per_cycle == 1024
    dram = hardware.memory.dram
    rate = float(dram.bandwidth_bytes_per_s * dram.efficiency) / hardware.clock_hz
    assert data.dram_bytes_per_cycle == pytest.approx(rate)
    assert data.ridge_macs_per_byte == pytest.approx(1024 / rate)
    assert data.roof(1.0) == pytest.approx(rate)
    assert data.roof(math.inf) == 1024
    gemms = [layer for layer in run.layers if layer.kind == "gemm"]
    assert [point.name for point in data.points] == [layer.name for layer in gemms]
    qkv, attention = data.points[1], data.points[2]
    assert qkv.type == "attn.qkv"
    assert qkv.macs_per_byte == gemms[1].macs_executed / gemms[1].dram_read_bytes
    assert qkv.macs_per_cycle == gemms[1].macs_executed / gemms[1].cycles_total
    assert attention.macs_per_byte == math.inf


def test_dots_above_the_dram_roof_are_named(run: RunSummary, hardware: Hardware) -> None:
    slow = hardware.with_values({"memory.dram.bandwidth": "0.1 GB/s"})
    data = plots.roofline(run, slow)
    types = {point.type for point in data.above_roof}
    assert "attn.qkv" in types
    assert "attn.qk" not in types
    _, ax = plots.draw_roofline(data)
    assert any("above the DRAM roof" in text.get_text() for text in ax.texts)
    assert replace(data, dram_bytes_per_cycle=None, peak_macs_per_cycle=1e9).above_roof == ()


def test_ideal_memory_has_one_roof(run: RunSummary, hardware: Hardware) -> None:
    data = plots.roofline(run, hardware.with_values({"memory.ideal": True}))
    assert data.dram_bytes_per_cycle is None
    assert data.ridge_macs_per_byte is None
    assert data.roof(1e-9) == 1024
    plots.draw_roofline(data)


def test_one_dot_per_gemm_one_colour_per_type(run: RunSummary, hardware: Hardware) -> None:
    data = plots.roofline(run, hardware)
    _, ax = plots.draw_roofline(data)
    dots = sum(len(c.get_offsets()) for c in ax.collections)
    assert dots == len(data.points)
    colours = {tuple(c.get_edgecolor()[0]) for c in ax.collections}
    assert len(colours) == len(ax.collections) == len({p.type for p in data.points})


def test_roofline_needs_macs(run: RunSummary, hardware: Hardware) -> None:
    idle = replace(run, layers=tuple(x._replace(macs_executed=0) for x in run.layers))
    with pytest.raises(ResultError, match="no GEMM executed a MAC"):
        plots.roofline(idle, hardware)


# ---- masks ----


def test_mask_grid_of_many_blocks_stands_upright(
    new_workload: Callable[..., Workload],
) -> None:
    workload = new_workload(blocks=12)
    data = plots.mask_grid(workload)
    masks = {g.name: g.mask for g in workload.gemms if g.mask is not None}
    assert [len(line.thumbnails) for line in data.lines] == [12, 12, 12]
    assert [line.label.splitlines()[0] for line in data.lines] == ["attn.qkv", "mlp.fc1", "mlp.fc2"]
    for line in data.lines:
        for thumbnail in line.thumbnails:
            mask = masks[thumbnail.name]
            assert thumbnail.height >= thumbnail.width == 1
            cells = mask.keep.T if thumbnail.transposed else mask.keep
            np.testing.assert_array_equal(thumbnail.cells, cells)
            assert thumbnail.density == mask.density
    assert [line.thumbnails[0].transposed for line in data.lines] == [False, False, True]
    assert data.lines[2].label.splitlines()[1] == "K\u00d7N = 512\u00d7128"
    assert "32\u00d732 blocks" in data.note


def test_grids_of_few_blocks_lie_flat(workload: Workload) -> None:
    data = plots.mask_grid(workload)
    assert all(t.height == 1 for line in data.lines for t in line.thumbnails)
    assert [line.thumbnails[0].transposed for line in data.lines] == [True, True, False]


def test_mask_strips_lie_flat(new_workload: Callable[..., Workload]) -> None:
    data = mask_strips(new_workload(blocks=12))
    assert [line.label for line in data.lines] == ["block 0", "block 6", "block 11"]
    for line in data.lines:
        assert [t.width for t in line.thumbnails] == [3, 4, 4]
        assert {t.height for t in line.thumbnails} == {1}


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_strips_of_few_blocks(new_workload: Callable[..., Workload], blocks: int) -> None:
    assert len(mask_strips(new_workload(blocks=blocks)).lines) == min(3, blocks)


def test_every_thumbnail_is_drawn(workload: Workload) -> None:
    data = plots.mask_grid(workload)
    _, ax = plots.draw_masks(data)
    assert len(ax.images) == 9
    np.testing.assert_array_equal(ax.images[0].get_array(), data.lines[0].thumbnails[0].cells)


def test_no_mask_no_picture(new_workload: Callable[..., Workload]) -> None:
    with pytest.raises(ResultError, match="no GEMM has a mask"):
        plots.mask_grid(new_workload(masked=False))


# ---- files ----


def test_overview_and_same_bytes(run: RunSummary, workload: Workload, tmp_path: Path) -> None:
    for name in ("a", "b"):
        figure = plots.draw_overview(run, workload)
        assert len(figure.axes) == 3
        png, svg = plots.save_figure(figure, tmp_path / name, dpi=60)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert b"<svg" in svg.read_bytes()
    for suffix in ("png", "svg"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize("path", ["", ".", "..", "/", "plots/.."])
def test_a_place_without_a_name_is_refused(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultError, match=r"names no file; write e\.g\. plots/front"):
        plots.save_figure(Figure(figsize=(1, 1)), Path(path))
    assert not list(tmp_path.iterdir())


def test_names_with_dots_keep_them(tmp_path: Path) -> None:
    png, svg = plots.save_figure(Figure(figsize=(1, 1)), tmp_path / "v1.2", dpi=20)
    assert (png.name, svg.name) == ("v1.2.png", "v1.2.svg")
