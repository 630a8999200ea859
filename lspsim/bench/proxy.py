"""`against_proxy`: the simulator in the loop against a count of kept blocks.

LPViT takes the kept blocks of a layer for its cost, whatever the chip. Here the
same curves, allocator and compensation are run twice per chip and budget: once with the
simulator as the cost model, once with that proxy. Both end on the same budget, in
simulated cycles of the event engine; what differs is which blocks were given up for it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path

from lspsim.allocate.budgets import Budget
from lspsim.errors import LspsimError
from lspsim.hardware import Hardware
from lspsim.models import load_model, workload_from_model
from lspsim.models.data import load_dataset
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.pipeline import prepare, prune
from lspsim.prune.recipe import PruneRecipe
from lspsim.report.files import whole_file
from lspsim.simulate.cost import CostModel, ProportionalCost, SimulatorCost

BATCH = 64
"""Test images per forward pass: more do not fit the caches of a core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRow:
    """One chip and budget; `_proxy` is what the proxy led to.

    Parameters
    ----------
    model, data, block, calibration_images, images, seed
        What was pruned, and the test images that KL and top-1 are over.
    hardware, budget
        Where, and how far.
    cycles_dense, cycles, cycles_proxy
        Of one inference, by the event engine.
    sparsity, sparsity_proxy
        Removed share of the prunable weights.
    loss_nats, loss_nats_proxy
        Estimated loss increase of the masks, by the same curves.
    kl_nats, kl_nats_proxy
        Measured on test images, compensated.
    top1_dense, top1, top1_proxy
        Share of test images classified correctly.
    lspsim
        Version.
    """

    model: str
    data: str
    block: str
    calibration_images: int
    images: int
    seed: int
    hardware: str
    budget: str
    cycles_dense: float
    cycles: float
    cycles_proxy: float
    sparsity: float
    sparsity_proxy: float
    loss_nats: float
    loss_nats_proxy: float
    kl_nats: float
    kl_nats_proxy: float
    top1_dense: float
    top1: float
    top1_proxy: float
    lspsim: str


def against_proxy(
    model_name: str,
    data: str,
    chips: Sequence[Hardware],
    budgets: Sequence[Budget],
    recipe: PruneRecipe,
    calibration_images: int = 256,
    test_images: int = 3072,
    tell: Callable[[str], None] | None = None,
    refused: list[str] | None = None,
) -> Iterator[ProxyRow]:
    """Prune for every chip and budget with the simulator and with the proxy; measure both.

    Parameters
    ----------
    model_name, data
        See `load_model` and `load_dataset`.
    chips, budgets
        All pairs are made.
    recipe
        How to prune; the blocks are scored once for all of them.
    calibration_images, test_images
        How many.
    tell
        Called with what is being done.
    refused
        Gets a line for each pair whose budget cannot be met; default: the first such
        pair raises.

    Yields
    ------
    A row per pair, as soon as it is made.

    Raises
    ------
    LspsimError
        When a budget cannot be met on a chip, and `refused` is not given.
    """
    say = tell or (lambda _: None)
    model = load_model(model_name)
    workload = workload_from_model(model)
    calibration = load_dataset(
        data, "calibration", calibration_images, seed=recipe.seed, model=model
    )
    prepared = prepare(model, calibration, workload, recipe, tell=say)
    test = load_dataset(data, "test", test_images, model=model)
    say("dense network on test images")
    reference = reference_logits(model, test, BATCH)
    dense = quality(model, test, reference, BATCH)
    for chip in chips:
        for budget in budgets:
            exact = SimulatorCost(chip)
            whole = exact.cost(workload)
            found = {}
            models: dict[str, CostModel] = {
                "simulator": SimulatorCost(chip, "analytic"),
                "proxy": ProportionalCost(whole),
            }
            try:
                for name, loop in models.items():
                    say(f"{chip.name}, {budget}: {name}")
                    pruned = prune(prepared, workload, (budget,), loop, exact)
                    found[name] = pruned, quality(pruned.model, test, reference, BATCH)
            except LspsimError as error:
                if refused is None:
                    raise
                refused.append(f"{chip.name}: {error}")
                continue
            (ours, seen), (theirs, seen_theirs) = found["simulator"], found["proxy"]
            yield ProxyRow(
                model=model_name,
                data=data,
                block=recipe.block,
                calibration_images=len(calibration),
                images=len(test),
                seed=recipe.seed,
                hardware=chip.name,
                budget=str(budget),
                cycles_dense=whole.cycles,
                cycles=ours.outcome.cost.cycles,
                cycles_proxy=theirs.outcome.cost.cycles,
                sparsity=ours.sparsity,
                sparsity_proxy=theirs.sparsity,
                loss_nats=ours.outcome.loss,
                loss_nats_proxy=theirs.outcome.loss,
                kl_nats=seen.kl_nats,
                kl_nats_proxy=seen_theirs.kl_nats,
                top1_dense=dense.top1,
                top1=seen.top1,
                top1_proxy=seen_theirs.top1,
                lspsim=version("lspsim"),
            )


def write_proxy_rows(path: Path, rows: Sequence[ProxyRow]) -> None:
    """Write rows as CSV, whole or not at all.

    Raises
    ------
    ResultError
        When the place cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        names = [field.name for field in fields(ProxyRow)]
        writer = csv.DictWriter(file, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
