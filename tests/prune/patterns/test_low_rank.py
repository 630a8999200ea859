"""A network of low rank at equal MACs: ranks, budget, and the fit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from lspsim.calibrate.statistics import collect
from lspsim.errors import LspsimError
from lspsim.models import workload_from_model
from lspsim.models.data import ImageSet
from lspsim.networks.quality import quality, reference_logits
from lspsim.prune.compensate import compensate
from lspsim.prune.patterns.low_rank import low_rank, spectrum
from lspsim.prune.patterns.low_rank.correct import corrected_loss, put
from lspsim.prune.patterns.low_rank.share import factored_ranks, rank_macs, share_ranks
from lspsim.workload import Gemm, Workload
from lspsim.workload.generate import prunable_names
from tests.models import vit_cases


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices: a second thread costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def image_set(count: int, seed: int) -> ImageSet:
    pixels = vit_cases.images(count, seed)
    classes = tuple("abcdefg")
    labels = torch.arange(count) % len(classes)
    return ImageSet("noise", "calibration", labels, classes, lambda numbers: pixels[numbers])


class Case:
    """The tiny ViT with enough images that a fit holds on others."""

    def __init__(self) -> None:
        self.model = vit_cases.vit()
        self.workload = workload_from_model(self.model)
        self.names = prunable_names(self.workload)
        self.gemms = {gemm.name: gemm for gemm in self.workload.gemms}
        self.images = image_set(96, 1)

    def statistics(self):
        return collect(self.model, self.images.batches(32), self.names, {"gram", "row_gain"})

    def low_rank(self, sparsity, **options):
        return low_rank(self.model, self.images, self.workload, sparsity, **options)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def rank_of(weight: torch.Tensor) -> int:
    """Rank up to the rounding to float32."""
    values = torch.linalg.svdvals(weight.detach().double())
    return int((values > 1e-6 * values.max()).sum()) if values.max() > 0 else 0


@pytest.mark.parametrize("refit", [True, False])
def test_weights_have_the_ranks_and_the_model_is_untouched(case, refit) -> None:
    before = {name: value.clone() for name, value in case.model.state_dict().items()}
    found = case.low_rank(60, refit=refit)
    assert list(found.ranks) == list(case.names)
    for name, rank in found.ranks.items():
        assert rank_of(found.model.get_submodule(name).weight) == rank
    assert all(torch.equal(value, before[n]) for n, value in case.model.state_dict().items())


@pytest.mark.parametrize("sparsity", [5, 30, 60, 90])
def test_the_budget_is_met_within_one_rank(case, sparsity) -> None:
    found = case.low_rank(sparsity, refit=False)
    own = [case.gemms[name] for name in case.names]
    spent = sum(rank_macs(gemm, found.ranks[gemm.name]) for gemm in own)
    dense = sum(gemm.macs_dense for gemm in own)
    assert spent <= (1 - Fraction(sparsity, 100)) * dense
    assert found.sparsity == pytest.approx(1 - spent / dense)
    assert found.macs == case.workload.macs_dense - dense + spent
    assert found.macs_left_fraction == found.macs / case.workload.macs_dense
    slack = (1 - sparsity / 100) * dense - spent
    steps = [
        rank_macs(g, r + 1) - rank_macs(g, r) for g, r in ((g, found.ranks[g.name]) for g in own)
    ]
    assert slack < min(step for step in steps if step > 0)


def test_macs_of_a_rank() -> None:
    gemm = Gemm("g", m=3, n=12, k=4)
    assert [rank_macs(gemm, rank) // 3 for rank in range(5)] == [0, 16, 32, 48, 48]
    assert factored_ranks(gemm) == 3  # rank 3 costs what the dense weight does


def test_ranks_are_the_best_there_are() -> None:
    """Oracle: every reachable sum of MACs with its least loss, layer by layer."""
    rng = np.random.default_rng(0)
    gemms = [
        Gemm(f"blocks.{i}.mlp.fc1", m=5, n=n, k=k)
        for i, (n, k) in enumerate([(12, 8), (8, 24), (6, 6), (16, 8)])
    ]
    workload = Workload([*gemms, Gemm("head", m=1, n=10, k=8)])
    losses = {}
    for gemm in gemms:
        tails = np.sort(rng.exponential(size=min(gemm.n, gemm.k)) ** 2)
        losses[gemm.name] = np.r_[0, tails.cumsum()][::-1]
    dense = sum(gemm.macs_dense for gemm in gemms)
    for sparsity in (15, 40, 75):
        reached = {0: 0.0}
        for gemm in gemms:
            further: dict[int, float] = {}
            for rank, loss in enumerate(losses[gemm.name].tolist()):
                for macs, total in reached.items():
                    at = macs + rank_macs(gemm, rank)
                    further[at] = min(further.get(at, np.inf), total + loss)
            reached = further
        left = (1 - sparsity / 100) * dense
        best = min(loss for macs, loss in reached.items() if macs <= left)
        found = share_ranks(losses, workload, sparsity)
        assert found.loss == pytest.approx(best)
        assert found.costs["macs"] <= left + 80
        assert found.bound <= best


def test_without_a_reason_to_factor_layers_stay_dense(case) -> None:
    """One per cent comes off the layers that lose least; no dense one is moved off its weight."""
    found = case.low_rank(1, refit=False)
    dense = [n for n in case.names if found.ranks[n] == min(case.gemms[n].n, case.gemms[n].k)]
    assert len(dense) >= 4
    for name in dense:
        for mine, theirs in zip(
            found.model.get_submodule(name).parameters(),
            case.model.get_submodule(name).parameters(),
            strict=True,
        ):
            assert torch.equal(mine, theirs)


def test_a_solver_at_full_rank_reproduces_the_dense_network(case) -> None:
    from lspsim.prune.patterns.low_rank.refit import reduced_rank_refit

    seen = []

    def solve(name, weight, gram, cross):
        seen.append(name)
        return reduced_rank_refit(
            weight, gram, cross, np.ones(len(weight)), min(weight.shape), 0.01
        )

    done = compensate(case.model, {}, case.images.batches(32), solver=solve)
    assert seen == list(case.names)
    reference = reference_logits(case.model, case.images)
    assert (reference_logits(done.model, case.images) - reference).abs().max() < 1e-4


def test_the_fit_beats_truncation() -> None:
    """On other images, over three random networks: one alone is a matter of luck."""
    calibration, fresh = image_set(192, 1), image_set(256, 9)
    errors = {True: 0.0, False: 0.0}
    for seed in range(3):
        model = vit_cases.vit(seed, depth=4)
        workload = workload_from_model(model)
        reference = reference_logits(model, fresh)
        found = {fit: low_rank(model, calibration, workload, 60, refit=fit) for fit in errors}
        assert found[True].ranks == found[False].ranks
        assert found[True].loss_nats == found[False].loss_nats > 0
        for fit, network in found.items():
            errors[fit] += quality(network.model, fresh, reference).kl_nats
    assert errors[True] < 0.85 * errors[False]


def test_truncation_keeps_the_mean_output(case) -> None:
    told: list[str] = []
    plain = case.low_rank(60, refit=False, tell=told.append)
    assert told[0] == "gathering layer statistics"
    assert told[-1] == "allocating ranks"
    name = case.names[0]  # its inputs are those of the dense network
    mean = torch.from_numpy(case.statistics()[name].input_mean).float()
    outputs = [m.get_submodule(name)(mean) for m in (plain.model, case.model)]
    assert torch.allclose(*outputs, atol=1e-5)


def test_losses_are_corrected_to_what_was_measured(case) -> None:
    name = "blocks.1.mlp.fc2"
    own = case.statistics()[name]
    found = spectrum(own.weight, own.gram, own.row_gain)
    few = case.images.first(32)
    reference = reference_logits(case.model, few)
    layer = case.model.get_submodule(name)
    before = [value.clone() for value in layer.parameters()]

    def measure() -> float:
        return quality(case.model, few, reference).kl_nats

    loss = corrected_loss(layer, own, found, measure)
    assert all(torch.equal(*pair) for pair in zip(before, layer.parameters(), strict=True))
    n, k = own.weight.shape
    for left in (0.5, 0.2):
        rank = round(left * n * k / (n + k))
        put(layer, own, found.weight_at(rank))
        measured = measure()
        put(layer, own, own.weight)
        assert loss[rank] == pytest.approx(measured, rel=1e-6)
    assert loss[-1] == 0
    assert (np.diff(loss) <= 0).all()


def test_the_seed_decides(case) -> None:
    one, same, other = (case.low_rank(60, seed=seed, refit=False) for seed in (1, 1, 2))
    assert one.loss_nats == same.loss_nats != other.loss_nats


@pytest.mark.parametrize("sparsity", [0, 100, -3])
def test_sparsities_that_mean_nothing(case, sparsity) -> None:
    with pytest.raises(LspsimError, match="give per cent above 0 and below 100"):
        case.low_rank(sparsity)


def test_a_solver_goes_with_least_squares_only(case) -> None:
    with pytest.raises(LspsimError, match="takes the place of 'least-squares', not of 'bias'"):
        compensate(case.model, {}, [], "bias", solver=lambda *_: None)
