from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lspsim.errors import ResultError
from lspsim.hardware import Hardware
from lspsim.report.plots.timeline import COLOURS, draw_timeline, lanes_of
from lspsim.report.trace import events, trace, write_trace
from lspsim.report.trace_counters import ACTIVATION_HALVES, DRAM, WEIGHT_FIFO, bytes_per_cycle
from lspsim.report.trace_spans import LANE_LABELS, LAYERS, Timeline, Window, segment_names
from lspsim.schedule.build import build_program
from lspsim.simulate.reference_log import LANES
from lspsim.workload import Workload

DMA = LANES[:3]


@pytest.fixture(scope="module")
def chip(hardware: Hardware) -> Hardware:
    """A small buffer, so that activations are streamed."""
    return hardware.with_values({"buffers.activation": "32 KiB"})


@pytest.fixture(scope="module")
def net(new_workload: Callable[..., Workload]) -> Workload:
    return new_workload(blocks=1)


@pytest.fixture(scope="module")
def whole(net: Workload, chip: Hardware) -> Timeline:
    return trace(net, chip)


@pytest.fixture(scope="module")
def four_cores(net: Workload, chip: Hardware) -> Timeline:
    values = {"cores": 4, "noc": {"bandwidth": "32 GB/s"}, "array.dataflow": "output-stationary"}
    return trace(net, chip.with_values(values))


@pytest.fixture(params=["whole", "four_cores"])
def line(request: pytest.FixtureRequest) -> Timeline:
    found: Timeline = request.getfixturevalue(request.param)
    return found


def test_lanes_hold_one_thing_at_a_time(line: Timeline) -> None:
    lanes = defaultdict(list)
    for span in line.spans:
        lanes[span.core, span.lane].append((span.start, span.end))
    assert {lane for _, lane in lanes} >= {LAYERS, "dma weights", "dma write-back", "array"}
    for spans in lanes.values():
        spans.sort()
        assert all(0 <= start < end <= line.end for start, end in spans)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_layers_fill_the_run(whole: Timeline, net: Workload) -> None:
    layers = [span for span in whole.spans if span.lane == LAYERS]
    assert layers[0].start == 0
    assert layers[-1].end == whole.end
    assert all(a.end == b.start for a, b in pairwise(layers))
    named = [name for span in layers for name in span.layer.split(" + ")]
    assert named == [op.name for op in net.ops]


def test_segments_name_their_operators(net: Workload, chip: Hardware) -> None:
    names = segment_names(build_program(net, chip), net)
    assert ("blocks.0.mlp.fc1", "blocks.0.mlp.act") in names


def test_dram_counter_integrates_to_the_bytes_moved(line: Timeline, chip: Hardware) -> None:
    (dram,) = [counter for counter in line.counters if counter.name == DRAM]
    steps = zip(dram.cycles, dram.cycles[1:], dram.values, strict=False)
    moved = sum((b - a) / line.clock_hz * value * 1e9 for a, b, value in steps)
    busy = sum(span.end - span.start for span in line.spans if span.lane in DMA)
    assert moved == pytest.approx(busy * bytes_per_cycle(chip)[0], rel=1e-4)
    # One shared channel never gives more than it has.
    assert max(dram.values) <= bytes_per_cycle(chip)[0] * line.clock_hz / 1e9 * (1 + 1e-6)


@pytest.mark.parametrize("name", [WEIGHT_FIFO, ACTIVATION_HALVES])
def test_buffers_fill_and_empty(line: Timeline, chip: Hardware, name: str) -> None:
    counters = [counter for counter in line.counters if counter.name == name]
    assert {counter.core for counter in counters} <= set(range(line.cores))
    assert counters
    for counter in counters:
        assert list(counter.cycles) == sorted(set(counter.cycles))
        assert min(counter.values) >= 0
        assert counter.values[-1] == pytest.approx(0, abs=1e-2)
        if name == WEIGHT_FIFO:
            assert max(counter.values) <= chip.buffers.weight_bytes


def test_separate_channels_share_the_bandwidth(chip: Hardware) -> None:
    shares = {"weights": 0.5, "activations": 0.25, "writeback": 0.25}
    split = chip.with_values({"memory.channels": "separate", "memory.shares": shares})
    whole = bytes_per_cycle(chip)[0]
    assert bytes_per_cycle(split) == pytest.approx((whole / 2, whole / 4, whole / 4))


