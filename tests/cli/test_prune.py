"""`lspsim prune` and `lspsim finetune`: points, kept points, interrupts, bad input."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.torch import save_file

from lspsim.networks.load import load_point
from lspsim.networks.record import CONTENT, PERMUTATIONS, RECORD, read_point
from tests.train import loop_cases
from tests.train.loop_cases import TINY, tiny_card

CHIP = ("--hw", "edge_32x32", "--set", "array.rows=8", "--set", "array.cols=8")
FEW = ("--images", "16", "--test-images", "40")


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return tiny_card(tmp_path_factory.mktemp("model"))


@pytest.fixture
def words(card, tmp_path):
    """`lspsim prune` of the tiny model to `tmp_path/points`, budgets left out."""
    data = ("--data", "digits", "--block", "8x8")
    return ("prune", card, *data, *CHIP, *FEW, "--out", tmp_path / "points")


def folders(path):
    return sorted(entry.name for entry in path.iterdir())


def content(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_table_and_points(run, words, tmp_path):
    answer = run(*words, "--budget", "cycles=0.8,0.6")
    assert answer.code == 0
    assert answer.out.splitlines()[0].split()[:3] == ["budget", "method", "block"]
    assert len(answer.out.splitlines()) == 3
    assert answer.err.count("written: ") == 2
    names = folders(tmp_path / "points")
    assert names == [f"block-obs-knapsack-full-8x8_cycles={x}" for x in (0.6, 0.8)]
    for name, limit in zip(names, (0.6, 0.8), strict=True):
        place = tmp_path / "points" / name
        assert folders(place) == sorted(CONTENT)
        record = read_point(place)
        assert record.pruned.cycles <= limit * record.dense.cycles
        load_point(place)


def test_what_a_model_does_not_allow_is_printed_and_recorded(run, tmp_path, monkeypatch):
    monkeypatch.setattr(loop_cases, "TINY", TINY | {"qkv_bias": False, "pre_norm": True})
    card = tiny_card(tmp_path)
    answer = run("prune", card, "--data", "digits", "--block", "8x8", *CHIP, *FEW,
                 "--budget", "macs=0.6", "--out", tmp_path / "points")  # fmt: skip
    assert answer.code == 0
    (place,) = (tmp_path / "points").iterdir()
    origin = read_point(place).provenance
    assert origin["changes"]["residual stream"].startswith("kept: a norm before the first block")
    assert origin["changes"]["values"] == "rotated"
    assert len(origin["notes"]) == 2
    assert all(f"note: {text}" in answer.err for text in origin["notes"])
    load_point(place)


def test_json_csv_and_front_agree(run, words, tmp_path):
    score = ("--score", "l1", "--compensate", "bias", "--allocate", "greedy")
    budgets = ("--budget", "macs=0.7,0.5", "--budget", "energy=0.9")
    found = json.loads(run(*words, *score, *budgets, "--format", "json").out)
    assert found["schema"] == "lspsim/points/v1"
    assert [point["label"] for point in found["points"]] == [
        "macs=0.7,energy=0.9",
        "macs=0.5,energy=0.9",
    ]
    assert all(point["macs_ratio"] <= 0.7 for point in found["points"])
    again = run(*words, *score, *budgets, "--format", "csv")  # kept, not made again
    assert again.err.count("kept: ") == 2
    rows = [line.split(",") for line in again.out.replace('"', "").splitlines()]
    assert len(rows) == 3
    assert run("front", tmp_path / "points").code == 0


def test_the_simulator_confirms_a_pruned_checkpoint(run, tmp_path):
    """The shipped model by its name, masks from the zeros of what `prune` wrote."""
    chip = ("--hw", "edge_32x32", "--set", "array.rows=16", "--set", "array.cols=16")
    out = tmp_path / "points"
    score = ("--score", "l1", "--compensate", "none", "--allocate", "uniform")
    words = ("--data", "digits", "--block", "16x16", *FEW, "--budget", "cycles=0.5")
    assert run("prune", "lspsim/deit_digits", *words, *score, *chip, "--out", out).code == 0
    (place,) = out.iterdir()
    checkpoint = ("--checkpoint", place / "pruned.safetensors", "--block", "16x16")
    masks = ("--masks", place / "masks.npz")
    for source in (checkpoint, masks):
        answer = run("simulate", "lspsim/deit_digits", *chip, *source, "--format", "json")
        totals = json.loads(answer.out)["totals"]
        assert totals["cycles_total"] == read_point(place).pruned.cycles


DRIVER = """
import os, signal, sys
# a shell's background jobs and many CI runners start with SIGINT ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
import lspsim.prune.study as study
count = int(sys.argv.pop(1))
original = study.run_point

