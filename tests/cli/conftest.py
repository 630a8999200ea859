import re

import pytest
from typer.testing import CliRunner

from lspsim.cli import app
from lspsim.workload import Gemm, VectorOp, Workload
from lspsim.workload.serialise import save_workload


class Answer:
    """What a command printed, with the boxes and line breaks of errors smoothed out."""

    def __init__(self, result):
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.exception = result.exception

    @property
    def message(self):
        return " ".join(re.sub("[│╭╮╰╯─]", " ", self.err).split())


@pytest.fixture
def run():
    """Run `lspsim` in this process."""

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        answer = Answer(result)
        if not isinstance(answer.exception, SystemExit | None):
            raise answer.exception
        return answer

    return run


@pytest.fixture
def refused(run):
    """Run `lspsim` on bad input: exit code 2, one message on stderr, nothing on stdout."""

    def refused(*words):
        answer = run(*words)
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.count("error:") + answer.err.count("─ Error ─") == 1
        assert "Traceback" not in answer.err
        return answer.message

    return refused


@pytest.fixture
def small(tmp_path):
    """A workload file of two masked-size layers and a softmax."""
    workload = Workload(
        [
            Gemm("blocks.0.mlp.fc1", m=50, k=64, n=128, bias=True),
            VectorOp("blocks.0.act", "gelu", 50, 128),
            Gemm("blocks.0.mlp.fc2", m=50, k=128, n=64),
            VectorOp("softmax", "softmax", 50, 64),
        ],
        model="small",
    )
    path = tmp_path / "small.json"
    save_workload(path, workload)
    return path
