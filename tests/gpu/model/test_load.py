import shutil

import pytest

from lspsim.errors import ConfigError
from lspsim.gpu.config.edit import with_values, write_parameters
from lspsim.gpu.config.load import (
    framework_names,
    gpu_names,
    load_framework,
    load_gpu,
    load_parameters,
)
from lspsim.gpu.config.schema import Gpu
from lspsim.hardware import presets
from lspsim.hardware.fields import fields_of, is_sourced

FOLDER = presets.config_dir() / "gpu"


def test_the_named_gpus_are_there():
    assert {"h200", "h100", "a100", "l40s", "rtx4090", "rtx3090"} <= set(gpu_names())


@pytest.mark.parametrize("name", gpu_names())
def test_every_gpu_loads_with_its_parameters(name):
    gpu = load_gpu(name)
    assert gpu.name == name
    parameters = load_parameters(gpu)
    for section in (parameters.dense, parameters.sparse, parameters.vector):
        assert len(section.source) > 20
        for key in type(section).model_fields:
            if "efficiency" in key:
                assert 0 < getattr(section, key) <= 1


def test_every_number_of_the_data_sheet_has_a_source():
    leaves = {
        path: spec
        for path, spec in fields_of(Gpu).items()
        if path.rpartition(".")[2] not in ("value", "low", "high", "source")
    }
    texts = {"schema", "name", "description", "architecture", "parameters"}
    sections = {"peak", "memory", "power"}
    assert {path for path, spec in leaves.items() if not is_sourced(spec)} == texts | sections


@pytest.mark.parametrize("name", framework_names())
def test_every_framework_loads(name):
    assert load_framework(name).name == name


def test_all_mistakes_are_named_with_their_place(tmp_path):
    text = (FOLDER / "h200.yaml").read_text()
    text = text.replace('"4.8 TB/s"', "4.8").replace("sms: {value: 132", "sms: {value: 132.5")
    text = text.replace("architecture:", "archicteture:")
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_gpu(path)
    lines = str(caught.value).splitlines()
    numbers = {
        word: 1 + next(i for i, line in enumerate(text.splitlines()) if line.startswith(word))
        for word in ("archicteture", "sms")
    }
    assert any(f":{numbers['archicteture']}:1:" in line for line in lines)
    assert any("has no unit" in line and "memory.bandwidth" in line for line in lines)
    assert any("did you mean" in line for line in lines)


def test_parameters_lie_beside_the_file_that_names_them(tmp_path, monkeypatch):
    """Wherever the command runs; a bare name is still one that ships."""
    folder, elsewhere = tmp_path / "gpus", tmp_path / "elsewhere"
    for place in (folder, elsewhere):
        (place / "fits").mkdir(parents=True)
    text = (FOLDER / "h200.yaml").read_text()
    (folder / "mine.yaml").write_text(text.replace("parameters: h200", "parameters: fits/x.yaml"))
    mine = with_values(load_parameters(load_gpu("h200")), {"name": "mine"})
    write_parameters(folder / "fits" / "x.yaml", mine)
    write_parameters(elsewhere / "fits" / "x.yaml", with_values(mine, {"name": "others"}))
    monkeypatch.chdir(elsewhere)
    assert load_parameters(load_gpu(folder / "mine.yaml")) == mine
    assert load_parameters(load_gpu("../gpus/mine.yaml")) == mine
    (folder / "mine.yaml").write_text(text)
    assert load_parameters(load_gpu(folder / "mine.yaml")).name == "h200"


def test_part_of_an_sm_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((FOLDER / "a100.yaml").read_text().replace("{value: 108", "{value: 108.5"))
    with pytest.raises(ConfigError, match="number of SMs is not whole"):
        load_gpu(path)


def test_efficiencies_above_one_are_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    text = (FOLDER / "parameters" / "a100.yaml").read_text()
    path.write_text(text.replace("dram_efficiency: 0.83", "dram_efficiency: 1.2"))
    with pytest.raises(ConfigError, match=r"vector\.dram_efficiency: 1\.2 is out of range"):
        load_parameters(load_gpu("a100"), path)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("fusion: false", "fusion: no", "fusion: 'no' is neither true nor false"),
        ("layout_copies: 0", "layout_copies: 101", "layout_copies: 101 is too large"),
    ],
)
def test_mistakes_in_a_framework_are_named(tmp_path, before, after, message):
    path = tmp_path / "mine.yaml"
    text = (FOLDER / "frameworks" / "cuda-graph.yaml").read_text()
    path.write_text(text.replace(before, after))
    with pytest.raises(ConfigError, match=message):
        load_framework(path)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="there is no GPU 'h20'; did you mean 'h200'"):
        load_gpu("h20")
    with pytest.raises(ConfigError, match="there is no framework 'graph'"):
        load_framework("graph")


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "mine.yaml"
    shutil.copy(FOLDER / "a100.yaml", path)
    assert load_gpu(path).sms.value == 108
    path.write_text(path.read_text().replace("{value: 108", "{value: 54"))
    assert load_gpu(path).sms.value == 54


def test_written_parameters_are_read_back(tmp_path):
    gpu = load_gpu("h200")
    changed = with_values(
        load_parameters(gpu),
        {"dense.launch": 1.23456e-6, "dense.source": 'a "quoted" \\ source', "name": "mine"},
    )
    assert float(changed.dense.launch) == pytest.approx(1.235e-6, rel=1e-12)
    write_parameters(tmp_path / "p.yaml", changed)
    assert load_parameters(gpu, tmp_path / "p.yaml") == changed
    for name in ("a: b # c", "null", "12", "[x", 'quoted "x"\nline'):
        odd = with_values(changed, {"name": name, "dense.source": name})
        write_parameters(tmp_path / "odd.yaml", odd)
        assert load_parameters(gpu, tmp_path / "odd.yaml") == odd
    with pytest.raises(KeyError, match="'speed' is not a field"):
        with_values(changed, {"dense.speed": 1.0})
