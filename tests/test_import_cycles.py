"""No module imports itself by way of others, imports for type checkers included.

A package's `__init__` only lists what its modules offer and is not followed.
"""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import lspsim

ROOT = Path(lspsim.__file__).parent
MODULES = {
    ".".join(("lspsim", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in ROOT.rglob("*.py")
    if path.name != "__init__.py"
}


def imported(path: Path) -> set[str]:
    """Modules (not packages) of lspsim that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & MODULES.keys()


def test_imports_have_no_cycle():
    graph = {name: imported(path) for name, path in MODULES.items()}
    assert graph["lspsim.hardware.checks"] >= {"lspsim.hardware.schema"}
    TopologicalSorter(graph).prepare()
