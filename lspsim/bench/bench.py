"""`Bench`: prune and measure cell by cell; what is finished stays.

Sparsity is held as a budget of multiply-accumulates: a prunable layer costs its
input rows times its kept weights, so that removing a share of these MACs removes the
same share of the prunable weights wherever all of them see equally many rows (ViT,
DeiT; in Swin the stages differ). No chip is in the loop: this compares scores,
compensation and allocation at equal MACs.
"""

from __future__ import annotations

import copy
import hashlib
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

from lspsim.allocate.budgets import macs_only, prunable_macs, sparsity_budget
from lspsim.bench.cells import RIVAL, Cell
from lspsim.bench.results import Bits, Row, Table
from lspsim.errors import LspsimError
from lspsim.models import load_model, workload_from_model
from lspsim.models.data import ImageSet, load_dataset
from lspsim.networks.quality import Quality, compare, reference_logits
from lspsim.prune.patterns.low_rank import low_rank
from lspsim.prune.patterns.units import structured_masks
from lspsim.prune.pipeline import Prepared, Pruned, make_up, prepare, prune
from lspsim.train.finetune import KL, PRESETS, finetune
from lspsim.workload import BlockMask

Tell = Callable[[str], None]

BATCH = 64
"""Test images per forward pass: more do not fit the caches of a core."""

LEARNING_RATES = (1e-4, 4e-4, 1e-3)
"""Of distillation: every configuration, baselines included, takes the one that leaves it
nearest to dense on validation images."""