def interrupted(*args, **kwargs):
    global count
    count -= 1
    if count == 0:
        os.kill(os.getpid(), signal.SIGINT)
    return original(*args, **kwargs)

study.run_point = interrupted
from lspsim.cli import main
main()
"""


def test_ctrl_c_keeps_finished_points_and_the_next_run_makes_the_rest(run, words, tmp_path):
    words = (*words, "--score", "l1", "--compensate", "bias", "--budget", "macs=0.8,0.6,0.5")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "2", *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        f"interrupted; finished networks are kept in {tmp_path / 'points'}; "
        "the same command makes the rest"
    )
    first = "l1-knapsack-bias-8x8_macs=0.8"
    assert folders(tmp_path / "points") == [first]
    assert folders(tmp_path / "points" / first) == sorted({*CONTENT} - {PERMUTATIONS})
    before = content(tmp_path / "points" / first)
    answer = run(*words)
    assert answer.code == 0
    assert (answer.err.count("kept: "), answer.err.count("written: ")) == (1, 2)
    assert content(tmp_path / "points" / first) == before
    assert len(folders(tmp_path / "points")) == 3
    assert len(answer.out.splitlines()) == 4


def test_interrupted_while_writing_leaves_no_half_point(run, words, tmp_path, monkeypatch):
    from lspsim.networks import record

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "_write_weights", interrupt)
    words = (*words, "--score", "l1", "--compensate", "none", "--budget", "macs=0.8")
    assert run(*words).code == 130
    assert not (tmp_path / "points").exists()


def test_a_full_disk_keeps_earlier_points(run, words, tmp_path, monkeypatch):
    from lspsim.networks import record

    words = (*words, "--score", "l1", "--compensate", "none")
    assert run(*words, "--budget", "macs=0.8").code == 0
    before = content(tmp_path / "points")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "save_masks", full)
    answer = run(*words, "--budget", "macs=0.6")
    assert answer.code == 2
    assert "No space left on device" in answer.message
    assert content(tmp_path / "points") == before


def test_the_same_command_gives_the_same_files(run, words, tmp_path):
    words = (*words[:-1],)
    for name in ("a", "b"):
        assert run(*words, tmp_path / name, "--budget", "cycles=0.7").code == 0
    one, other = (content(tmp_path / name) for name in ("a", "b"))
    assert [file.name for file in one] == [file.name for file in other]
    for a, b in zip(one, other, strict=True):
        if a.suffix == ".npz":
            left, right = np.load(a), np.load(b)
            assert all(np.array_equal(left[key], right[key]) for key in left.files)
        else:
            assert one[a] == other[b]


@pytest.mark.parametrize(
    ("extra", "words_of_it"),
    [
        (("--budget", "cycles"), "not KIND=VALUE"),
        (("--budget", "cycles=half"), "cycles=half"),
        (("--budget", "cycles=50"), "fraction of the dense"),
        (("--budget", "watts=0.5"), "watts"),
        (("--budget", "cycles=0.5", "--budget", "cycles=0.6"), "given twice"),
        (("--budget", "cycles=0.5,0.6", "--budget", "energy=0.5,0.6,0.7"), "equally many"),
        (("--budget", "cycles=0.001"), "of dense; ask for at least that"),
        (("--budget", "cycles=0.5", "--score", "l3"), "l3"),
        (("--budget", "cycles=0.5", "--score", "l1", "--compensate", "obs"), "'obs' goes with"),
        (("--budget", "cycles=0.5", "--images", "4"), "--images"),
        (("--budget", "cycles=0.5", "--images", "4000"), "4000 images asked for"),
        (("--budget", "cycles=0.5", "--data", "digts"), "unknown dataset 'digts'"),
        (("--budget", "cycles=0.5", "--data", "glyphs"), "50 classes"),
        (("--budget", "cycles=0.5", "--block", "12x12"), "straddle heads"),
        (("--budget", "cycles=0.5", "--block", "8by8"), "8by8"),
        (("--budget", "cycles=0.5", "--hw", "edge_33x33"), "edge_33x33"),
        (("--budget", "cycles=0.5", "--checkpoint", "none.safetensors"), "none.safetensors"),
    ],
)
def test_bad_input_is_one_message(refused, words, tmp_path, extra, words_of_it):
    message = refused(*words, *extra)
    assert words_of_it in message
    assert not (tmp_path / "points").exists()


def test_unknown_models_and_other_architectures(refused, words, tmp_path):
    budget = ("--budget", "cycles=0.5")
    message = refused("prune", "lspsim/deit_digit", *words[2:], *budget)
    assert "lspsim/deit_digits" in message
    weights = words[1].with_suffix(".safetensors")
    message = refused("prune", "lspsim/deit_digits", *words[2:], *budget, "--checkpoint", weights)
    assert "name the architecture" in message
    assert not (tmp_path / "points").exists()


def test_out_in_the_way_of_something_else(run, refused, words, tmp_path):
    score = ("--score", "l1", "--compensate", "none", "--budget", "macs=0.8")
    assert run(*words, *score).code == 0
    before = content(tmp_path / "points")
    loose = ("--checkpoint", tmp_path / "loose.safetensors")
    state = load_point(next((tmp_path / "points").iterdir())).model.state_dict()
    save_file(state, loose[1])
    others = (
        (("--seed", "1"), "another study: seed 0, not 1; choose"),
        (("--images", "24"), "another study: calibration images 16, not 24; choose"),
        (("--batch", "2"), "another study: batch 1, not 2; choose"),
        (("--set", "clock=800 MHz"), "edge_32x32 with clock 1 GHz, not 800 MHz; choose"),
        (("--set", "memory.ideal=true"), "edge_32x32 with memory.ideal False, not True; choose"),
        (("--hw", "mid_64x64"), "another study: hardware edge_32x32, not mid_64x64; choose"),
        (loose, f"another study: weights its own, not {loose[1]}; choose"),
        (("--couple", "--batch", "3"), "batch 1, not 3; couple False, not True; choose"),
    )
    for other, differing in others:
        assert differing in refused(*words, *score, *other)
    assert content(tmp_path / "points") == before
    full = ("--budget", "macs=0.7", "--out", tmp_path / "full", "--basis")
    assert run(*words[:-2], *full, "rotate").code == 0
    assert "basis rotate, not permute; choose" in refused(*words[:-2], *full, "permute")
    (place,) = (tmp_path / "points").iterdir()
    (place / "notes.txt").write_text("mine")
    (place / RECORD).unlink()
    assert "notes.txt" in refused(*words, *score)
    (tmp_path / "file").write_text("mine")
    assert "a file is there" in refused(*words[:-1], tmp_path / "file", *score)


def test_finetune_holds_the_masks(run, refused, words, tmp_path):
    score = ("--score", "l1", "--compensate", "bias", "--budget", "macs=0.6")
    assert run(*words, *score).code == 0
    (place,) = (tmp_path / "points").iterdir()
    out = tmp_path / "tuned"
    tune = ("finetune", place, "--epochs", "1", "--epoch-images", "128", "--out")
    answer = run(*tune, out)
    assert answer.code == 0
    assert f"written: {out}" in answer.out
    before, after = load_point(place), load_point(out)  # refuses weights where masks removed them
    assert all(np.array_equal(before.masks[n].keep, after.masks[n].keep) for n in before.masks)
    weights = [
        model.get_submodule("blocks.0.mlp.fc1").weight for model in (before.model, after.model)
    ]
    assert not np.array_equal(*(weight.detach().numpy() for weight in weights))
    assert after.record.provenance["finetuned"]["epochs"] == 1
    wild = run(*tune, tmp_path / "wild", "--learning-rate", "10")
    assert "no epoch came closer" in wild.out
    last = run(*tune, tmp_path / "last", "--learning-rate", "10", "--keep", "last")
    assert "no epoch" not in last.out
    how = read_point(tmp_path / "last").provenance["finetuned"]
    assert (how["learning_rate"], how["epochs_kept"]) == (10, 1)
    assert "learning_rate must be above 0, got 0" in refused(
        *tune, tmp_path / "none", "--learning-rate", "0"
    )
    assert "exists" in refused(*tune, out)
    assert "not a pruned network" in refused("finetune", tmp_path, "--out", tmp_path / "new")


@pytest.mark.parametrize("budgets", ["macs=0.001,0.8", "macs=0.8,0.001"])
def test_an_unreachable_budget_is_refused_at_once_and_the_others_are_made(
    run, words, tmp_path, budgets
):
    words = (*words, "--score", "l1", "--compensate", "none", "--budget", budgets)
    answer = run(*words)
    assert answer.code == 2
    assert "macs=0.001" in answer.message
    assert answer.err.index("ask for at least that") < answer.err.index("written: ")
    assert answer.err.count("error: ") == 1
    assert folders(tmp_path / "points") == ["l1-knapsack-none-8x8_macs=0.8"]
    assert len(answer.out.splitlines()) == 2
