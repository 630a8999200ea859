"""The hooks that make the documentation's site out of the repository's pages."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from mkdocs.exceptions import PluginError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "hooks"))


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<link rel=stylesheet href=//cdn.example/a.css>",
        '<link href="https://fonts.example" rel="preconnect">',
        '<img alt="" src="http://example.org/a.png">',
    ],
)
def test_a_page_that_would_load_from_the_network_is_refused(tag: str) -> None:
    page = SimpleNamespace(file=SimpleNamespace(src_uri="a.md"))
    offline = importlib.import_module("offline")
    with pytest.raises(PluginError, match=r"a\.md would load"):
        offline.on_post_page(f"<html>{tag}</html>", page)
    harmless = '<a href="https://example.org">a</a><img src="images/a.png">'
    assert offline.on_post_page(harmless, page) == harmless


@pytest.mark.parametrize(
    ("source", "place", "link", "expected"),
    [
        ("docs/gpu.md", "gpu.md", "[a](model.md#chip)", "[a](model.md#chip)"),
        ("docs/howto/prune.md", "howto/prune.md", "[a](../pruning.md)", "[a](../pruning.md)"),
        (
            "docs/index.md",
            "index.md",
            "[a](../notebooks/02_prune_deit.ipynb)",
            "[a](tutorials/02_prune_deit.md)",
        ),
        ("CHANGELOG.md", "changelog.md", "[a](docs/gpu.md#energy)", "[a](gpu.md#energy)"),
        ("docs/gpu.md", "gpu.md", "[`a`](../lspsim/errors.py)", "`a`"),
        ("docs/gpu.md", "gpu.md", "[a](https://example.org)", "[a](https://example.org)"),
        ("docs/gpu.md", "gpu.md", "[a](../lspsim/nothing.py)", "[a](../lspsim/nothing.py)"),
    ],
)
def test_links_lead_where_they_did(source: str, place: str, link: str, expected: str) -> None:
    pages = importlib.import_module("pages")
    found = re.fullmatch(pages.LINK, link)
    assert found is not None
    assert pages.site_link(found, source, place) == expected


def test_a_notebook_becomes_a_page_with_its_outputs() -> None:
    page = importlib.import_module("notebook_pages").render(ROOT / "notebooks/02_prune_deit.ipynb")
    assert page.text.startswith("# ")
    assert "\n%" not in page.text
    assert page.text.count("```python") > 5
    assert "<table>" in page.text
    assert page.pictures
    for name, content in page.pictures.items():
        assert f"({name})" in page.text
        assert content.startswith(b"\x89PNG")


def test_every_command_has_a_section_with_its_options() -> None:
    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    text = importlib.import_module("commands").on_page_markdown(page, SimpleNamespace())
    assert "## lspsim gpu predict" in text
    assert "<code>--budget KIND=VALUE[,VALUE...]</code>" in text
    assert "[bold]" not in text
