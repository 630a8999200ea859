"""`low_rank`: a vision transformer whose layers are products of low rank, compensated."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lspsim.allocate.correction import put
from lspsim.arrays import FloatArray
from lspsim.calibrate.statistics import LayerStatistics, collect
from lspsim.calibrate.streaming import linear_layers
from lspsim.models.data import ImageSet
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.compensate.refit import Refit
from lspsim.prune.compensate.sequential import compensate
from lspsim.prune.patterns.low_rank.correct import corrected_loss
from lspsim.prune.patterns.low_rank.refit import reduced_rank_refit
from lspsim.prune.patterns.low_rank.share import share_ranks
from lspsim.prune.patterns.low_rank.truncate import spectrum
from lspsim.workload import Workload
from lspsim.workload.generate import prunable_names

CORRECTION_IMAGES = 32
"""Calibration images for the measured KL of single layers; as many as block pruning's."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """A network of low rank, stored as dense weights of that rank.

    Parameters
    ----------
    model
        timm model; the one it was made from is untouched.
    ranks
        Of every prunable layer; min(N, K) where it stays dense.
    macs, macs_dense
        Multiply-accumulates of one whole inference, with each layer as the
        product of its two factors, and before.
    sparsity
        Share of the prunable layers' MACs that is removed, in [0, 1].
    loss_nats
        What the truncations were estimated to cost before compensation, per
        image.
    damping
        Largest relative damping that a layer needed.
    """

    model: nn.Module
    ranks: Mapping[str, int]
    macs: int
    macs_dense: int
    sparsity: float
    loss_nats: float
    damping: float

    @property
    def macs_left_fraction(self) -> float:
        """Share of the whole inference's MACs that is left."""
        return self.macs / self.macs_dense


def low_rank(
    model: nn.Module,
    images: ImageSet,
    workload: Workload,
    sparsity_percent: float,
    damping: float = 0.01,
    seed: int = 0,
    tell: Tell | None = None,
    *,
    refit: bool = True,
    batch_size: int = 32,
) -> LowRank:
    """Bring the prunable layers to the ranks that lose least within a budget of MACs.

    Ranks come from the dense network's statistics, in the units and with the
    correction of block-OBS's curves (`spectrum`, `corrected_loss`, `share_ranks`).
    Then, layer after layer, each weight is fitted by reduced-rank regression
    to the inputs that the network so far gives it, toward the dense network:
    the same walk, targets and ridge as block pruning's (`compensate`).

    Parameters
    ----------
    model
        timm ViT, DeiT or Swin in float32, with biases; left untouched.
    images
        Calibration images.
    workload
        Operators of one inference of `model`; names the prunable layers.
    sparsity_percent
        Share of the prunable layers' MACs to remove, above 0 and below 100.
    damping
        Relative to the mean diagonal of each layer's Gram.
    seed
        Of the sampled labels.
    tell
        Called with what is being done.
    refit
        False truncates each layer by its own dense inputs and restores its
        mean output: no compensation across layers.
    batch_size
        Images per forward and backward pass.

    Raises
    ------
    LspsimError
        When the sparsity is out of range, or statistics are not finite.
    ModelError
        For a model whose forward pass is not known.
    """
    say = tell or (lambda _: None)
    names = prunable_names(workload)
    say("gathering layer statistics")
    found = collect(model, images.batches(batch_size), names, {"gram", "row_gain"}, seed=seed)
    losses, used = _losses(model, found, images.first(CORRECTION_IMAGES), damping, say)
    say("allocating ranks")
    chosen = share_ranks(losses, workload, sparsity_percent)
    ranks = {name: losses[name].size - 1 - chosen.choice[name].removed for name in names}
    if refit:
        say("compensating")

        def solve(name: str, weight: Tensor, gram: Tensor, cross: Tensor) -> Refit:
            gain = found[name].row_gain
            return reduced_rank_refit(weight, gram, cross, gain, ranks[name], damping)

        done = compensate(model, {}, images.batches(batch_size), damping=damping, solver=solve)
        result = done.model
        used = max(used, *(fit.damping for fit in done.report))
    else:
        result = truncated(model, found, ranks, damping)
    macs = round(chosen.costs["macs"])
    dense = workload.macs_dense
    own = sum(gemm.macs_dense for gemm in workload.gemms if gemm.name in ranks)
    return LowRank(result, ranks, macs, dense, (dense - macs) / own, chosen.loss, used)


def _losses(
    model: nn.Module,
    statistics: Mapping[str, LayerStatistics],
    images: ImageSet,
    damping: float,
    say: Tell,
) -> tuple[dict[str, FloatArray], float]:
    """Return every layer's loss by rank, corrected, and the largest damping needed."""
    model = copy.deepcopy(model)
    reference = reference_logits(model, images)
    losses, used = {}, damping
    for name, layer in linear_layers(model, list(statistics)).items():
        say(f"singular values: {name}")
        own = statistics[name]
        found = spectrum(own.weight, own.gram, own.row_gain, damping)
        losses[name] = corrected_loss(
            layer, own, found, lambda: quality(model, images, reference).kl_nats
        )
        used = max(used, found.damping)
    return losses, used


def truncated(
    model: nn.Module,
    statistics: Mapping[str, LayerStatistics],
    ranks: Mapping[str, int],
    damping: float,
) -> nn.Module:
    """Return a copy of `model` with each layer truncated on its own, mean outputs restored."""
    result = copy.deepcopy(model)
    for name, layer in linear_layers(result, list(ranks)).items():
        own = statistics[name]
        if ranks[name] < min(own.weight.shape):
            found = spectrum(own.weight, own.gram, own.row_gain, damping)
            put(layer, own, found.weight_at(ranks[name]))
    return result
