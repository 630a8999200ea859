"""`lspsim demo`: prune a model that ships with the package, in a minute, and draw the front."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MODEL = "lspsim/deit_digits"
DATA = "digits"
HARDWARE = "edge_32x32"
ARRAY = {"array.rows": 16, "array.cols": 16}
"""A 16x16 array, so that a 16x16 block is a tile of this small model."""
BLOCK = (16, 16)
FRACTIONS = (0.8, 0.7, 0.6, 0.5)


def demo(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where networks, table and front are written.")
    ] = Path("lspsim-demo"),
) -> None:
    """Prune the shipped digit model to several budgets, by LPViT's recipe and by lspsim's.

    It shows how the parts work together. The digits are nearly saturated, so it says
    nothing about which method is better on harder data, let alone on ImageNet.

    Example: lspsim demo --out demo
    """
    from lspsim.allocate.budgets import parse_budgets
    from lspsim.cli.prune.front import draw_front
    from lspsim.cli.prune.points import Points
    from lspsim.hardware import load_hardware
    from lspsim.prune.recipe import PruneRecipe, lpvit_recipe
    from lspsim.prune.study import open_study

    hardware = load_hardware(HARDWARE).with_values(ARRAY)
    budgets = [parse_budgets([f"cycles={fraction}"]) for fraction in FRACTIONS]
    recipes = (lpvit_recipe(*BLOCK), PruneRecipe(*BLOCK))
    points = Points(out)
    with points.progress(len(budgets) * len(recipes)) as tell:
        study = open_study(MODEL, DATA, hardware)
        for recipe in recipes:
            points.run(study, recipe, budgets, tell)
    points.show("table", whole="")
    draw_front(points.records, out)
