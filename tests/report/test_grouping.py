from __future__ import annotations

import pytest

from lspsim.report.grouping import common_name, group_layers, layer_type
from lspsim.report.summary import RunSummary
from lspsim.simulate.columns import BUCKETS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("blocks.3.attn.qkv", "attn.qkv"),
        ("layers.0.blocks.1.attn.qkv", "attn.qkv"),
        ("patch_embed.proj", "patch_embed.proj"),
        ("head", "head"),
        ("blocks.3", "blocks.3"),
    ],
)
def test_layer_type(name: str, expected: str) -> None:
    assert layer_type(name) == expected


def test_common_name_keeps_what_is_common() -> None:
    names = ["layers.0.blocks.0.attn.qkv", "layers.0.blocks.1.attn.qkv"]
    assert common_name(names) == "layers.0.blocks.*.attn.qkv"


def test_repeated_blocks_become_one_row(run: RunSummary) -> None:
    rows = {row.name: row for row in group_layers(run.layers)}
    assert list(rows)[:3] == ["patch_embed.proj", "blocks.*.norm1", "blocks.*.attn.qkv"]
    qkv = rows["blocks.*.attn.qkv"]
    assert qkv.label == "blocks.*.attn.qkv x3"
    assert qkv.members == tuple(f"blocks.{i}.attn.qkv" for i in range(3))
    members = [layer for layer in run.layers if layer.name in qkv.members]
    assert qkv.density == pytest.approx(sum(layer.density for layer in members) / 3)
    assert qkv.tiles_live == 21
    assert rows["head"].label == "head"


@pytest.mark.parametrize("collapse", [True, False])
def test_rows_sum_to_the_run(run: RunSummary, collapse: bool) -> None:
    rows = group_layers(run.layers, collapse=collapse)
    assert sum(row.count for row in rows) == len(run.layers)
    assert sum(row.cycles_total for row in rows) == run.totals.cycles_total
    for bucket in BUCKETS:
        assert sum(r.cycles[bucket] for r in rows) == sum(x.cycles[bucket] for x in run.layers)
    assert sum(row.energy_total_pj for row in rows) == pytest.approx(run.totals.energy_j * 1e12)
    assert sum(row.macs_executed for row in rows) == run.totals.macs_executed
    assert sum(row.dram_read_bytes for row in rows) == run.totals.dram_read_bytes


def test_bound_by_is_the_largest_bucket_and_says_fused(run: RunSummary) -> None:
    for row in group_layers(run.layers):
        if row.name.endswith("act"):
            assert (row.bound_by, row.bound_share) == ("fused", 0.0)
        else:
            assert row.cycles[row.bound_by] == max(row.cycles.values())
            assert row.bound_share == max(row.cycles.values()) / sum(row.cycles.values())


def test_different_shapes_stay_apart(run: RunSummary) -> None:

    layers = [
        layer._replace(m=layer.m + 1) if layer.name == "blocks.1.attn.qkv" else layer
        for layer in run.layers
    ]
    labels = [row.label for row in group_layers(layers)]
    assert "blocks.1.attn.qkv" in labels
    assert "blocks.*.attn.qkv x2" in labels
