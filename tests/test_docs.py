"""The documentation points at what exists, its figures can be drawn, its claims hold."""

from __future__ import annotations

import inspect
import pkgutil
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from griffe import Docstring
from ruamel.yaml import YAML

import lspsim
from lspsim.cli import app
from lspsim.hardware import Hardware, load_hardware
from lspsim.simulate.simulate import simulate
from lspsim.workload import BlockMask, Gemm, Workload

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "lspsim").rglob("README.md")]
)
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`[^`\n]*`")


def prose(page: Path) -> str:
    """Return the page without fenced blocks and inline code."""
    return CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_pages() -> None:
    names = {page.name for page in PAGES}
    assert {
        "README.md",
        "model.md",
        "energy.md",
        "0002-removing-a-block-can-add-a-cycle.md",
    } <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: nothing at {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link} has no such heading"


def test_decisions_are_numbered_once() -> None:
    numbers = [page.name[:4] for page in (ROOT / "docs" / "decisions").glob("[0-9]*.md")]
    assert sorted(numbers) == [f"{i:04}" for i in range(1, len(numbers) + 1)]


def test_the_index_of_decisions_has_them_all() -> None:
    folder = ROOT / "docs" / "decisions"
    shown = re.findall(r"\]\((\d{4}[^)]*)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert shown == sorted(page.name for page in folder.glob("[0-9]*.md"))


def commands(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
    """Yield every command below `command` that does something, with its options."""
    if not hasattr(command, "commands"):
        options = [
            name
            for parameter in command.get_params(typer.Context(command))
            for name in [*parameter.opts, *parameter.secondary_opts]
        ]
        yield name, set(options)
        return
    for part, below in command.commands.items():
        yield from commands(below, f"{name} {part}")


COMMANDS = dict(commands(typer.main.get_command(app), "lspsim"))


def test_the_command_reference_names_every_command() -> None:
    text = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(lspsim [a-z ]+)`", text)) == set(COMMANDS)


