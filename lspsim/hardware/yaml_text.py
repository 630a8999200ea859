"""YAML in and out: safe, with the place of every value, and every duplicate key found.

Only plain mappings and scalars are read. Nothing is ever constructed from a tag, and
aliases are refused, so a file cannot grow when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lspsim.hardware.problems import Problem

MAX_DEPTH = 20
"""Deepest nesting that is read; the formats here need 5."""


class Mark(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """What a file says, and where."""

    data: dict[str, Any] = field(default_factory=dict)
    """Nested dict of plain values."""
    keys: dict[str, Mark] = field(default_factory=dict)
    """Dotted path -> place of its key."""
    values: dict[str, Mark] = field(default_factory=dict)
    """Dotted path -> place of its value."""
    notes: dict[str, str] = field(default_factory=dict)
    """Dotted path -> the comment that follows its value in the same line."""
    problems: list[tuple[Mark, Problem]] = field(default_factory=list)
    """What is wrong with the text itself."""

    def place(self, problem: Problem) -> Mark:
        """Where a problem lies: its value, its key, or the nearest section that exists."""
        path = problem.path
        if problem.at_key and path in self.keys:
            return self.keys[path]
        if path in self.values and not isinstance(self._at(path), dict):
            return self.values[path]
        while path and path not in self.keys:
            path = path.rpartition(".")[0]
        return self.keys.get(path, Mark(1, 1))

    def _at(self, path: str) -> Any:
        here: Any = self.data
        for key in path.split("."):
            here = here[key]
        return here


def read(text: str) -> Document:
    """Read the text of a file.

    Parameters
    ----------
    text
        YAML 1.2.

    Returns
    -------
    Document
        Everything that could be read; `problems` names what could not.
    """
    document = Document()
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)
        what = ": ".join(part for part in (error.context, error.problem) if part)
        document.problems.append((place, Problem("", f"not valid YAML: {what}", _YAML_CURE)))
        return document
    except YAMLError as error:
        what = f"not valid YAML: {str(error).splitlines()[0]}"
        document.problems.append((Mark(1, 1), Problem("", what, _YAML_CURE)))
        return document
    except RecursionError:
        problem = Problem("", "nested far too deeply", f"use at most {MAX_DEPTH} levels")
        document.problems.append((Mark(1, 1), problem))
        return document
    if root is None:
        problem = Problem("", "the file is empty", "start from a preset in hw_configs")
        document.problems.append((Mark(1, 1), problem))
    elif not isinstance(root, MappingNode):
        problem = Problem("", "the file holds no mapping", "write `key: value` lines")
        document.problems.append((_mark(root), problem))
    else:
        document.data = _Reader(document, text.splitlines()).mapping(root, "", 1)
    return document


_YAML_CURE = "check indentation, colons and quotes near this place"


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


class _Reader:
    """Turns YAML nodes into plain values and notes their places."""

    def __init__(self, document: Document, lines: list[str]) -> None:
        self.document = document
        self.lines = lines
        self.seen: set[int] = set()

    def mapping(self, node: MappingNode, path: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(_mark(key_node), path, "a key is not a word", "write `key: value`")
                continue
            key = str(key_node.value)
            here = f"{path}.{key}" if path else key
            if key in made:
                first = self.document.keys[here].line
                self._complain(
                    _mark(key_node),
                    here,
                    f"given twice, first in line {first}",
                    "keep one of the two",
                )
                continue
            self.document.keys[here] = _mark(key_node)
            self.document.values[here] = _mark(value_node)
            made[key] = self.value(value_node, here, depth + 1)
        return made

    def value(self, node: Node, path: str, depth: int) -> Any:
        if id(node) in self.seen:
            self._complain(_mark(node), path, "aliases (`*name`) are not read", "repeat the value")
            return None
        self.seen.add(id(node))
        if isinstance(node, ScalarNode):
            self._note(node, path)
            return self._scalar(node, path)
        if depth > MAX_DEPTH:
            self._complain(_mark(node), path, "nested too deeply", "no section lies so deep")
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path, depth)
        assert isinstance(node, SequenceNode)
        return [self.value(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]

    def _note(self, node: ScalarNode, path: str) -> None:
        """Keep the comment behind a value: presets say there where it comes from."""
        end = node.end_mark
        rest = self.lines[end.line][end.column :] if end.line < len(self.lines) else ""
        comment = _COMMENT.match(rest)
        if comment is not None:
            self.document.notes[path] = comment.group(1)

    def _scalar(self, node: ScalarNode, path: str) -> Any:
        kind, text = _tag(node), str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return text.casefold() == "true"
        if kind == "int":
            return _integer(text)
        if kind == "float":
            return _real(text)
        if kind not in ("str", "timestamp"):
            self._complain(
                _mark(node), path, f"the tag {kind!r} is not read", "remove it; write plain values"
            )
        return text

    def _complain(self, mark: Mark, path: str, what: str, cure: str) -> None:
        self.document.problems.append((mark, Problem(path, what, cure)))


def _tag(node: ScalarNode) -> str:
    """`int`, `str`, ... for YAML's own tags, the whole tag for any other."""
    return str(node.tag).removeprefix("tag:yaml.org,2002:")


def _integer(text: str) -> int | str:
    """Read a YAML 1.2 integer; a text that is none (far too long) stays a text."""
    try:
        return int(text.replace("_", ""), 0 if re.match(r"[+-]?0[xob]", text) else 10)
    except ValueError:
        return text


def _real(text: str) -> float | str:
    """Read a YAML 1.2 float; `.inf` and `.nan` stay texts, which no field accepts."""
    try:
        return float(text.replace("_", ""))
    except ValueError:
        return text


_COMMENT = re.compile(r"""[^#"']*\s#\s*(.*?)\s*$""")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


def write(data: Mapping[str, Any]) -> str:
    """Write nested mappings of scalars as YAML; `read` gives them back.

    Parameters
    ----------
    data
        Keys are plain words; values are mappings, str, int, float, bool or None.

    Returns
    -------
    str
        Block-style YAML, ending in a newline.
    """
    lines: list[str] = []
    _write_into(lines, data, "")
    return "\n".join(lines) + "\n"


def _write_into(lines: list[str], data: Mapping[str, Any], indent: str) -> None:
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:")
            _write_into(lines, value, indent + "  ")
        else:
            lines.append(f"{indent}{key}: {_write_scalar(value)}")


def _write_scalar(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.casefold() not in _NOT_TEXT:
            return value
        return "".join(_escaped(c) for c in json.dumps(value, ensure_ascii=False))
    return repr(value)


def _escaped(character: str) -> str:
    """Write a character as it may stand between double quotes in YAML."""
    if character.isprintable() and character != "\ufeff":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\U{code:08x}"
