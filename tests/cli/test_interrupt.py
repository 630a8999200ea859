"""Ctrl-C: exit code 130, one line, and everything as it was before."""

import signal
import subprocess
import sys

import pytest

# Sends the process a real SIGINT when it comes to a certain function, then runs `lspsim`.
DRIVER = """
import importlib, os, signal, sys
# a shell's background jobs and many CI runners start with SIGINT ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
room, name = sys.argv.pop(1), sys.argv.pop(1)
module = importlib.import_module(room)
original = getattr(module, name)

def interrupted(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGINT)
    return original(*args, **kwargs)

setattr(module, name, interrupted)
from lspsim.cli import main
main()
"""


def interrupt_at(room, name, *words):
    return subprocess.run(
        [sys.executable, "-c", DRIVER, room, name, *map(str, words)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def assert_interrupted(done):
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "interrupted; nothing half-written was left behind\n"


@pytest.mark.parametrize(
    ("room", "name"),
    [
        ("lspsim.workload.serialise", "load_workload"),
        ("lspsim.report.run_directory", "save_workload"),
        ("lspsim.report.run_directory", "save_masks"),
        ("lspsim.report.run_directory", "write_plots"),
    ],
)
def test_while_simulating_and_writing(small, tmp_path, room, name):
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "runs" / "half"
    words = ("simulate", small, "--hw", "edge_32x32", "--sparsity", "0.5", "--out", out)
    assert_interrupted(interrupt_at(room, name, *words))
    assert sorted(tmp_path.iterdir()) == before


def test_while_replacing_a_run(run, small, tmp_path):
    out = tmp_path / "run"
    words = ("simulate", small, "--hw", "edge_32x32", "--out", out)
    assert run(*words).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    words = (*words, "--sparsity", "0.5", "--overwrite")
    assert_interrupted(interrupt_at("lspsim.report.run_directory", "write_plots", *words))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(tmp_path.iterdir()) == [out, small]


def test_while_tracing(small, tmp_path):
    words = ("trace", small, "--hw", "edge_32x32", "--out", tmp_path / "trace.json.gz")
    assert_interrupted(interrupt_at("lspsim.report.trace", "events", *words))
    assert sorted(tmp_path.iterdir()) == [small]


SLEEPER = """
import sys, time
import lspsim.workload.serialise as module

def waiting(*_):
    print("waiting", file=sys.stderr, flush=True)
    time.sleep(60)

module.load_workload = waiting
from lspsim.cli import main
main()
"""


def waiting_command(small, ignore_sigint):
    """Start `lspsim simulate`, which waits until a signal ends it."""
    words = [sys.executable, "-c", SLEEPER, "simulate", str(small), "--hw", "edge_32x32"]
    trap = "trap '' INT; " if ignore_sigint else ""
    child = subprocess.Popen(
        ["bash", "-c", f'{trap}exec "$@"', "bash", *words],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    assert child.stderr.readline() == "waiting\n"
    return child


@pytest.mark.parametrize("background", [False, True])
def test_sigterm_ends_as_cleanly_as_ctrl_c(small, background):
    with waiting_command(small, background) as child:
        child.send_signal(signal.SIGTERM)
        assert child.stderr.read() == "interrupted; nothing half-written was left behind\n"
    assert child.returncode == 143


def test_ctrl_c_leaves_a_background_job_alone(small):
    with waiting_command(small, ignore_sigint=True) as child:
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        child.send_signal(signal.SIGTERM)
        child.stderr.read()  # to its end, so that it writes into no closed pipe
    assert child.returncode == 143
