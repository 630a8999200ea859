import csv
import io
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lspsim.errors import ResultError
from lspsim.explore import front, read_records, write_front
from lspsim.explore.dominance import COST_TOLERANCE
from lspsim.report.front import COLUMNS, OBJECTIVES, front_csv
from tests.networks.record_cases import DENSE, measured, new_record

points = st.builds(
    new_record,
    speedup=st.floats(0.5, 10),
    energy_ratio=st.floats(0.1, 1.2),
    top1=st.integers(0, 20).map(lambda x: x / 20),
)
studies = st.lists(points, min_size=1, max_size=12)


def put(directory, record):
    directory.mkdir(parents=True)
    (directory / "prune.json").write_text(record.to_json())


def test_gains_are_those_over_dense():
    data = front([new_record(speedup=4.0, energy_ratio=0.4, top1=0.83)])
    dense, point = data.points
    assert dense.is_dense
    assert (dense.speedup, dense.energy_ratio, dense.top1) == (1.0, 1.0, DENSE.top1)
    assert dense.cycles_total == DENSE.cycles
    assert point.speedup == pytest.approx(4.0)
    assert point.cycles_total == pytest.approx(DENSE.cycles / 4)
    assert point.energy_ratio == pytest.approx(0.4)
    assert point.top1_drop_points == pytest.approx(2.0)
    assert point.method == "block-obs + refit"
    assert data.settings[0].title == "lspsim/deit_glyphs, glyphs, edge_32x32"


def test_methods_without_compensation_go_by_their_score():
    data = front([new_record(score="l1", compensate="none"), new_record()])
    assert data.methods == ("block-obs + refit", "l1")


@given(studies)
def test_a_dominated_point_is_dominated_by_a_point_of_the_front(records):
    data = front(records)
    for objective in OBJECTIVES:
        sign = 1 if objective == "speedup" else -1

        def beats(p, q, objective=objective, sign=sign):
            a, b = sign * p.x(objective), sign * q.x(objective)
            differ = abs(a - b) >= COST_TOLERANCE * max(abs(a), abs(b)) and a != b
            if p.top1 == q.top1:
                return differ and a > b
            return p.top1 > q.top1 and not (differ and a < b)

        best = data.best(objective)
        assert best
        assert not any(beats(p, q) for p in best for q in best)
        for point in data.points:
            assert point.dominated(objective) == any(beats(p, point) for p in best)
        gains = [sign * point.x(objective) for point in best]
        assert gains == sorted(gains)
        assert [p.top1 for p in best] == sorted((p.top1 for p in best), reverse=True)


@given(studies, st.data())
def test_a_dominated_point_more_changes_nothing(records, data):
    better = data.draw(st.sampled_from(records)).pruned
    worse = replace(
        better,
        cycles=better.cycles * 1.5,
        energy_pj=better.energy_pj * 1.5,
        top1=better.top1 / 2,
    )
    before = front(records)
    after = front([*records, new_record(pruned=worse, label="worse")])
    (added,) = [point for point in after.points if point.label == "worse"]
    assert added.dominated_speedup
    assert added.dominated_energy
    assert tuple(point for point in after.points if point is not added) == before.points


def test_a_point_worse_than_dense_is_dominated_and_a_better_one_dominates_dense():
    worse = front([new_record(speedup=0.9, energy_ratio=1.1, top1=0.8)])
    assert [p.dominated_speedup for p in worse.points] == [False, True]
    better = front([new_record(speedup=2.0, energy_ratio=0.5, top1=0.9)])
    assert [p.dominated_energy for p in better.points] == [True, False]


def test_a_handful_of_cycles_is_no_difference():
    """4 of 126,650 cycles (0.003 %) neither beat a point of equal top-1 nor save a worse one."""

    def point(cycles, top1):
        return new_record(pruned=replace(measured(top1=top1), cycles=cycles), label=f"{cycles}")

    def beaten(*records):
        return {point.label for point in front(records).points if point.dominated_speedup}

    assert beaten(point(126_650, 0.8), point(126_654, 0.8)) == set()
    assert beaten(point(126_650, 0.75), point(126_654, 0.8)) == {"126650"}
    assert beaten(point(126_650, 0.8), point(126_850, 0.8)) == {"126850"}
    assert beaten(point(126_650, 0.75), point(126_850, 0.8)) == set()


