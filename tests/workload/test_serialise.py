from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lspsim.errors import WorkloadError
from lspsim.workload import BlockMask, Gemm, VectorOp, Workload
from lspsim.workload.mask_io import save_masks
from lspsim.workload.serialise import (
    load_workload,
    save_workload,
    workload_from_json,
    workload_to_json,
)

MASK = BlockMask(np.array([[True, False], [True, True]]), 4, 4, shape=(7, 5))
FULL = Workload(
    [
        Gemm("plain", m=3, k=5, n=7),
        Gemm(
            "all",
            m=3,
            k=5,
            n=7,
            weight_bits=4,
            activation_bits=8,
            accumulator_bits=24,
            mask=MASK,
            bias=True,
            inputs=("input",),
        ),
        Gemm("qk", 3, 5, 3, 2, "activation", inputs=("plain", "all")),
        VectorOp("pool", "pool", 6, 3, ("qk",), out_rows=1, parameters=9),
        VectorOp("act", "gelu", 1, 3),
    ],
    model="näme",
    batch=2,
)


def test_nothing_is_lost() -> None:
    text = workload_to_json(FULL)
    again = workload_from_json(text, {"all": MASK})
    assert again == FULL
    assert workload_to_json(again) == text
    assert MASK.digest in text


def test_files_find_their_masks(tmp_path: Path) -> None:
    path = tmp_path / "workload.json"
    save_workload(path, FULL)
    with pytest.raises(WorkloadError, match=r"workload.json: ops\[1\]: its mask .* is not given"):
        load_workload(path)
    assert load_workload(path, {"all": MASK}) == FULL
    save_masks(tmp_path / "masks.npz", {"all": MASK})
    assert load_workload(path) == FULL
    save_masks(tmp_path / "masks.npz", {"all": BlockMask(~MASK.keep, 4, 4, shape=(7, 5))})
    with pytest.raises(WorkloadError, match="is not the one it was saved with"):
        load_workload(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none.json: cannot be read: No such file"):
        load_workload(tmp_path / "none.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkloadError, match=r"binary.json: not a workload file"):
        load_workload(tmp_path / "binary.json")


def one(**fields: Any) -> dict[str, Any]:
    return {"op": "gemm", "name": "g", "m": 1, "k": 1, "n": 1, **fields}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "schema must be 'lspsim/workload/v1'"),
        ({"extra": 1}, "and no more; got .*'extra'"),
        ({"batch": True}, "a batch"),
        ({"ops": {}}, "a list of ops"),
        ({"ops": []}, "at least one operator"),
        ({"ops": [3]}, r"ops\[0\]: an operator is an object"),
        ({"ops": [one(op="conv")]}, r"ops\[0\]: .* op gemm or vector"),
        ({"ops": [one(), one(name="h", kk=2)]}, r"ops\[1\]: a Gemm has no field 'kk'"),
        ({"ops": [one(m=1.5)]}, r"ops\[0\]: m cannot be 1.5"),
        ({"ops": [one(m=True)]}, r"ops\[0\]: m cannot be True"),
        ({"ops": [one(bias=1)]}, r"ops\[0\]: bias cannot be 1"),
        ({"ops": [one(rhs="both")]}, r"ops\[0\]: rhs cannot be 'both'"),
        ({"ops": [one(inputs=[1])]}, r"ops\[0\]: inputs cannot be \(1,\)"),
        ({"ops": [one(mask=7)]}, r"ops\[0\]: mask cannot be 7"),
        ({"ops": [{"op": "vector", "name": "v", "kind": "add"}]}, "rows, cols missing"),
        ({"ops": [one(m=0)]}, "m must be at least 1, got 0"),
        ({"ops": [one(inputs=["nobody"])]}, "reads 'nobody'"),
    ],
)
def test_malformed_documents(change: dict[str, Any], message: str) -> None:
    document = {"schema": "lspsim/workload/v1", "model": "x", "batch": 1, "ops": [one()]}
    assert workload_from_json(json.dumps(document)).ops == (Gemm("g", 1, 1, 1),)
    with pytest.raises(WorkloadError, match=message):
        workload_from_json(json.dumps(document | change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_text_that_is_no_workload(text: str) -> None:
    with pytest.raises(WorkloadError, match=r"workload: not (JSON|a workload)"):
        workload_from_json(text)
