"""`Bench`: prune and measure cell by cell; what is finished stays.

Sparsity is held as a budget of multiply-accumulates: a prunable layer costs its
input rows times its kept weights, so that removing a share of these MACs removes the
same share of the prunable weights wherever all of them see equally many rows (ViT,
DeiT; in Swin the stages differ). No chip is in the loop: this compares scores,
compensation and allocation at equal MACs.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from math import floor

import numpy as np
import torch
from torch import nn

from lspsim.errors import LspsimError
from lspsim.explore.bench_cells import Cell
from lspsim.explore.bench_table import Bits, Row, Table
from lspsim.models import load_model, workload_from_model
from lspsim.models.data import ImageSet, load_dataset
from lspsim.prune.budgets import Budget
from lspsim.prune.finetune import PRESETS, finetune
from lspsim.prune.measure import Quality, quality, reference_logits
from lspsim.prune.pipeline import Prepared, Pruned, prepare, prune
from lspsim.simulate.cost import Cost, ProportionalCost
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names

Tell = Callable[[str], None]

BATCH = 64
"""Test images per forward pass: more do not fit the caches of a core."""

KEPT_PREPARATIONS = 3
"""How many are held at a time: block-OBS keeps the updates of every removal."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images.

    Parameters
    ----------
    calibration
        For scores and compensation.
    headline, other
        Test images of headline cells, and of all others (the first ones of the same).
    distillation
        Training images per epoch; None = the data set's own number.
    """

    calibration: int = 256
    headline: int = 12_000
    other: int = 3_072
    distillation: int | None = None

    def of(self, cell: Cell) -> int:
        """Return the number of test images of a cell."""
        return self.headline if cell.headline else self.other


class Bench:
    """One model and data set under comparison.

    Parameters
    ----------
    model_name, data
        See `load_model` and `load_dataset`.
    table
        Where finished cells go.
    sizes
        How many images.
    tell
        Called with what is being done.

    Raises
    ------
    LspsimError
        When model and data do not fit, or the table is of another comparison.
    """

    def __init__(
        self, model_name: str, data: str, table: Table, sizes: Sizes, tell: Tell | None = None
    ) -> None:
        self.tell = tell or (lambda _: None)
        self.model_name, self.data, self.table, self.sizes = model_name, data, table, sizes
        self.model = load_model(model_name)
        self.digest = model_digest(self.model)
        table.check(self.digest, data, sizes.calibration)
        self.workload = workload_from_model(self.model)
        self.tell("loading test images")
        self._test = _at_most(data, "test", max(sizes.headline, sizes.other), self.model)
        self._dense = torch.empty(0)
        self._prepared: OrderedDict[tuple[object, ...], tuple[Prepared, float]] = OrderedDict()
        self._calibration: dict[int, ImageSet] = {}

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Return the cells that are not finished, or on fewer images than asked for."""
        rows = self.table.rows
        return [c for c in cells if c not in rows or rows[c].images < self._test_images(c)]

    def measure(self, cell: Cell) -> Row:
        """Prune one network, measure it, and keep the result."""
        test = self._images(self._test_images(cell))
        reference = self._dense[: len(test)]
        start = time.perf_counter()
        if cell.sparsity:
            prepared, prepare_s = self._prepare(cell)
            start = time.perf_counter()
            pruned = self._prune(cell, prepared)
            network = pruned.model
        else:
            pruned, prepare_s = None, 0.0
            network = load_model(self.model_name)
        if cell.distilled:
            self.tell(f"{cell.key}: distilling")
            self._distil(cell, network, pruned)
        prune_s = time.perf_counter() - start
        self.tell(f"{cell.key}: measuring on {len(test)} images")
        start = time.perf_counter()
        named: list[torch.Tensor] = []
        hook = network.register_forward_hook(lambda _, __, y: named.append(y.argmax(1).cpu()))
        try:
            found = quality(network, test, reference, BATCH)
        finally:
            hook.remove()
        measure_s = time.perf_counter() - start
        right = _right(torch.cat(named), test)
        dense = _right(reference.argmax(1), test)
        row = self._row(cell, pruned, found, dense, (prepare_s, prune_s, measure_s))
        self.table.add(row, right, dense)
        return row

    def _test_images(self, cell: Cell) -> int:
        """Return how many test images a cell gets: as asked for, or all there are."""
        return min(self.sizes.of(cell), len(self._test))

    def _images(self, count: int) -> ImageSet:
        """Return the first test images, and see to the dense network's logits on them."""
        test = self._test.first(count)
        known = len(self._dense)
        if known < len(test):
            self.tell(f"dense network on {len(test)} images")
            rest = replace(
                test,
                labels=test.labels[known:],
                read=lambda numbers: test.read(np.asarray(numbers) + known),
            )
            new = reference_logits(self.model, rest, BATCH)
            self._dense = torch.cat([self._dense.reshape(-1, new.shape[1]), new])
        return test

    def _prepare(self, cell: Cell) -> tuple[Prepared, float]:
        """Return the preparation of a cell, made or found, and how long it took."""
        if cell.preparation not in self._prepared:
            if cell.seed not in self._calibration:
                self._calibration[cell.seed] = load_dataset(
                    self.data,
                    "calibration",
                    self.sizes.calibration,
                    seed=cell.seed,
                    model=self.model,
                )
            start = time.perf_counter()
            prepared = prepare(
                self.model,
                self._calibration[cell.seed],
                self.workload,
                cell.recipe,
                tell=lambda text: self.tell(f"{cell.key}: {text}"),
            )
            self._prepared[cell.preparation] = prepared, time.perf_counter() - start
            while len(self._prepared) > KEPT_PREPARATIONS:
                self._prepared.popitem(last=False)
        self._prepared.move_to_end(cell.preparation)
        prepared, seconds = self._prepared[cell.preparation]
        return replace(prepared, recipe=cell.recipe), seconds

    def _prune(self, cell: Cell, prepared: Prepared) -> Pruned:
        cost = _macs_only(self.workload)
        budget = sparsity_budget(self.workload, cell.sparsity)
        return prune(
            prepared,
            self.workload,
            (budget,),
            cost,
            cost,
            tell=lambda text: self.tell(f"{cell.key}: {text}"),
        )

    def _distil(self, cell: Cell, network: nn.Module, pruned: Pruned | None) -> None:
        place = self.table.path.with_suffix(".distil") / cell.key
        place.mkdir(parents=True, exist_ok=True)
        finetune(
            network,
            self.model,
            {} if pruned is None else pruned.masks,
            self.data,
            place,
            PRESETS["short"],
            epoch_images=self.sizes.distillation,
            seed=cell.seed,
        )

    def _row(
        self,
        cell: Cell,
        pruned: Pruned | None,
        found: Quality,
        dense: Bits,
        seconds: tuple[float, float, float],
    ) -> Row:
        before = float(dense.mean())
        prepare_s, prune_s, measure_s = (round(value, 2) for value in seconds)
        outcome = pruned.outcome if pruned else None
        return Row(
            model=self.model_name,
            data=self.data,
            score=cell.method.score,
            compensate=cell.method.compensate,
            allocate=cell.method.allocate,
            block=cell.block,
            sparsity_target=cell.sparsity,
            seed=cell.seed,
            distilled=cell.distilled,
            basis=cell.recipe.basis if cell.method.compensate == "full" else "own",
            images=found.images,
            top1_dense=before,
            top1=found.top1,
            drop_points=100 * (before - found.top1),
            kl_nats=found.kl_nats,
            lost=found.lost,
            won=found.won,
            mcnemar_p=found.p_value,
            sparsity=pruned.sparsity if pruned else 0.0,
            macs_left=outcome.cost.macs / outcome.dense.macs if outcome else 1.0,
            unit=outcome.unit if outcome else "nats",
            loss=outcome.loss if outcome else 0.0,
            coupled_blocks=pruned.coupled if pruned else 0,
            damping=max((layer.damping for layer in pruned.report), default=0.0) if pruned else 0.0,
            prepare_s=prepare_s,
            prune_s=prune_s,
            measure_s=measure_s,
            calibration_images=self.sizes.calibration,
            model_digest=self.digest,
            lspsim=version("lspsim"),
            torch=version("torch"),
            timm=version("timm"),
            numpy=np.__version__,
            python=sys.version.split()[0],
            threads=torch.get_num_threads(),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def sparsity_budget(workload: Workload, per_cent: int) -> Budget:
    """Return the MAC budget that leaves `100 - per_cent` % of the prunable weights' MACs.

    Everything else (attention's products, patch embedding, head) stays.

    Raises
    ------
    LspsimError
        When the sparsity is not within 0 to 100.
    """
    if not 0 < per_cent < 100:
        raise LspsimError(f"sparsity {per_cent} %: give a whole number of per cent from 1 to 99")
    names = set(prunable_names(workload))
    prunable = sum(gemm.macs_dense for gemm in workload.gemms if gemm.name in names)
    left = workload.macs_dense - Fraction(per_cent, 100) * prunable
    return Budget("macs", Fraction(floor(left)), relative=False)


def model_digest(model: nn.Module) -> str:
    """Return 16 hex digits of SHA-256 over all weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _macs_only(workload: Workload) -> ProportionalCost:
    """Return a cost model that counts MACs; cycles and energy stand for them in like shares."""
    macs = float(workload.macs_dense)
    return ProportionalCost(Cost(macs, macs, macs, macs))


def _at_most(data: str, split: str, count: int, model: nn.Module) -> ImageSet:
    """Return `count` images, or all where a data set has fewer."""
    if data in ("glyphs", "glyphs-hard"):
        return load_dataset(data, split, count, model=model)
    return load_dataset(data, split, model=model).first(count)


def _right(named: torch.Tensor, images: ImageSet) -> Bits:
    """Return which images are named right, bool `[images]`."""
    found: Bits = (named == images.labels).numpy()
    return found
