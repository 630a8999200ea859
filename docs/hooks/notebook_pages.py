"""Notebooks as pages: cells in their order, with the outputs that were committed."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
TABLE = re.compile(r"<table.*</table>", re.DOTALL)
MAGIC = re.compile(r"^%.*\n?", re.MULTILINE)


@dataclass(frozen=True)
class RenderedNotebook:
    """A notebook as markdown.

    Parameters
    ----------
    text
        The page.
    pictures
        Bytes of the pictures it shows, by file name beside the page.
    """

    text: str
    pictures: dict[str, bytes]


def render(path: Path) -> RenderedNotebook:
    """Return the notebook at `path` as a page."""
    notebook = nbformat.read(path, as_version=4)
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{MAGIC.sub('', cell.source).strip()}\n```")
        for output in cell.outputs:
            name = f"{path.stem}_{len(pictures)}.png"
            parts.append(_output(output, name, pictures))
    return RenderedNotebook("\n\n".join(part for part in parts if part) + "\n", pictures)


def _output(output: NotebookNode, name: str, pictures: dict[str, bytes]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![Output of the cell above]({name})"
    if "<table" in (page := data.get("text/html", "")):
        return re.sub("<table[^>]*>", "<table>", TABLE.search(page)[0])  # the site's own style
    text = output.get("text", data.get("text/plain", ""))
    return f"```text\n{ESCAPES.sub('', text).rstrip()}\n```" if text.strip() else ""