def test_what_has_no_accuracy_is_listed_and_not_judged():
    data = front([new_record(top1=None), new_record(top1=0.8, speedup=3.0)])
    _, silent, spoken = data.points
    assert (silent.top1, silent.top1_drop_points) == (None, None)
    assert not silent.dominated_speedup
    assert silent not in data.measured
    assert spoken in data.best("speedup")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": "deit_small"}, ["model: 'lspsim/deit_glyphs' (2 of 3", "'deit_small' (1 of 3"]),
        ({"data": "digits"}, ["data: ", "'digits'"]),
        ({"hardware": "mid_64x64"}, ["hardware: ", "'mid_64x64'"]),
        ({"dense": replace(DENSE, cycles=2_000_000)}, ["dense_cycles: 1000000", "2000000"]),
        ({"dense": replace(DENSE, images=256)}, ["images: 3072", "256"]),
    ],
)
def test_settings_are_mixed_only_on_purpose(changes, named):
    records = [new_record(), new_record(speedup=3.0), new_record(speedup=4.0, **changes)]
    with pytest.raises(ResultError) as refusal:
        front(records)
    for text in ("2 settings", "--mixed", *named):
        assert text in str(refusal.value)
    data = front(records, mixed=True)
    assert len(data.settings) == 2
    assert [point.setting for point in data.points if point.is_dense] == [0, 1]


def test_mixed_settings_are_judged_apart():
    slow = new_record(speedup=1.5, top1=0.7)
    fast = new_record(speedup=4.0, top1=0.8, model="deit_small")
    data = front([slow, fast], mixed=True)
    assert not any(point.dominated_speedup for point in data.points)
    assert [p.label for p in data.best("speedup", 1)] == ["dense", fast.label]


def test_nothing_to_compare():
    with pytest.raises(ResultError, match="no pruned network"):
        front([])


def test_csv_says_all_with_units():
    records = [new_record(), new_record(speedup=3.0, top1=None)]
    data = front(records, directories=["a", "b"])
    table = list(csv.DictReader(io.StringIO(front_csv(data))))
    assert list(table[0]) == list(COLUMNS)
    assert {"latency_s", "energy_pj", "cycles_total", "top1_drop_points"} < set(COLUMNS)
    assert [row["directory"] for row in table] == ["", "a", "b"]
    assert [row["is_dense"] for row in table] == ["True", "False", "False"]
    for row, point in zip(table, data.points, strict=True):
        assert float(row["speedup"]) == point.speedup
        assert float(row["energy_pj"]) == point.energy_pj
        assert row["hardware"] == "edge_32x32"
    assert table[2]["top1"] == ""
    assert table[1]["budgets"] == "cycles=0.5"


# ---- reading and writing ----


def test_points_are_found_at_any_depth_and_once(tmp_path):
    a, b = new_record(), new_record(speedup=3.0)
    put(tmp_path / "runs" / "deep" / "a", a)
    put(tmp_path / "b", b)
    put(tmp_path / ".b.unfinished", new_record(label="unfinished"))
    found = read_records([tmp_path, tmp_path / "b", tmp_path / "runs"])
    assert list(found.values()) == [b, a]
    assert read_records([tmp_path / "b"]) == {tmp_path / "b": b}


def test_where_no_point_lies(tmp_path):
    put(tmp_path / "a", new_record())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match=r"empty: no pruned network in it or below"):
        read_records([tmp_path / "a", tmp_path / "empty"])
    with pytest.raises(ResultError, match="no such directory"):
        read_records([tmp_path / "nowhere"])


def test_a_damaged_record_is_named(tmp_path):
    put(tmp_path / "a", new_record())
    put(tmp_path / "b", new_record())
    (tmp_path / "b" / "prune.json").write_text("{")
    with pytest.raises(ResultError, match=r"b/prune\.json: not valid JSON"):
        read_records([tmp_path])


def test_files_are_written_whole_beside_others(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    data = front([new_record(), new_record(speedup=3.0)])
    written = write_front(data, tmp_path)
    assert [path.name for path in written] == ["front.csv", "front.png", "front.svg"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "notes.txt",
        *(path.name for path in written),
    }
    assert (tmp_path / "front.csv").read_text() == front_csv(data)
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "front.svg").read_bytes()
    write_front(data, tmp_path)
    assert (tmp_path / "front.svg").read_bytes() == before


def test_without_accuracies_only_the_csv_is_written(tmp_path):
    silent = replace(DENSE, top1=None)
    data = front([new_record(top1=None, dense=silent)])
    written = write_front(data, tmp_path / "new" / "out")
    assert [path.name for path in written] == ["front.csv"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    data = front([new_record()])
    with pytest.raises(ResultError, match="cannot write the front to"):
        write_front(data, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_drawing_leaves_the_old_files(tmp_path, monkeypatch):
    write_front(front([new_record()]), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*words, **options):
        raise OSError(28, os.strerror(28), "front.svg")

    monkeypatch.setattr("lspsim.report.plots.canvas.save_figure", full)
    with pytest.raises(ResultError, match="No space left"):
        write_front(front([new_record(speedup=5.0)]), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
