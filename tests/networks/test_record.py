import dataclasses
import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file

from lspsim.errors import ResultError
from lspsim.networks.record import (
    CONTENT,
    PERMUTATIONS,
    RECORD,
    SCHEMA,
    WEIGHTS,
    AllocationRecord,
    Measured,
    PointRecord,
    read_permutations,
    read_point,
    write_point,
)
from lspsim.workload import BlockMask
from lspsim.workload.mask_io import load_masks
from tests.networks.record_cases import DENSE, new_record

KEEP = np.array([[True, False], [False, True]])
MASKS = {"blocks.0.mlp.fc1": BlockMask(KEEP, 16, 16)}


def weights():
    full = torch.arange(32.0 * 32).reshape(32, 32) + 1
    zero = torch.from_numpy(np.kron(KEEP, np.ones((16, 16), np.float32)))
    fc1 = full * zero
    return {"blocks.0.mlp.fc1.weight": fc1, "alias": fc1, "turned": fc1.T}


def damaged(directory, change):
    """Write a good point, then change its JSON object."""
    write_point(directory, new_record(), weights(), MASKS)
    data = json.loads((directory / RECORD).read_text())
    change(data)
    (directory / RECORD).write_text(json.dumps(data))
    return directory


def test_a_point_is_read_back_whole(tmp_path):
    record = new_record()
    orders = {"blocks.0.mlp.hidden": np.array([2, 0, 1])}
    where = write_point(tmp_path / "runs" / "a", record, weights(), MASKS, permutations=orders)
    assert sorted(path.name for path in where.iterdir()) == sorted(CONTENT)
    (found,) = read_permutations(where).items()
    assert (found[0], found[1].tolist()) == ("blocks.0.mlp.hidden", [2, 0, 1])
    (where / PERMUTATIONS).write_bytes(b"PK damaged")
    with pytest.raises(ResultError, match=r"permutations.npz: cannot be read"):
        read_permutations(where)
    assert read_point(where) == record
    assert load_masks(where / "masks.npz") == MASKS
    back = load_file(where / WEIGHTS)
    assert back.keys() == weights().keys()
    for name, tensor in weights().items():
        assert torch.equal(back[name], tensor)
    # counts stay whole numbers, and the schema is the first thing one sees
    assert '"macs": 120000000,' in (where / RECORD).read_text()
    assert next(iter(json.loads((where / RECORD).read_text()))) == "schema"


positive = st.floats(1e-12, 1e15)
figures = st.builds(
    Measured,
    cycles=st.integers(1, 2**62) | positive,
    latency_s=positive,
    energy_pj=positive,
    macs=st.integers(0, 2**62),
    top1=st.none() | st.floats(0, 1),
    kl_nats=st.none() | st.floats(-1, 10),
    images=st.integers(0, 10**6),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
gaps = st.builds(
    AllocationRecord,
    loss=finite,
    bound=st.none() | finite,
    gap_relative=st.none() | finite,
    gap_nats=st.none() | finite,
    multipliers=st.dictionaries(st.text(), finite, max_size=3),
)


@given(dense=figures, pruned=figures, allocation=gaps, label=st.text(min_size=1))
def test_json_loses_nothing(tmp_path_factory, dense, pruned, allocation, label):
    record = dataclasses.replace(
        new_record(), dense=dense, pruned=pruned, allocation=allocation, label=label
    )
    where = tmp_path_factory.mktemp("point")
    (where / RECORD).write_text(record.to_json(), encoding="utf-8")
    back = read_point(where)
    assert back == record
    assert type(back.pruned.cycles) is type(record.pruned.cycles)


def test_reading_a_record_needs_no_torch(tmp_path):
    (tmp_path / RECORD).write_text(new_record().to_json())
    code = (
        "import sys; from pathlib import Path; from lspsim.networks.record import read_point; "
        f"read_point(Path({str(tmp_path)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda d: d.pop("score"), ["score: is missing"]),
        (lambda d: d["dense"].pop("cycles"), ["dense.cycles: is missing"]),
        (lambda d: d.update(sparsty=0.5), ["sparsty: is unknown", "did you mean sparsity"]),
        (lambda d: d["pruned"].update(top1=80.0), ["pruned.top1", "less than or equal", "80.0"]),
        (lambda d: d["pruned"].update(cycles=0), ["pruned.cycles", "greater than 0"]),
        (lambda d: d["pruned"].update(energy_pj="4 uJ"), ["pruned.energy_pj", "'4 uJ'"]),
        (lambda d: d["pruned"].update(kl_nats=float("nan")), ["pruned.kl_nats", "finite"]),
        (lambda d: d["budgets"].update(cycles=0.5), ["budgets.cycles", "string"]),
        (lambda d: d["damping"].update(fc1=-1.0), ["damping.fc1", "-1.0"]),
        (lambda d: d.update(label=""), ["label"]),
        (lambda d: (d.pop("seed"), d.pop("block")), ["seed: is missing", "block: is missing"]),
        (lambda d: d.update(schema="lspsim/prune/v0"), ["lspsim/prune/v0", SCHEMA]),
    ],
)
def test_a_changed_record_is_refused(tmp_path, change, named):
    where = damaged(tmp_path / "a", change)
    with pytest.raises(ResultError) as refusal:
        read_point(where)
    for text in (str(where / RECORD), "rune again", *named):
        assert text in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"{}"])
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(ResultError, match=r"prune\.json: .*prune again"):
        read_point(tmp_path)


