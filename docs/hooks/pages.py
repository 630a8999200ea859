"""mkdocs hook: files outside of docs/ as pages, and links that lead where they did.

The pages of docs/ are written for a plain repository browser: their links are relative
paths in the repository. On the site, a link to a file that has a page leads to that page;
a link to any other file of the repository becomes plain text.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))
import notebook_pages

ROOT = Path(__file__).resolve().parents[2]
COPIES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "lspsim/gpu/measurements/README.md": "reference/gpu_measurements.md",
}
"""Pages outside of docs/, by path in the repository, and where they stand on the site."""

OTHER_PAGES = {
    **COPIES,
    "README.md": "index.md",
    **{
        f"notebooks/{path.name}": f"tutorials/{path.stem}.md"
        for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    },
}
"""All files outside of docs/ that a link may lead to, and their pages."""

LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    for source, place in COPIES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for source, place in OTHER_PAGES.items():
        if source.endswith(".ipynb"):
            page = notebook_pages.render(ROOT / source)
            files.append(File.generated(config, place, content=page.text))
            for name, content in page.pictures.items():
                files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead the links of a page to pages of the site."""
    place = page.file.src_uri
    source = {place: source for source, place in OTHER_PAGES.items()}.get(place, f"docs/{place}")
    if place == "index.md":
        source = "docs/index.md"
    return LINK.sub(lambda found: site_link(found, source, place), markdown)


def site_link(found: re.Match[str], source: str, place: str) -> str:
    """Return a link of the page at `source`, which the site shows at `place`."""
    text, target = found.groups()
    name, mark, anchor = target.partition("#")
    if not name or re.match(r"[a-z]+:", name):
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
    if path in OTHER_PAGES:
        aim = OTHER_PAGES[path]
    elif path.startswith("docs/"):
        aim = path.removeprefix("docs/")
    elif (ROOT / path).exists():
        return text
    else:
        return found[0]  # leads nowhere: the strict build reports it
    return f"[{text}]({os.path.relpath(aim, posixpath.dirname(place) or '.')}{mark}{anchor})"
