"""Help texts: nothing swallowed by markup, no line broken in the middle of a sentence."""

import re
from itertools import pairwise

import pytest
import typer
from rich.text import Text

from lspsim.cli import app
from lspsim.cli.shared.help import unwrapped


def commands(command=None, path="lspsim"):
    """Every command with its path, groups included."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("path", COMMANDS)
def test_markup_eats_nothing(path):
    command = COMMANDS[path]
    for text in (command.help, *(getattr(param, "help", None) for param in command.params)):
        meant = re.sub(r"\[/?bold\]", "", text or "")
        assert Text.from_markup(text or "").plain == meant


@pytest.mark.parametrize("path", COMMANDS)
def test_paragraphs_flow_and_examples_can_be_copied(path):
    first, *others = (COMMANDS[path].help or "").split("\n\n")
    assert "\n" not in first
    for paragraph in others:
        lines = paragraph.splitlines()
        if not paragraph.startswith(" "):
            assert len(lines) <= 1
            continue
        for line, after in pairwise(lines):
            assert after.strip().startswith("lspsim ") or line.endswith(" \\")
        assert lines[0].strip().startswith("lspsim ")
        assert all(len(line) - 4 <= 78 for line in lines)


def test_the_defaults_of_the_grid_are_shown(run):
    out = " ".join(re.sub("[│─]", " ", run("bench", "pruning", "--help").out).split())
    assert "default: 50,70,80,90" in out
    assert "default: 12000" in out


def test_unwrapped():
    text = """What it does
    in one sentence.

    More
    words.

        lspsim a
        --b
        lspsim c
    """
    assert unwrapped(text) == (
        "What it does in one sentence.\n\nMore words.\n\n    lspsim a \\\n      --b\n    lspsim c"
    )