def test_what_is_no_point_is_refused(tmp_path):
    with pytest.raises(ResultError, match=r"not a pruned network \(it has no prune\.json\)"):
        read_point(tmp_path)
    with pytest.raises(ResultError, match="no such directory"):
        read_point(tmp_path / "nowhere")


def test_impossible_figures_cannot_be_recorded():
    with pytest.raises(ValidationError, match="top1"):
        dataclasses.replace(DENSE, top1=1.5)
    with pytest.raises(ValidationError, match="kl_nats"):
        dataclasses.replace(DENSE, kl_nats=float("inf"))
    with pytest.raises(ValidationError, match="provenance"):
        new_record(provenance={"when": object()})
    with pytest.raises(dataclasses.FrozenInstanceError):
        new_record().seed = 1  # type: ignore[misc]


def test_an_existing_point_is_replaced_only_when_asked(tmp_path):
    where = write_point(tmp_path / "a", new_record(), weights(), MASKS)
    with pytest.raises(ResultError, match="exists"):
        write_point(where, new_record(seed=1), weights(), MASKS)
    assert read_point(where).seed == 0
    write_point(where, new_record(seed=1), weights(), MASKS, overwrite=True)
    assert read_point(where).seed == 1


def test_other_files_are_never_lost(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ResultError, match=r"also holds notes\.txt"):
        write_point(tmp_path, new_record(), weights(), MASKS, overwrite=True)
    with pytest.raises(ResultError, match="a file is there"):
        write_point(tmp_path / "notes.txt", new_record(), weights(), MASKS, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_full_disk_leaves_the_old_point(tmp_path):
    where = write_point(tmp_path / "a", new_record(), weights(), MASKS)
    big = {"x": torch.ones(1 << 20)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(ResultError, match=r"cannot write the .*enough free space"):
            write_point(where, new_record(seed=1), big, MASKS, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert read_point(where).seed == 0
    assert load_file(where / WEIGHTS).keys() == weights().keys()


def test_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*words, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_point(tmp_path / "runs" / "a", new_record(), weights(), MASKS)
    assert list(tmp_path.iterdir()) == []


def test_names_of_the_record():
    """Others write these keys; a change of one is a new schema."""
    assert [field.name for field in dataclasses.fields(PointRecord)] == [
        "schema", "label", "model", "data", "hardware", "block", "score", "allocate",
        "compensate", "budgets", "seed", "sparsity", "dense", "pruned", "allocation", "damping",
        "provenance",
    ]  # fmt: skip