def shown_commands(page: Path) -> list[str]:
    """Return the command lines of lspsim in code, without comments."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = "\n".join([*FENCE.findall(text), *re.findall(r"^ {4}.*$", text, re.MULTILINE)])
    lines = re.findall(r"^ *(?:\.venv/bin/)?(lspsim [a-z].*?)(?: +#.*)?$", code, re.MULTILINE)
    return lines + re.findall(r"`(lspsim [a-z][^`\n]*)`", FENCE.sub("", text))


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if shown_commands(page)],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_shown_commands_exist_with_their_options(page: Path) -> None:
    for line in shown_commands(page):
        words = shlex.split(line)
        name = " ".join(words[: 3 if " ".join(words[:3]) in COMMANDS else 2])
        if any(other.startswith(f"{name} ") for other in COMMANDS):
            continue  # a group of commands
        assert name in COMMANDS, line
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= COMMANDS[name] | {"--help"}, line


API = sorted(
    {
        name
        for page in (ROOT / "docs" / "reference" / "api").glob("*.md")
        for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
)


@pytest.mark.parametrize("name", API)
def test_the_python_reference_documents_every_parameter(name: str) -> None:
    shown = pkgutil.resolve_name(name)
    text = inspect.getdoc(shown)
    assert text
    if inspect.ismodule(shown) or hasattr(shown, "model_fields"):  # fields of hardware: test_tables
        return
    sections = Docstring(text, parser="numpy").parse(warnings=False)
    documented = {
        name
        for section in sections
        if section.kind.value in ("parameters", "attributes")
        for parameter in section.value
        for name in parameter.name.split(", ")
    }
    missing = set(inspect.signature(shown).parameters) - documented
    assert not missing, f"{name} does not document {sorted(missing)}"


def test_the_python_reference_shows_every_public_name() -> None:
    shown = {name.rpartition(".")[2] for name in API} | {"errors"}
    errors = {name for name in lspsim.__all__ if name.endswith("Error")}
    assert set(lspsim.__all__) - errors <= shown
    assert "lspsim.errors" in API


def test_every_picture_is_shown() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    pictures = {path.name for path in (ROOT / "docs" / "images").iterdir()}
    assert pictures
    assert {name for name in pictures if f"images/{name})" not in text} == set()


def test_contributing_names_every_package_in_its_layer() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \d \| (.+?) \|", page, re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    documented = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    assert documented == [set(re.findall(r"\w+", line)) for line in layers]


def test_the_citation_names_this_version() -> None:
    citation = YAML(typ="safe").load(ROOT / "CITATION.cff")
    assert citation["version"] == lspsim.__version__
    assert citation["license"] == "Apache-2.0"
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1] == lspsim.__version__


def test_figures_can_be_drawn_again(tmp_path: Path) -> None:
    script = ROOT / "docs" / "figures" / "draw_model.py"
    subprocess.run([sys.executable, "-W", "error", str(script), str(tmp_path)], check=True)
    drawn = {path.name for path in tmp_path.iterdir()}
    kept = {path.name for path in (ROOT / "docs" / "images").glob("model_*")}
    assert drawn == kept
    shown = set(re.findall(r"images/(model_\w+\.svg)", (ROOT / "docs/model.md").read_text()))
    assert shown == drawn
    assert all(path.read_text(encoding="utf-8").count("<path") > 20 for path in tmp_path.iterdir())


def small_core(**values: object) -> Hardware:
    """Return one core with separate channels; double underscores stand for dots."""
    chosen: dict[str, object] = {
        "array.rows": 8,
        "array.cols": 8,
        "array.accumulator_rows": 64,
        "buffers.weight": "1 KiB",
        "buffers.activation": "4 KiB",
        "memory.channels": "separate",
        "memory.shares": {"weights": 0.5, "activations": 0.25, "writeback": 0.25},
        "memory.dram.bandwidth": "3 GB/s",
        "memory.dram.efficiency": 1.0,
        "memory.dram.latency": "0 ns",
        "memory.dram.burst": "8 B",
    }
    chosen |= {name.replace("__", "."): value for name, value in values.items()}
    return load_hardware("edge_32x32").with_values(chosen)


DECISION_2 = {
    "a column is emptied": (
        small_core(
            memory__dram__burst="64 B",
            memory__shares={"weights": 0.45, "activations": 0.45, "writeback": 0.1},
        ),
        (1, 8, 16),
        (8, 8),
        ([[1], [0]], [[0], [0]]),
        (763, 856),
    ),
    "the index becomes finer": (
        small_core(array__packing="k-compact", array__index="bsr"),
        (1, 16, 16),
        (8, 1),
        ([[1] * 16] * 2, [[0] + [1] * 15, [1] * 16]),
        (220, 262),
    ),
    "a fold gets a later row": (
        small_core(
            array__rows=2,
            array__cols=4,
            array__packing="k-compact",
            buffers__weight="128 B",
            memory__dram__bandwidth="0.7 GB/s",
            memory__dram__burst="1 B",
        ),
        (4, 5, 4),
        (4, 1),
        ([[1, 1, 1, 1, 0]], [[0, 1, 1, 1, 0]]),
        (194, 198),
    ),
}


@pytest.mark.parametrize("case", DECISION_2)
def test_removing_a_block_can_add_a_cycle(case: str) -> None:
    """The figures of docs/decisions/0002."""
    hardware, (m, k, n), (block_out, block_in), keeps, cycles = DECISION_2[case]
    page = (ROOT / "docs/decisions/0002-removing-a-block-can-add-a-cycle.md").read_text()
    assert f"{cycles[0]} to {cycles[1]}" in page
    for keep, expected in zip(keeps, cycles, strict=True):
        mask = BlockMask(np.array(keep, dtype=bool), block_out, block_in, (n, k))
        workload = Workload([Gemm("g", m, k, n, mask=mask)])
        for engine in ("event", "reference"):
            assert simulate(workload, hardware, engine=engine).totals.cycles_total == expected
