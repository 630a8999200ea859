"""Every preset simulates every DeiT, with exactly the figures on file."""

import json

import pytest

from lspsim.hardware import preset_names
from tests.golden.figures import FILE, MODELS, difference, figures_of, half_pruned, key

GOLDEN = json.loads(FILE.read_text())


@pytest.mark.parametrize("model", MODELS)
def test_figures_are_those_on_file(model):
    workload = half_pruned(model)
    for preset in preset_names():
        run = key(model, preset)
        assert run in GOLDEN, f"{run} is not on file; run python -m tests.golden.figures"
        changed = difference({run: GOLDEN[run]}, {run: figures_of(workload, preset)})
        assert not changed, "\n".join(changed)


def test_nothing_on_file_is_forgotten():
    assert set(GOLDEN) == {key(model, preset) for model in MODELS for preset in preset_names()}


def test_a_missing_figure_is_a_difference():
    assert difference({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}) == ["a: y 2 -> None"]
    assert difference({}, {"a": {"x": 1}}) == ["a: x None -> 1"]
