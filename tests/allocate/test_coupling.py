from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from lspsim.allocate import coupling
from lspsim.allocate.curves import LayerCurve
from lspsim.workload import BlockMask
from tests.models import vit_cases as cases

BLOCK = 8
"""Width 32, two heads of 16, 128 hidden units: blocks of 8 lie inside a head."""


def couple(model, curves, masks, met=None):
    """Call `couple` where every layer has one block size."""
    coupled, freed = coupling.couple(model, {n: (c,) for n, c in curves.items()}, masks, met)
    return {name: curve for name, (curve,) in coupled.items()}, freed


@pytest.fixture
def model():
    return cases.vit()


@pytest.fixture
def curves(model):
    chooser = np.random.default_rng(0)
    made = {}
    for name in cases.names(model):
        shape = tuple(model.get_submodule(name).weight.shape)
        blocks = shape[0] // BLOCK * (shape[1] // BLOCK)
        loss = np.concatenate([[0.0], chooser.random(blocks).cumsum()])
        made[name] = LayerCurve(name, shape, BLOCK, BLOCK, chooser.permutation(blocks), loss)
    return made


def masks_with(curves, **gone):
    """Full masks but for `path_leaf=(rows, columns)` of blocks."""
    keeps = {name: np.ones(curve.grid, bool) for name, curve in curves.items()}
    for key, (rows, columns) in gone.items():
        name = next(n for n in keeps if n == "blocks.0." + key.replace("__", "."))
        keeps[name][rows, columns] = False
    return {name: BlockMask(keep, BLOCK, BLOCK) for name, keep in keeps.items()}


def first(curve, count):
    return set(curve.order[:count].tolist())


def test_whole_networks_change_nothing(model, curves) -> None:
    coupled, freed = couple(model, curves, masks_with(curves))
    assert freed == 0
    for name, curve in curves.items():
        assert np.array_equal(coupled[name].order, curve.order)
        assert np.allclose(coupled[name].loss, curve.loss)


def test_an_unread_neuron_group_commits_its_column_and_frees_its_row(model, curves) -> None:
    masks = masks_with(curves, mlp__fc2=(slice(None), 3))
    coupled, freed = couple(model, curves, masks)
    fc1, fc2 = coupled["blocks.0.mlp.fc1"], coupled["blocks.0.mlp.fc2"]
    rows, columns = fc1.grid[1], fc2.grid[0]
    assert freed == rows
    assert first(fc1, rows) == {3 * rows + column for column in range(rows)}
    assert first(fc2, columns) == {row * fc2.grid[1] + 3 for row in range(columns)}
    for curve, committed in ((fc1, rows), (fc2, columns)):
        assert (curve.loss[: committed + 1] == 0).all()
        assert (np.diff(curve.loss)[committed:] > 0).all()
    untouched = set(curves) - {"blocks.0.mlp.fc1", "blocks.0.mlp.fc2"}
    assert all(np.array_equal(coupled[n].order, curves[n].order) for n in untouched)


def test_removal_of_what_was_freed_frees_no_more(model, curves) -> None:
    masks = masks_with(curves, mlp__fc2=(slice(None), 3))
    coupled, _ = couple(model, curves, masks)
    again = masks_with(curves, mlp__fc2=(slice(None), 3), mlp__fc1=(3, slice(None)))
    twice, freed = couple(model, coupled, again)
    assert freed == 0
    for name, curve in coupled.items():
        assert np.array_equal(twice[name].order, curve.order)
        assert np.allclose(twice[name].loss, curve.loss)


def test_dead_keys_free_queries_but_not_the_other_way_round(model, curves) -> None:
    width = 32 // BLOCK
    key_gone = masks_with(curves, attn__qkv=(width + 1, slice(None)))
    coupled, freed = couple(model, curves, key_gone)
    assert freed == width
    wanted = {1 * width + column for column in range(width)}
    assert wanted <= first(coupled["blocks.0.attn.qkv"], 2 * width)
    query_gone = masks_with(curves, attn__qkv=(1, slice(None)))
    assert couple(model, curves, query_gone)[1] == 0


def test_it_depends_on_dead_units_alone(model, curves) -> None:
    """Blocks that are gone without killing a unit leave the curves as they were."""
    masks = masks_with(curves, mlp__fc2=(slice(1, None), 3), attn__proj=(0, slice(None)))
    coupled, freed = couple(model, curves, masks)
    assert freed == 0
    assert all(np.array_equal(coupled[n].order, curves[n].order) for n in curves)


def test_normalised_queries_are_not_coupled(curves) -> None:
    width = 32 // BLOCK
    model = cases.vit(qk_norm=True)
    assert couple(model, curves, masks_with(curves, attn__qkv=(width + 1, slice(None))))[1] == 0


def test_what_killed_a_unit_stays_on_the_bill(model, curves) -> None:
    """The estimated loss of a choice is the same before and after its units are committed."""
    masks = masks_with(curves, mlp__fc2=(slice(None), 3))
    name = "blocks.0.mlp.fc2"
    curve = curves[name]
    gone = {row * curve.grid[1] + 3 for row in range(curve.grid[0])}
    steps = dict(zip(curve.order.tolist(), np.diff(curve.loss), strict=True))
    price = sum(steps[block] for block in gone)
    coupled, _ = couple(model, curves, masks)
    assert coupled[name].sunk == pytest.approx(price)
    assert coupled[name].dead == len(gone)
    freed = coupled["blocks.0.mlp.fc1"]
    assert freed.sunk == 0  # went for free: nobody reads it
    assert freed.dead == freed.grid[1]
    again, _ = couple(model, coupled, masks)
    assert again[name].sunk == pytest.approx(price)


def test_dead_keys_are_committed_with_their_queries(model, curves) -> None:
    """A key that came back would make the query that went for free a loss."""
    width = 32 // BLOCK
    name = "blocks.0.attn.qkv"
    coupled, _ = couple(model, curves, masks_with(curves, attn__qkv=(width + 1, slice(None))))
    curve = coupled[name]
    rows = {block // width for block in first(curve, curve.dead)}
    assert rows == {1, width + 1}
    steps = np.zeros(curve.blocks)
    steps[curves[name].order] = np.diff(curves[name].loss)
    assert curve.sunk == pytest.approx(steps.reshape(curve.grid)[width + 1].sum())


def test_no_more_units_die_for_good_than_the_budgets_ask_for(model, curves) -> None:
    """Whatever is committed leaves the allocation something to decide."""
    columns = [2, 3, 5, 7]
    masks = masks_with(curves, mlp__fc2=(slice(None), columns))
    fc2 = curves["blocks.0.mlp.fc2"]
    prices = np.zeros(fc2.blocks)
    prices[fc2.order] = np.diff(fc2.loss)
    cheapest = sorted(columns, key=lambda j: prices.reshape(fc2.grid)[:, j].sum())

    def met(found):
        return sum(int((~mask.keep).sum()) for mask in found.values()) >= 3 * 2 * 4

    coupled, freed = couple(model, curves, masks, met)
    kept_dead = {block % fc2.grid[1] for block in first(coupled[fc2.name], coupled[fc2.name].dead)}
    assert kept_dead == set(cheapest[:2])  # three would have met the budget
    assert freed == 2 * 4
    all_of_them, _ = couple(model, curves, masks, lambda _: False)
    assert all_of_them[fc2.name].dead == 4 * 4
