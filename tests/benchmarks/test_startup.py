"""How long a user waits, on Linux. Wall-clock bounds: run on an idle machine."""

import os
import subprocess
import sys
import time

import pytest

EDGE = ("--hw", "edge_32x32", "--sparsity", "0.5", "--format", "json")
DEIT_B = ("simulate", "deit_base_patch16_224", *EDGE)


# The child reports its own peak: getrusage would count the parent it was forked from.
CHILD = """
import atexit, pathlib, re, sys

def report():
    status = pathlib.Path("/proc/self/status").read_text()
    print("peak_kb", re.search(r"VmHWM:\\s+(\\d+)", status)[1], file=sys.stderr)

atexit.register(report)
from lspsim.cli import main
main()
"""


def seconds(words, tries, **env):
    """Best wall-clock time of some tries of `lspsim`, and the last one's peak memory in MB."""
    best = float("inf")
    peak = 0.0
    for _ in range(tries):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | env,
            check=True,
        )
        best = min(best, time.perf_counter() - start)
        peak = int(done.stderr.split("peak_kb")[1]) / 1e3
    return best, peak


@pytest.mark.parametrize(
    "words", [("--help",), ("check", "hw_configs/edge_32x32.yaml")], ids=["help", "check"]
)
def test_light_commands_answer_within_half_a_second(words):
    wall, _ = seconds(words, tries=5)
    print(f"lspsim {words[0]}: {wall:.2f} s")
    assert wall < 0.5


def test_deit_b_with_and_without_torch(tmp_path):
    first, first_mb = seconds(DEIT_B, tries=1, LSPSIM_CACHE_DIR=str(tmp_path))
    again, again_mb = seconds(DEIT_B, tries=3, LSPSIM_CACHE_DIR=str(tmp_path))
    print(f"DeiT-B: {first:.2f} s and {first_mb:.0f} MB with torch, ", end="")
    print(f"{again:.2f} s and {again_mb:.0f} MB with cached shapes")
    assert first < 6.0
    assert first_mb < 1200
    assert again < 1.5
    assert again_mb < 300
