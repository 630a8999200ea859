import csv

import pytest

pytest.importorskip("torch")

from lspsim.allocate.budgets import parse_budgets
from lspsim.bench.proxy import against_proxy, write_proxy_rows
from lspsim.prune.recipe import PruneRecipe
from tests.bench.bench_cases import tiny_model
from tests.train.loop_cases import chip


def test_both_loops_end_on_the_same_budget(tmp_path):
    chips = [chip(8), chip(16)]
    budgets = parse_budgets(["cycles=0.7"])
    card = str(tiny_model(tmp_path))
    rows = list(against_proxy(card, "digits", chips, budgets, PruneRecipe(8, 8), 16, 40))
    assert len(rows) == 2
    for row in rows:
        for cycles in (row.cycles, row.cycles_proxy):
            assert 0.6 < cycles / row.cycles_dense <= 0.7
        assert row.images == 40
        assert row.kl_nats > 0
        assert row.loss_nats > 0
    path = tmp_path / "made" / "proxy.csv"
    write_proxy_rows(path, rows)
    stored = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["kl_nats_proxy"]) for row in stored] == [row.kl_nats_proxy for row in rows]
