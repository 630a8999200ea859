"""lspsim: a pruned vision transformer on a block-sparse systolic accelerator.

Everything public hangs here and loads on first use, so that `import lspsim`
costs nothing and a command pays only for what it runs.

Examples
--------
>>> import lspsim
>>> hardware = lspsim.load_hardware("edge_32x32")  # doctest: +SKIP
>>> workload = lspsim.Workload([lspsim.Gemm("fc", m=197, k=768, n=768)])
>>> lspsim.simulate(workload, hardware).totals.cycles_total  # doctest: +SKIP
"""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from lspsim.public import *  # noqa: F403


def _public_names() -> dict[str, str]:
    """Public name -> module that offers it, read from `public` without importing it."""
    source = Path(__file__).with_name("public.py").read_text(encoding="utf-8")
    imports = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


_HOME = _public_names()
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import the package of a public name on its first use (PEP 562)."""
    if name in _HOME:
        package = importlib.import_module(_HOME[name])
        value = package if package.__name__ == f"{__name__}.{name}" else getattr(package, name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lspsim' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallablePackage(ModuleType):
    """A package that also answers to calls, with its function of the same name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    """Makes `lspsim.simulate` package and function at once.

    The import system stores a loaded package in its parent under its own name,
    and would hide the public function `simulate` there.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "simulate" and type(value) is ModuleType:
            value.__class__ = _CallablePackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
