"""A model card stands where a model's name does."""

import json

import pytest

from lspsim.models.cards import CARD_SCHEMA
from tests.train.loop_cases import TINY, tiny_card


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "CARD", "--hw", "edge_32x32"),
        ("compare", "edge_32x32", "mid_64x64", "--model", "CARD"),
        ("trace", "CARD", "--hw", "edge_32x32", "--out", "OUT"),
        ("gpu", "predict", "CARD", "--gpu", "a100"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_commands_take_a_card(run, tmp_path, words):
    card = str(tiny_card(tmp_path))
    places = {"CARD": card, "OUT": str(tmp_path / "trace.json.gz")}
    assert run(*(places.get(word, word) for word in words)).code == 0


def test_a_card_may_have_another_image_size_and_a_checkpoint(run, tmp_path):
    card = tiny_card(tmp_path)
    words = ("simulate", card, "--hw", "edge_32x32", "--format", "json")
    own = json.loads(run(*words).out)["totals"]
    weights = ("--checkpoint", card.with_suffix(".safetensors"), "--block", "8x8")
    assert json.loads(run(*words, *weights).out)["totals"] == own  # no block is zero
    larger = json.loads(run(*words, "--image-size", "64").out)["totals"]
    assert larger["macs_dense"] > own["macs_dense"]


def test_a_changed_card_is_another_model(run, tmp_path):
    card = tiny_card(tmp_path)
    words = ("simulate", card, "--hw", "edge_32x32", "--format", "json")
    before = json.loads(run(*words).out)["totals"]["macs_dense"]
    deeper = {**TINY, "depth": TINY["depth"] + 1}
    card.write_text(json.dumps({"schema": CARD_SCHEMA, "architecture": deeper}))
    assert json.loads(run(*words).out)["totals"]["macs_dense"] > before
