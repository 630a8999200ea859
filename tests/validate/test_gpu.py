import json

import numpy as np
import pytest

from lspsim.errors import ResultError
from lspsim.gpu.config.load import load_gpu
from lspsim.gpu.fit.measured import read_measurements
from lspsim.report.plots.breakeven import NEVER, draw_break_evens
from lspsim.report.plots.parity import BANDS, ParityGroup, draw_parity
from lspsim.validate.gpu import evidence, validate_gpu
from lspsim.validate.gpu_groups import own_groups

DEIT_B = frozenset({(2304, 768), (768, 768), (3072, 768), (768, 3072)})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """All public rows, and a table of two rows."""
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    path.write_text("m,n,k,latency\n1024,768,768,0.006\n1024,4096,4096,0.06\n64,768,768,0.004\n")
    return validate_gpu([("h200", path)], DEIT_B, measurements=())


def test_what_was_fitted_and_what_was_not(report):
    roles = {(group.name, group.role): group for group in report.groups}
    table = roles["h200 GEMM table, M >= 128, held-out weights", "held out"]
    assert table.measured.tolist() == pytest.approx([6e-6])
    assert roles["rtx3090, timm-amp", "fitted"].measured.size == 8
    assert roles["rtx3090, timm-amp", "held out"].measured.size == 4
    assert roles["a100-40gb, aitemplate", "predicted"].measured.size == 8
    assert ("rtx4090 with rtx3090's parameters", "transferred") in roles
    speedups = [group for group in report.groups if group.quantity == "speedup"]
    assert [(group.role, group.measured.size) for group in speedups] == [
        ("held out", 3),
        ("predicted", 3),
    ]


def test_targets_are_met_on_public_rows(report):
    for group in report.groups:
        if group.name.startswith("rtx") and group.role in ("held out", "predicted"):
            assert group.accuracy.mean <= 0.10
        if group.name == "rtx4090 with rtx3090's parameters":
            assert group.accuracy.mean <= 0.20
        if group.quantity == "speedup":
            assert group.accuracy.worst <= 0.03
        if (group.name, group.role) == ("a100, superblock", "predicted"):
            assert group.accuracy.worst <= 0.03
        if (group.name, group.role) == ("a100-40gb, aitemplate", "predicted"):
            assert group.accuracy.mean <= 0.10
            assert group.accuracy.worst <= 0.20


def test_rows_have_every_column_and_rooflines_where_they_make_sense(report):
    for row in report.rows():
        assert len(row) == len(report.columns)
        shown = dict(zip(report.columns, row, strict=True))
        assert (shown["roofline_error"] is None) == (shown["quantity"] != "latency (s)")
    assert any("none are there yet" in note for note in report.notes)


def test_rooflines_of_the_table(report):
    group = report.groups[0]
    gpu = load_gpu("h200")
    flops, moved = 2 * 1024 * 768 * 768, 2 * (1024 * 768 * 2 + 768 * 768)
    raw = max(flops / gpu.peak_flop_per_s("bf16"), moved / 4.8e12)
    assert group.roofline[0] == pytest.approx(raw)
    assert group.derated[0] == pytest.approx(raw / 0.8 + 3e-6)


def test_the_plot_shows_only_what_was_not_fitted(report):
    found = evidence(report)
    names = [name for name, _, _ in found]
    assert len(names) == len(set(names))
    assert not any("parameters" in name for name in names)
    shown = sum(measured.size for _, measured, _ in found)
    proofs = [g for g in report.groups if g.role in ("held out", "predicted")]
    assert shown == sum(g.measured.size for g in proofs if g.quantity == "latency (s)")


def own_row(**changes):
    """A row of `lspsim gpu measure`."""
    row = {
        "schema": "lspsim/gpu-measurement/v1",
        "kind": "layer",
        "gpu": "NVIDIA H200",
        "dtype": "bf16",
        "model": "deit_tiny_patch16_224",
        "layer": "blocks.6.mlp.fc1",
        "batch": 64,
        "m": 12608,
        "n": 768,
        "k": 192,
        "block_out": None,
        "block_in": None,
        "sparsity": 0.0,
        "variant": "dense",
        "regime": "burst",
        "latency_s": 1e-5,
        "energy_j": None,
        "status": "ok",
        "provenance": {"seed": 0},
    }
    row |= changes
    row["key"] = "{m} {n} {k} {block_out} {sparsity} {regime} {latency_s}".format(**row)
    return json.dumps(row) + "\n"


def test_own_measurements_get_groups_of_their_own(tmp_path):
    sparse = {"block_out": 32, "block_in": 32, "variant": "block-sparse"}
    network = {"kind": "model", "layer": None, "m": None, "n": None, "k": None}
    path = tmp_path / "h200.jsonl"
    path.write_text(
        own_row()
        + own_row(sparsity=0.5, **sparse)
        + own_row(sparsity=0.7, **sparse)
        + own_row(regime="sustained", energy_j=0.01)
        + own_row(sparsity=0.9, latency_s=1e-3, **sparse, **network)
    )
    found = own_groups(read_measurements([path]))
    assert [(g.name.partition(", own ")[2], g.role, g.quantity) for g in found] == [
        ("layers, dense, burst", "predicted", "latency (s)"),
        ("layers, block-sparse, burst", "predicted", "latency (s)"),
        ("layers, block-sparse, held out, burst", "held out", "latency (s)"),
        ("layers, dense, sustained", "predicted", "latency (s)"),
        ("layers, dense, sustained", "predicted", "energy (J)"),
        ("models, block-sparse, burst", "predicted", "latency (s)"),
    ]
    assert all((g.roofline is None) == (g.quantity == "energy (J)") for g in found)
    assert found[-1].predicted[0] > 10 * found[0].predicted[0]


def test_parity_plot():
    group = ParityGroup("g", np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.05, 2.3, 4.0, 40.0]))
    assert group.within == (0.5, 0.75)
    assert group.mean_error == pytest.approx((0.05 + 0.15 + 0 + 4) / 4)
    figure, ax = draw_parity([group, ParityGroup("none", np.zeros(0), np.zeros(0))], "t (ms)")
    assert figure.axes == [ax]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "g\nn = 4, mean error 105.0 %"
    ]
    assert any("at the edges: 1 beyond" in text.get_text() for text in ax.texts)
    assert len(BANDS) == 2
    with pytest.raises(ResultError, match="at least one"):
        draw_parity([], "t (ms)")


def test_break_even_plot():
    _, ax = draw_break_evens({"32x32": [(64, 0.75), (1, None)]}, title="h200")
    (line,) = [line for line in ax.lines if line.get_label() == "32x32"]
    assert line.get_xdata().tolist() == [1, 64]
    assert line.get_ydata().tolist() == pytest.approx([100 * NEVER, 75])
    with pytest.raises(ResultError, match="at least one"):
        draw_break_evens({})
