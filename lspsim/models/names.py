"""What to say about a model name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from lspsim.errors import ModelError

FAMILIES = ("deit*", "vit_*", "swin_*")
"""timm's names of the models that lspsim runs."""


def unknown_model(name: str, shipped: Sequence[str], timm: Any) -> ModelError:
    """Return the error for an unknown name, with names close to it that lspsim runs.

    Parameters
    ----------
    name
        As it was given; timm's tag of weights ("....fb_in1k") is left out of the comparison.
    shipped
        Names of the models that ship with the package.
    timm
        The module.
    """
    close = close_names(name.partition(".")[0], [*shipped, *timm.list_models(list(FAMILIES))])
    hint = f"did you mean {', '.join(close)}?" if close else f"known are {', '.join(FAMILIES)}"
    return ModelError(
        f"there is no model {name!r}: neither shipped ({', '.join(shipped)}) nor in "
        f"timm {timm.__version__}; {hint}"
    )


def close_names(name: str, known: Sequence[str], most: int = 3) -> list[str]:
    """Return names that begin like `name`, shortest first, then those that are spelt alike."""
    begun = [one for one in known if name and name in (one[: len(name)], _bare(one)[: len(name)])]
    alike = difflib.get_close_matches(name, known, n=most)
    return list(dict.fromkeys([*sorted(begun, key=lambda one: (len(one), one)), *alike]))[:most]


def _bare(name: str) -> str:
    return name.removeprefix("lspsim/")