KEPT_PREPARATIONS = 3
"""How many are held at a time: each has a model and the Grams of all its layers."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images.

    Parameters
    ----------
    calibration
        For scores and compensation.
    headline, other
        Test images of cells that are to be precise, and of all others (the first ones of
        the same).
    distillation
        Training images per epoch; None = the data set's own number.
    """

    calibration: int = 256
    headline: int = 12_000
    other: int = 3_072
    distillation: int | None = None

    def of(self, cell: Cell) -> int:
        """Return the number of test images of a cell."""
        return self.headline if cell.precise else self.other


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    """A network to measure, and what its row says of how it came about."""

    network: nn.Module
    sparsity: float
    macs_left: float
    unit: str = "nats"
    loss: float = 0.0
    coupled: int = 0
    damping: float = 0.0
    masks: Mapping[str, BlockMask] = field(default_factory=dict)
    learning_rate: float = 0.0


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
        start = time.perf_counter()
        prepared, prepare_s = None, 0.0
        if cell.sparsity and cell.method.pattern != "rank":
            prepared, prepare_s = self._prepare(cell)
            start = time.perf_counter()
        made = self._make(cell, prepared)
        if cell.distilled:
            made = self._distilled(cell, made)
        return self._measured(cell, made, test, prepare_s, time.perf_counter() - start)

    def measure_rival(self, name: str) -> Row:
        """Measure a smaller dense network, trained on the same classes, as a control.

        Its sparsity is what its prunable layers save of those of the model under
        comparison, in MACs.

        Parameters
        ----------
        name
            As `load_model` takes it.

        Raises
        ------
        LspsimError
            When it is not smaller.
        """
        rival = load_model(name)
        workload = workload_from_model(rival)
        left = prunable_macs(workload) / prunable_macs(self.workload)
        if not left < 1:
            raise LspsimError(f"{name} has no fewer MACs in its layers than {self.model_name}")
        cell = Cell(RIVAL, 0, 0, round(100 * (1 - left)))
        macs_left = workload.macs_dense / self.workload.macs_dense
        made = _Made(rival, 1 - left, macs_left)
        return self._measured(cell, made, self._images(self._test_images(cell)), 0.0, 0.0)

    def _make(self, cell: Cell, prepared: Prepared | None) -> _Made:
        """Return the network of a cell."""
        if cell.method.pattern == "rank":
            found = low_rank(
                self.model,
                self._calibration_images(cell.seed),
                self.workload,
                cell.sparsity,
                seed=cell.seed,
                tell=lambda text: self.tell(f"{cell.key}: {text}"),
            )
            left, loss = found.macs_left_fraction, found.loss_nats
            return _Made(found.model, found.sparsity, left, loss=loss, damping=found.damping)
        if prepared is None:
            return _Made(load_model(self.model_name), 0.0, 1.0)
        if cell.method.pattern == "units":
            return self._structured(cell, prepared)
        pruned = self._prune(cell, prepared)
        outcome = pruned.outcome
        return _Made(
            pruned.model,
            pruned.sparsity,
            outcome.cost.macs / outcome.dense.macs,
            outcome.unit,
            outcome.loss,
            pruned.coupled,
            max((layer.damping for layer in pruned.report), default=0.0),
            pruned.masks,
        )

    def _structured(self, cell: Cell, prepared: Prepared) -> _Made:
        """Return the network of structured pruning that saves the MACs of a cell."""
        dense = self.workload.macs_dense
        limit = int(sparsity_budget(self.workload, cell.sparsity).limit)
        masks, loss = structured_masks(prepared, self.workload, dense - limit)
        left = macs_only(self.workload).cost(self.workload.with_masks(masks)).macs
        done = make_up(prepared, masks)
        return _Made(
            done.model,
            (dense - left) / prunable_macs(self.workload),
            left / dense,
            loss=loss,
            damping=max(layer.damping for layer in done.report),
            masks=masks,
        )

    def _measured(
        self, cell: Cell, made: _Made, test: ImageSet, prepare_s: float, prune_s: float
    ) -> Row:
        """Measure a network, and keep the result."""
        self.tell(f"{cell.key}: measuring on {len(test)} images")
        start = time.perf_counter()
        reference = self._dense[: len(test)]
        logits = reference_logits(made.network, test, BATCH)
        found = compare(logits, test.labels, reference)
        seconds = (prepare_s, prune_s, time.perf_counter() - start)
        dense = _right(reference, test)
        row = self._row(cell, made, found, dense, seconds)
        self.table.add(row, _right(logits, test), dense)
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
            images = self._calibration_images(cell.seed)
            start = time.perf_counter()
            prepared = prepare(
                self.model,
                images,
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

    def _calibration_images(self, seed: int) -> ImageSet:
        if seed not in self._calibration:
            count = self.sizes.calibration
            self._calibration[seed] = load_dataset(
                self.data, "calibration", count, seed=seed, model=self.model
            )
        return self._calibration[seed]

    def _prune(self, cell: Cell, prepared: Prepared) -> Pruned:
        cost = macs_only(self.workload)
        budget = sparsity_budget(self.workload, cell.sparsity)
        return prune(
            prepared,
            self.workload,
            (budget,),
            cost,
            cost,
            tell=lambda text: self.tell(f"{cell.key}: {text}"),
        )

    def _distilled(self, cell: Cell, made: _Made) -> _Made:
        """Distil at several learning rates; keep what is nearest to dense on validation images."""
        best, least = made, np.inf
        for rate in LEARNING_RATES:
            self.tell(f"{cell.key}: distilling at a learning rate of {rate:g}")
            place = self.table.path.with_suffix(".distil") / f"{cell.key}-{rate:g}"
            place.mkdir(parents=True, exist_ok=True)
            preset = PRESETS["short"]
            network = copy.deepcopy(made.network)
            done = finetune(
                network,
                self.model,
                made.masks,
                self.data,
                place,
                replace(preset, recipe=replace(preset.recipe, learning_rate=rate)),
                epoch_images=self.sizes.distillation,
                seed=cell.seed,
                shards=torch.get_num_threads(),
            )
            if done.scores[KL] < least:
                kept = rate if done.epochs_kept else 0.0
                best, least = replace(made, network=network, learning_rate=kept), done.scores[KL]
        return best

    def _row(
        self,
        cell: Cell,
        made: _Made,
        found: Quality,
        dense: Bits,
        seconds: tuple[float, float, float],
    ) -> Row:
        before = float(dense.mean())
        prepare_s, prune_s, measure_s = (round(value, 2) for value in seconds)
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
            basis=cell.method.basis,
            couple=bool(cell.method.couple),
            pattern=cell.method.pattern,
            images=found.images,
            top1_dense=before,
            top1=found.top1,
            drop_points=100 * (before - found.top1),
            kl_nats=found.kl_nats,
            lost=found.lost,
            won=found.won,
            mcnemar_p=found.p_value,
            sparsity=made.sparsity,
            macs_left=made.macs_left,
            unit=made.unit,
            loss=made.loss,
            coupled_blocks=made.coupled,
            damping=made.damping,
            learning_rate=made.learning_rate,
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


def model_digest(model: nn.Module) -> str:
    """Return 16 hex digits of SHA-256 over all weights."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _at_most(data: str, split: str, count: int, model: nn.Module) -> ImageSet:
    """Return `count` images, or all where a data set has fewer."""
    if data in ("glyphs", "glyphs-hard"):
        return load_dataset(data, split, count, model=model)
    return load_dataset(data, split, model=model).first(count)


def _right(logits: torch.Tensor, images: ImageSet) -> Bits:
    """Return which images are classified correctly, bool `[images]`."""
    found: Bits = (logits.argmax(1) == images.labels).numpy()
    return found