def test_window_of_a_layer(net: Workload, chip: Hardware, whole: Timeline) -> None:
    found = trace(net, chip, Window(layer="blocks.0.mlp.act"))
    (layer,) = [s for s in whole.spans if "blocks.0.mlp.act" in s.layer and s.lane == LAYERS]
    assert (found.start, found.end) == (layer.start, layer.end)
    assert found.spans == tuple(
        s for s in whole.spans if s.start < layer.end and s.end > layer.start
    )
    assert 1 < len(found.spans) < len(whole.spans)
    cycles = [cycle for counter in found.counters for cycle in counter.cycles]
    assert layer.start <= min(cycles) <= max(cycles) <= layer.end


def test_window_of_time(net: Workload, chip: Hardware, whole: Timeline) -> None:
    found = trace(net, chip, Window(start_s=2e-6, end_s=5e-6))
    assert (found.start, found.end) == (2000, 5000)
    assert found.spans == tuple(s for s in whole.spans if s.start < 5000 and s.end > 2000)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Window(layer="blocks.0.mlp.fcl"), r"did you mean .*blocks\.0\.mlp\.fc1"),
        (Window(layer="zzz"), "no layer is called 'zzz'; there are patch_embed.proj"),
        (Window(layer="head", start_s=0), "a layer or a stretch of time"),
        (Window(start_s=5e-6, end_s=5e-6), "from 5.000 us to 5.000 us is empty"),
        (Window(start_s=10.0), "is empty; the run lasts from 0 to"),
        (Window(start_s=-1.0), "is empty"),
        (Window(end_s=0.0), "is empty"),
    ],
)
def test_bad_windows(net: Workload, chip: Hardware, window: Window, message: str) -> None:
    with pytest.raises(ResultError, match=message):
        trace(net, chip, window)


def read(path: Path) -> Any:
    with gzip.open(path, "rt") as file:
        return json.load(file)


def test_file_is_a_chrome_trace_in_microseconds(whole: Timeline, tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    slow = replace(whole, clock_hz=500_000_000)
    write_trace(slow, path)
    found = read(path)["traceEvents"]
    spans = [event for event in found if event["ph"] == "X"]
    assert len(spans) == len(slow.spans)
    for event, span in zip(spans, slow.spans, strict=True):
        assert event["ts"] == pytest.approx(span.start * 0.002)
        assert event["dur"] == pytest.approx((span.end - span.start) * 0.002)
        assert event["name"] == span.layer
    counters = {event["name"] for event in found if event["ph"] == "C"}
    assert counters == {
        "DRAM (GB/s)",
        "weight FIFO (bytes)",
        "streamed activations (bytes)",
    }


def test_every_lane_has_a_title(line: Timeline) -> None:
    found = list(events(line))
    titles = {(e["pid"], e["tid"]): e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert {(e["pid"], e["tid"]) for e in found if e["ph"] == "X"} == set(titles)
    assert set(titles.values()) <= set(LANE_LABELS.values())
    processes = [e["args"]["name"] for e in found if e["name"] == "process_name"]
    assert processes == [
        "tiny on edge_32x32",
        *(f"core {core}" for core in range(line.cores)),
    ]


def test_same_timeline_same_bytes(whole: Timeline, tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        write_trace(whole, tmp_path / name)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_unwritable_file(whole: Timeline, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="cannot write the file"):
        write_trace(whole, tmp_path / "nowhere" / "t.json.gz")
    assert list(tmp_path.iterdir()) == []


def test_every_span_is_drawn_in_its_lane(line: Timeline) -> None:
    assert set(COLOURS) == set(LANE_LABELS) == {LAYERS, *LANES}
    lanes = lanes_of(line)
    assert lanes[0] == (-1, LAYERS)
    _, ax = draw_timeline(line)
    assert len(ax.collections) == len(lanes)
    for (core, lane), drawn in zip(lanes, ax.collections, strict=True):
        spans = [span for span in line.spans if (span.core, span.lane) == (core, lane)]
        assert len(drawn.get_paths()) == len(spans)
        box = drawn.get_paths()[0].get_extents()
        assert box.x0 == pytest.approx(spans[0].start * 1e6 / line.clock_hz)
        assert box.width == pytest.approx((spans[0].end - spans[0].start) * 1e6 / line.clock_hz)
