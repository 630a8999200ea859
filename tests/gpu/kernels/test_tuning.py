import json

import pytest
import torch

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.kernels import tuning
from lspsim.gpu.kernels.tile import Tile, candidates, default_tile, dtype_named
from lspsim.gpu.kernels.tuning import NoTileError, Tuned, TuningKey, Tunings, tune

KEY = TuningKey("a GPU", "bf16", 768, 3072, 197, 64, 64)


def test_a_tile_pads_tokens_to_whole_tiles():
    tile = Tile(64, group_rows=2, stages=3, warps=8)
    assert [tile.padded(tokens) for tokens in (1, 64, 65, 197)] == [64, 64, 128, 256]
    assert tile.meta(256) == {
        "SPLIT_N": 4,
        "GROUP_SIZE_ROW": 2,
        "num_stages": 3,
        "num_warps": 8,
    }


@pytest.mark.parametrize("values", [(8,), (48,), (0,), (64, 0), (64, 1, 0), (64, 1, 1, 3)])
def test_bad_tiles(values):
    with pytest.raises(LspsimError, match="tile: "):
        Tile(*values)


@pytest.mark.parametrize("tokens", [1, 197, 512, 513, 12608, 50432])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_dozen_candidates_at_most(tokens, dtype):
    tried = candidates(tokens, dtype)
    assert tried[0] == default_tile(tokens, dtype)
    assert 6 <= len(tried) <= 12
    assert len(set(tried)) == len(tried)


def test_tunings_are_kept(tmp_path):
    path = tmp_path / "below" / "tuning.json"
    tunings = Tunings(path)
    assert tunings.get(KEY) is None
    tunings.put(KEY, Tuned(Tile(32, 1, 2, 8), 1e-5))
    assert Tunings(path).get(KEY) == Tile(32, 1, 2, 8)
    assert [file.name for file in path.parent.iterdir()] == ["tuning.json"]


def test_tunings_that_ship_come_second(tmp_path, monkeypatch):
    Tunings(tmp_path / "a-gpu.tuning.json").put(KEY, Tuned(Tile(256), 1e-5))
    monkeypatch.setattr(tuning, "SHIPPED", tmp_path)
    mine = Tunings(tmp_path / "mine.json")
    assert mine.get(KEY) == Tile(256)
    mine.put(KEY, Tuned(Tile(64), 1e-6))
    assert Tunings(tmp_path / "mine.json").get(KEY) == Tile(64)


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "other"}', "[1]"])
def test_a_damaged_file_is_named(tmp_path, text):
    path = tmp_path / "tuning.json"
    path.write_text(text)
    with pytest.raises(LspsimError, match=r"tuning\.json: cannot be read .* delete the file"):
        Tunings(path)


def test_a_file_with_an_impossible_tile(tmp_path):
    path = tmp_path / "tuning.json"
    Tunings(path).put(KEY, Tuned(Tile(32), 1e-5))
    data = json.loads(path.read_text())
    data["entries"][0]["tile"]["tokens"] = 33
    path.write_text(json.dumps(data))
    with pytest.raises(LspsimError, match="power of two"):
        Tunings(path)


def test_tuning_takes_the_fastest_that_runs():
    tiles = (Tile(64), Tile(128), Tile(256))
    times = {64: 3.0, 128: 2.0}

    def product(tile):
        if tile.tokens == 256:
            raise RuntimeError("out of resource: shared memory\nRequired: ...")
        ran.append(tile)

    def seconds(call):
        call()
        return times[ran[-1].tokens]

    ran = []
    assert tune(product, seconds, tiles) == Tuned(Tile(128), 2.0)


def test_no_tile_runs():
    def product(tile):
        raise RuntimeError("out of resource: shared memory\nmore")

    with pytest.raises(NoTileError, match=r"no tile runs .*out of resource: shared memory$"):
        tune(product, lambda call: call(), (Tile(64), Tile(128)))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MissingDependencyError, LspsimError])
def test_what_is_no_fault_of_a_tile(error):
    def product(tile):
        raise error("full")

    with pytest.raises(error):
        tune(product, lambda call: call(), (Tile(64), Tile(128)))


def test_which_file_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_current", [])
    monkeypatch.setenv("LSPSIM_CACHE_DIR", str(tmp_path))
    assert tuning.current().path == tmp_path / "gpu_tuning.json"
    assert tuning.use(tmp_path / "mine.json").path == tmp_path / "mine.json"
    assert tuning.current().path == tmp_path / "mine.json"
    assert tuning.use(None).path == tmp_path / "gpu_tuning.json"


def test_dtypes_by_name():
    assert dtype_named("bf16") == torch.bfloat16
    with pytest.raises(LspsimError, match="'int8' is not supported; use one of fp16, bf16, fp32"):
        dtype_named("int8")
