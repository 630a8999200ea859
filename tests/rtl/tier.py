"""The random cases that RTL and event engine are compared on, and the table of their cycles.

`golden.csv` holds what the RTL did with every case. Write it anew, where Verilator is, with

    python -m tests.rtl.tier

and `layers.csv`, layers of DeiT on 32x32 and 64x64, with `python -m tests.rtl.tier layers`.
They can run side by side; each takes one core for about five minutes.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from lspsim.hardware import Hardware, load_hardware
from lspsim.models.cache import cache_dir, cached_workload
from lspsim.rtl import Parameters, build_simulator, parameters_of, rtl_digest
from lspsim.validate.rtl import RtlCase, RtlRow, layer_case, random_case, run_cases
from lspsim.workload.generate import random_masks

GOLDEN = Path(__file__).with_name("golden.csv")
LAYERS_TABLE = GOLDEN.with_name("layers.csv")
LAYERS = tuple(f"blocks.0.{name}" for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"))
DATAFLOWS = ("weight-stationary", "output-stationary")
OVERLAPS = {0: "double-buffered", 1: "single-buffered", 2: "none"}
IDEAL_CASES, STALLED_CASES = 72, 24
"""Per build."""
EDGE = load_hardware("edge_32x32")


@dataclass(frozen=True)
class Build:
    """One core that is built as RTL."""

    rows: int
    cols: int
    overlap: int
    gather: int
    accumulator_rows: int
    output_stationary: int = 0

    def hardware(self) -> Hardware:
        return EDGE.with_values(
            {
                "array.rows": self.rows,
                "array.cols": self.cols,
                "array.dataflow": DATAFLOWS[self.output_stationary],
                "array.fold_overlap": OVERLAPS[self.overlap],
                "array.packing": "none" if self.gather == 1 else "k-compact",
                "array.accumulator_rows": self.accumulator_rows,
            }
        )

    def parameters(self) -> Parameters:
        return parameters_of(self.hardware(), self.gather)

    @property
    def name(self) -> str:
        kind = "os" if self.output_stationary else "ws"
        return f"{kind} {self.rows}x{self.cols} {OVERLAPS[self.overlap]} gather {self.gather}"


BUILDS = (
    Build(4, 4, 0, 2, 64),
    Build(4, 4, 1, 1, 64),
    Build(4, 6, 2, 4, 32),
    Build(2, 9, 0, 1, 20),
    Build(5, 7, 0, 1, 16),
    Build(7, 5, 2, 7, 50),
    Build(8, 8, 0, 4, 128),
    Build(8, 8, 1, 8, 300),
    Build(8, 16, 0, 1, 64),
    Build(16, 8, 2, 4, 40),
    Build(16, 4, 0, 8, 40),
    Build(4, 16, 1, 1, 100),
    Build(12, 20, 0, 3, 150),
    Build(16, 16, 0, 4, 256),
    Build(16, 16, 1, 1, 64),
    Build(32, 8, 0, 1, 256),
    Build(8, 32, 2, 1, 64),
    Build(24, 12, 1, 6, 128),
    Build(32, 32, 0, 4, 256),
    Build(4, 4, 0, 1, 64, 1),
    Build(5, 7, 0, 1, 16, 1),
    Build(8, 4, 2, 1, 64, 1),
    Build(4, 16, 2, 1, 64, 1),
    Build(16, 8, 0, 1, 64, 1),
    Build(32, 32, 0, 1, 64, 1),
)


def cases_of(build: Build) -> list[RtlCase]:
    """Draw the cases of one build, each from a seed of its own."""
    hardware, parameters = build.hardware(), build.parameters()
    return [
        random_case(
            random.Random(f"{build.name}/{i}"),
            hardware,
            parameters,
            ideal=i < IDEAL_CASES,
            index=i,
        )
        for i in range(IDEAL_CASES + STALLED_CASES)
    ]


def digest(case: RtlCase) -> str:
    """Digest what the test bench is given."""
    given = hashlib.sha256(case.case.lists(0).encode())
    for operand in (case.case.bias, case.case.x, case.case.w):
        given.update(operand.astype("<i8").tobytes())
    return given.hexdigest()[:12]


def records(build: Build, cases: list[RtlCase], rows: list[RtlRow]) -> Iterator[dict[str, object]]:
    for i, (case, row) in enumerate(zip(cases, rows, strict=True)):
        yield {
            **asdict(build),
            "case": i,
            "ideal": int(case.case.ideal),
            "folds": row.folds,
            "digest": digest(case),
            **asdict(row.measured),
        }


def write(path: Path, table: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"# rtl sha256 {rtl_digest()}\n")
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def layer_cases() -> Iterator[tuple[dict[str, object], RtlCase]]:
    """Prepare layers of DeiT: what to write into the table, and the case."""
    for preset, models, layers, densities in (
        ("edge_32x32", ("deit_small", "deit_base"), LAYERS, (1.0, 0.5, 0.25)),
        ("mid_64x64", ("deit_small",), LAYERS[:1], (0.5,)),
    ):
        hardware = load_hardware(preset).with_values({"cores": 1})
        for model, density in itertools.product(models, densities):
            dense = cached_workload(f"{model}_patch16_224")
            masks = random_masks(dense, density=density, block_out=32, block_in=32, seed=0)
            gemms = {gemm.name: gemm for gemm in dense.with_masks(masks).gemms}
            for layer, ideal in itertools.product(layers, (1, 0)):
                memory = hardware.with_values({"memory.ideal": bool(ideal)})
                case = layer_case(gemms[layer], memory, parameters_of(memory))
                what = {"hardware": preset, "model": model, "layer": layer, "density": density}
                yield {**what, "ideal": ideal}, case


def cpu_time() -> str:
    """Say what has been spent so far: builds and runs included, others on the machine not."""
    spent = sum(os.times()[:4])
    return f"{spent:.0f} s of CPU"


def run_layers() -> int:
    """Run real layers; write their table if everything agrees."""
    table, wrong = [], 0
    for what, case in layer_cases():
        simulator = build_simulator(case.case.parameters, cache_dir() / "rtl")
        (row,) = run_cases(simulator, [case])
        wrong += not row.agrees
        table.append({**what, "folds": row.folds, **asdict(row.measured)})
        print(*what.values(), row.measured.cycles, row.agrees, cpu_time())
    if not wrong:
        write(LAYERS_TABLE, table)
    return int(wrong > 0)


def main() -> int:
    """Run the whole tier; write the table if everything agrees."""
    table, wrong = [], 0
    for build in BUILDS:
        simulator = build_simulator(build.parameters(), cache_dir() / "rtl")
        cases = cases_of(build)
        rows = run_cases(simulator, cases)
        bad = [row for row in rows if not row.agrees]
        wrong += len(bad)
        table += list(records(build, cases, rows))
        print(f"{build.name}: {len(rows)} cases, {len(bad)} differ, {cpu_time()}", flush=True)
        for row in bad[:3]:
            print("   ", row)
    print(f"{len(table)} cases, {wrong} differ")
    if wrong:
        return 1
    write(GOLDEN, table)
    return 0


if __name__ == "__main__":
    sys.exit(run_layers() if sys.argv[1:] == ["layers"] else main())
