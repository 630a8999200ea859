"""Build the test bench with Verilator and run cases on it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.rtl.case import Case, CaseResult
from lspsim.rtl.parameters import Parameters
from lspsim.rtl.sources import rtl_digest, sources

TOOLS = ("verilator", "make", "g++")
INSTALL = "apt-get install --no-install-recommends verilator make g++"
OPTIONS = ("-O3", "--x-assign", "unique", "--x-initial", "unique")
"""Of Verilator: registers start with random bits, so that nothing hangs on a reset to 0."""
COMPILE = ("-std=c++17",)
OPTIMISE = ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0")
RUNTIME = "verilated*.o"
"""Objects of Verilator's own library: the same for every core, and half of a small build."""


def missing_tools() -> list[str]:
    """Return the programs that a build needs and that are not on the PATH."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


@dataclass(frozen=True, slots=True)
class Simulator:
    """A built test bench."""

    program: Path
    parameters: Parameters

    def run(self, cases: Sequence[Case], limits: Sequence[int]) -> list[CaseResult]:
        """Run cases one after the other.

        Parameters
        ----------
        cases
            Lowered for this build's parameters.
        limits
            Cycles after which each case is given up.

        Raises
        ------
        LspsimError
            When the test bench ends with an error.
        """
        with tempfile.TemporaryDirectory(prefix="lspsim-rtl-") as folder:
            given, made = Path(folder, "cases.txt"), Path(folder, "results.bin")
            with given.open("w", encoding="ascii") as file:
                for case, limit in zip(cases, limits, strict=True):
                    if case.parameters != self.parameters:
                        raise LspsimError(
                            f"the case is for {case.parameters}, this build is {self.parameters}"
                        )
                    file.write(case.text(limit))
            lines = _run([str(self.program), str(given), str(made)], None).splitlines()
            values = np.fromfile(made, np.int32)
        if len(lines) != len(cases) or values.size != sum(c.m * c.n for c in cases):
            raise LspsimError(f"the test bench answered {len(lines)} of {len(cases)} cases")
        results, start = [], 0
        for case, line in zip(cases, lines, strict=True):
            size = case.m * case.n
            y = values[start : start + size].reshape(case.m, case.n).astype(np.int64)
            cycles, written, summed, weights, activations, reads, writes = map(int, line.split())
            results.append(
                CaseResult(cycles, written, summed, weights, activations, reads, writes, y)
            )
            start += size
        return results


def build_simulator(
    parameters: Parameters, cache_dir: Path, files: Mapping[str, str] | None = None
) -> Simulator:
    """Return the test bench of one core, built if there is none of the same sources.

    Parameters
    ----------
    parameters
        What the build is fixed to.
    cache_dir
        Folder that keeps builds; made if absent.
    files
        Source files, name to text; None = those of the package.

    Raises
    ------
    MissingDependencyError
        When a tool is missing.
    LspsimError
        When Verilator or the compiler refuses the sources.
    """
    files = sources() if files is None else files
    if missing := missing_tools():
        raise MissingDependencyError(
            f"simulating the RTL needs {', '.join(missing)}, not found on the PATH; on Debian: "
            f"{INSTALL}"
        )
    flags = (OPTIONS, COMPILE, OPTIMISE)
    parts = [rtl_digest(files), asdict(parameters), flags, _verilator_version()]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
    program = cache_dir / f"{parameters.top}-{parameters.rows}x{parameters.cols}-{key}"
    if not program.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=cache_dir) as folder:
            runtime = hashlib.sha256(repr((flags, _verilator_version())).encode()).hexdigest()[:24]
            built = _build(parameters, Path(folder), files, cache_dir / f"runtime-{runtime}")
            os.replace(built, program)
    return Simulator(program, parameters)


def verilator_command(parameters: Parameters, folder: Path, names: Sequence[str]) -> list[str]:
    """Return the command that writes the makefile of `obj/bench` from sources in `folder`."""
    values = parameters.verilog()
    defines = {key: value for key, value in values.items() if key not in ("DEPTH", "OVERLAP")}
    defines |= {"ADDR": parameters.address_bits, "ROW": 16, "UNIT": 16}
    if parameters.output_stationary:
        defines["OUTPUT_STATIONARY"] = 1
    flags = [*COMPILE, *(f"-D{key}={value}" for key, value in defines.items())]
    return [
        *("verilator", "--cc", "--exe", "-Wall", "-sv", *OPTIONS),
        *("--prefix", "Vcore", "--top-module", parameters.top),
        *("--Mdir", str(folder / "obj"), "-o", "bench"),
        *(f"-G{key}={value}" for key, value in values.items()),
        *("-CFLAGS", " ".join(flags)),
        *(str(folder / name) for name in names),
    ]


def make_command(folder: Path | str) -> list[str]:
    """Return the command that builds `bench` in Verilator's output folder."""
    return ["make", "-C", str(folder), "-f", "Vcore.mk", *OPTIMISE, "bench"]


def _build(parameters: Parameters, folder: Path, files: Mapping[str, str], runtime: Path) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    _run(verilator_command(parameters, folder, sorted(files)), folder)
    objects = folder / "obj"
    for part in runtime.glob(RUNTIME):
        shutil.copy(part, objects)  # newer than the makefile that it hangs on
    _run(make_command(objects), folder)
    if not runtime.exists():
        kept = folder / "runtime"
        kept.mkdir()
        for part in objects.glob(RUNTIME):
            shutil.copy(part, kept)
        with contextlib.suppress(OSError):  # another process was first
            kept.rename(runtime)
    return objects / "bench"


@cache
def _verilator_version() -> str:
    return _run(["verilator", "--version"], None).strip()


def _run(command: Sequence[str], folder: Path | None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        raise LspsimError(f"{Path(command[0]).name} failed ({done.returncode}):\n{last}")
    return done.stdout
