"""One training loop for `train` and `finetune`, which survives kills.

All random numbers of an epoch come from (seed, epoch), and everything else
lies in the state file, written after each epoch: a run that was killed and
resumed ends with the weights of one that was not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from lspsim.errors import ModelError
from lspsim.train.device import multiplies_bf16
from lspsim.train.state import read_state, write_state

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From images and labels on the device to the mean loss of the batch."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How weights are fitted: AdamW with a warm-up and a cosine to `final_fraction`.

    Parameters
    ----------
    epochs, batch_size
        Passes and images per step.
    learning_rate
        The peak.
    weight_decay
        On matrices only: biases, norms, the class token and position
        embeddings are left out, as in timm's and DeiT's recipes.
    betas
        AdamW's decay rates of the two moments.
    warmup_steps
        Steps of the linear rise; at most a tenth of all steps are used.
    final_fraction
        Where the cosine ends, as a share of the peak.
    clip
        Largest norm of the gradient; None leaves it alone.
    bf16
        Run the matrix products in bfloat16 where the device has them in
        hardware (weights and updates stay float32).
    ema_decay
        Keep an exponential average of the weights and end with it; None: do not.
    """

    epochs: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    warmup_steps: int = 0
    final_fraction: float = 0.0
    clip: float | None = 1.0
    bf16: bool = False
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ModelError(f"{name} must be above 0, got {getattr(self, name)}")

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of step `step` of `steps`, counted from 0."""
        warmup = min(self.warmup_steps, steps // 10)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * cosine)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch brought: `loss` is the mean over its steps, `seconds` its wall time."""

    epoch: int
    loss: float
    seconds: float
    scores: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a run does besides descending.

    Parameters
    ----------
    after_step
        Called after each update of the weights (masks are re-applied here).
    after_epoch
        Measures the model after an epoch, with the averaged weights if the recipe
        averages; its numbers go into the record.
    """

    after_step: Callable[[], None] = lambda: None
    after_epoch: Callable[[], dict[str, float]] = dict


@dataclass(frozen=True, slots=True)
class KeepBest:
    """End with the weights of the best epoch, or those of the start, instead of the last ones.

    Parameters
    ----------
    score
        Which number of `Hooks.after_epoch` decides: the least is best, the first of equals.
    start
        That number before the first epoch.
    """

    score: str
    start: float

    def epochs(self, records: Sequence[EpochRecord]) -> int:
        """Return how many epochs the best weights have seen; 0: those of the start are best."""
        values = [self.start, *(record.scores[self.score] for record in records)]
        return values.index(min(values))


def run(
    model: nn.Module,
    recipe: Recipe,
    batches: Callable[[int], Batches],
    steps_per_epoch: int,
    loss: Loss,
    state_file: Path,
    identity: Mapping[str, Any],
    *,
    seed: int = 0,
    resume: bool = True,
    hooks: Hooks | None = None,
    keep_best: KeepBest | None = None,
    shards: int = 1,
    progress: bool = False,
    title: str = "training",
) -> list[EpochRecord]:
    """Fit `model` in place, on the device where it lies.

    Parameters
    ----------
    model
        Ends in evaluation mode, with the averaged weights if the recipe averages; with
        those of the best epoch under `keep_best`.
    recipe
        See `Recipe`.
    batches
        Gives the batches of an epoch, counted from 0; must depend on nothing else.
    steps_per_epoch
        Number of those batches.
    loss
        See `Loss`.
    state_file
        Written after each epoch; the run goes on from it if `resume`.
    identity
        Settings that a run must share with the state file to be its continuation.
    seed
        Of whatever is random inside the model.
    resume
        False starts over and replaces the state file.
    hooks
        See `Hooks`.
    keep_best
        See `KeepBest`; None: the run ends with the last weights.
    shards
        Parts of each batch that are worked on at once, in threads. On few cores
        and small models this scales where torch's own threads do not; it
        changes the rounding of the summed gradient and nothing else.
    progress
        Show a progress bar.
    title
        Its label.

    Returns
    -------
    One record per epoch, those before a kill included.

    Raises
    ------
    ModelError
        When the loss is no longer finite, the state file cannot be written, or
        it belongs to another run.
    """
    hooks = hooks or Hooks()
    optimizer = _optimizer(model, recipe)
    device = next(model.parameters()).device
    steps = recipe.epochs * steps_per_epoch
    average = _copy(model) if recipe.ema_decay is not None else None
    best = _copy(model) if keep_best is not None else None
    records: list[EpochRecord] = []
    if resume and (state := read_state(state_file, identity)) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        records = [EpochRecord(**record) for record in state["records"]]
        if average is not None:
            average = {key: value.to(device) for key, value in state["average"].items()}
        if best is not None:
            best = {key: value.to(device) for key, value in state["best"].items()}
    with (
        _bar(progress) as bar,
        _plain_attention(model),
        ThreadPoolExecutor(shards) as threads,
    ):
        bf16 = recipe.bf16 and multiplies_bf16(device)
        gradients = partial(_gradients, model, loss, bf16, threads, shards)
        task = bar.add_task(title, total=steps, completed=len(records) * steps_per_epoch)
        for epoch in range(len(records), recipe.epochs):
            started, total = time.perf_counter(), torch.zeros((), device=device)
            model.train()
            with torch.random.fork_rng():
                torch.manual_seed(seed * 1_000_003 + epoch)
                for index, (images, labels) in enumerate(batches(epoch)):
                    step = epoch * steps_per_epoch + index
                    for group in optimizer.param_groups:
                        group["lr"] = recipe.rate_at(step, steps)
                    value = gradients(images.to(device), labels.to(device))
                    if recipe.clip is not None:
                        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
                    optimizer.step()
                    hooks.after_step()
                    if average is not None and recipe.ema_decay is not None:
                        _move(average, model, recipe.ema_decay)
                    total += value
                    bar.update(task, advance=1)
            mean = float(total) / steps_per_epoch
            if not math.isfinite(mean):
                raise ModelError(
                    f"{title}: the loss of epoch {epoch + 1} is not finite; use a lower learning "
                    f"rate than {recipe.learning_rate:g}. Earlier epochs are kept in {state_file}"
                )
            with _averaged(model, average):
                scores = hooks.after_epoch()
                records.append(EpochRecord(epoch, mean, time.perf_counter() - started, scores))
                if keep_best is not None and keep_best.epochs(records) == len(records):
                    best = _copy(model)
            shown = "".join(f", {name} {score:.4f}" for name, score in scores.items())
            bar.update(task, description=f"{title}: loss {mean:.4f}{shown}")
            content = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average or {},
                "best": best or {},
                "records": [
                    {"epoch": r.epoch, "loss": r.loss, "seconds": r.seconds, "scores": r.scores}
                    for r in records
                ],
            }
            write_state(state_file, identity, content)
    final = average if best is None else best
    if final is not None:
        model.load_state_dict(final)
    model.eval()
    return records


def _gradients(
    model: nn.Module,
    loss: Loss,
    bf16: bool,
    threads: ThreadPoolExecutor,
    shards: int,
    images: torch.Tensor,
    labels: torch.Tensor,
) -> torch.Tensor:
    """Set the gradients of the mean loss of a batch, and return that loss."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]

    def work(part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        # the cast weights must not be shared between threads
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            value = loss(*part) * (len(part[1]) / len(labels))
        return value.detach(), *torch.autograd.grad(value, weights)

    parts = list(zip(images.chunk(shards), labels.chunk(shards), strict=True))
    results = [work(parts[0])] if len(parts) == 1 else list(threads.map(work, parts))
    value, *gradients = (torch.stack(same).sum(0) for same in zip(*results, strict=True))
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    return value


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with the decay on matrices only."""
    kept_out = ("cls_token", "dist_token", "pos_embed", "relative_position_bias_table")
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, weight in model.named_parameters():
        is_matrix = weight.ndim >= 2 and not name.endswith(kept_out)
        (decayed if is_matrix else free).append(weight)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas)


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _move(average: dict[str, torch.Tensor], model: nn.Module, decay: float) -> None:
    """Move the average of the weights towards the model's."""
    for key, value in model.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value.detach(), 1 - decay)
        else:
            average[key].copy_(value)


@contextmanager
def _averaged(model: nn.Module, average: dict[str, torch.Tensor] | None) -> Iterator[None]:
    """Give the model the averaged weights, if there are any, and its own ones back."""
    if average is None:
        yield
        return
    own = _copy(model)
    model.load_state_dict(average)
    try:
        yield
    finally:
        model.load_state_dict(own)


@contextmanager
def _plain_attention(model: nn.Module) -> Iterator[None]:
    """Train on a CPU without torch's fused attention: same numbers, a third of the time.

    At 65 tokens of 3 heads (batch 64, one core) the backward pass of the fused
    kernel took half of all the time of a step.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    fused = [m for m in model.modules() if on_cpu and getattr(m, "fused_attn", False)]
    for module in fused:
        module.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True  # type: ignore[assignment]


def _bar(progress: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeRemainingColumn(),
        disable=not progress,
    )
