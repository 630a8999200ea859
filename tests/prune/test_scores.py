"""Scores against their definitions, spelled out image by image and weight by weight."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lspsim.calibrate import block_gradients, row_store  # noqa: E402
from lspsim.calibrate.block_gradients import collect_gradients  # noqa: E402
from lspsim.calibrate.block_grid import BlockGrid, block_grids  # noqa: E402
from lspsim.calibrate.statistics import collect  # noqa: E402
from lspsim.errors import LspsimError  # noqa: E402
from lspsim.models.torchvision_guard import import_timm  # noqa: E402
from lspsim.prune.scores import SCORES, score  # noqa: E402
from lspsim.prune.scores.fisher import greedy  # noqa: E402
from lspsim.prune.scores.terms import taylor_terms  # noqa: E402

LAYERS = tuple(f"blocks.1.{part}" for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"))
IMAGES = 16
BLOCK_OUT = {"blocks.1.attn.qkv": 8, "blocks.1.attn.proj": 12, **dict.fromkeys(LAYERS[2:], 16)}
BLOCK_IN = {"blocks.1.attn.qkv": 20, "blocks.1.attn.proj": 8, **dict.fromkeys(LAYERS[2:], 8)}


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    tiny = import_timm().models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=5
    )
    with torch.no_grad():
        for parameter in tiny.parameters():  # an untrained network's gradients are too even
            parameter.mul_(3) if parameter.ndim == 2 else None
    return tiny.eval()


def data() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(IMAGES, 3, 16, 16, generator=generator)
    return x, torch.randint(0, 5, (IMAGES,), generator=generator)


def batches(size: int = 6) -> list[tuple[Any, Any]]:
    x, y = data()
    return [(x[i : i + size], y[i : i + size]) for i in range(0, IMAGES, size)]


@pytest.fixture(scope="module")
def gradients(model: Any) -> dict[str, Any]:
    """Weight gradients [images, N, K] of each image's own loss, by autograd."""
    result: dict[str, list[Any]] = {name: [] for name in LAYERS}
    for image, label in zip(*data(), strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(image[None]), label[None]).backward()
        for name in LAYERS:
            result[name].append(model.get_submodule(name).weight.grad.double().numpy().copy())
    model.zero_grad()
    return {name: np.stack(found) for name, found in result.items()}


def block_sums(values: Any, block_out: int, block_in: int) -> Any:
    """Sum of each block, by slices, row-major."""
    rows, cols = range(0, values.shape[0], block_out), range(0, values.shape[1], block_in)
    return np.array([values[i : i + block_out, j : j + block_in].sum() for i in rows for j in cols])


def weight(model: Any, name: str) -> Any:
    return model.get_submodule(name).weight.detach().double().numpy()


def oracle_samples(model: Any, gradients: dict[str, Any], name: str) -> Any:
    products = weight(model, name) * gradients[name]
    return np.stack([block_sums(p, BLOCK_OUT[name], BLOCK_IN[name]) for p in products])


@pytest.mark.parametrize("gradient_bytes", [1, 2**23])
def test_per_image_scores_equal_autograd_on_each_image(
    model: Any, gradients: dict[str, Any], gradient_bytes: int, monkeypatch: Any
) -> None:
    monkeypatch.setattr(block_gradients, "GRADIENT_BYTES", gradient_bytes)
    grids = block_grids(model, LAYERS, BLOCK_OUT, BLOCK_IN)  # ragged edges in qkv and proj
    found = collect_gradients(model, batches(), grids, mean_gradient=True, labels="given")
    assert found.images == IMAGES
    for name in LAYERS:
        expected = oracle_samples(model, gradients, name)
        assert found.samples[name].dtype == np.float32
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found.samples[name], expected, rtol=1e-4, atol=1e-5 * scale)
        mean = gradients[name].mean(0)
        np.testing.assert_allclose(
            found.mean_gradient[name], mean, rtol=1e-4, atol=1e-5 * np.abs(mean).max()
        )
    alone = collect_gradients(
        model, batches(), grids, samples=False, mean_gradient=True, labels="given"
    )
    assert alone.samples == {}
    for name in LAYERS:
        np.testing.assert_allclose(
            alone.mean_gradient[name], found.mean_gradient[name], rtol=1e-3, atol=1e-7
        )


def test_scores_on_disk_equal_those_in_memory(model: Any) -> None:
    grids = block_grids(model, LAYERS, 8, 8)
    memory = collect_gradients(model, batches(), grids)
    disk = collect_gradients(model, batches(), grids, memory_bytes=5000)
    for name in LAYERS:
        assert not isinstance(memory.samples[name], np.memmap)
        assert isinstance(disk.samples[name], np.memmap)
        assert np.array_equal(memory.samples[name], disk.samples[name])
    curves = [
        score("fisher", model, batches(), LAYERS, 8, 8, memory_bytes=size)["blocks.1.mlp.fc1"]
        for size in (0, 2**30)
    ]
    assert np.array_equal(curves[0].order, curves[1].order)


def test_a_full_disk_is_one_clear_message(model: Any, monkeypatch: Any) -> None:
    class Full:
        closed = 0

        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            Full.closed += 1

    monkeypatch.setattr(row_store.tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(LspsimError, match=r"No space left on device; free space, set TMPDIR"):
        score("fisher", model, batches(), LAYERS, 8, 8, memory_bytes=5000)
    assert Full.closed == len(LAYERS)


def test_l1_wanda_and_taylor_sum_over_blocks(model: Any, gradients: dict[str, Any]) -> None:
    statistics = collect(model, batches(), LAYERS, {"input"})
    for name in LAYERS:
        w = weight(model, name)
        size = BLOCK_OUT[name], BLOCK_IN[name]
        expected = {
            "l1": block_sums(np.abs(w), *size),
            "wanda": block_sums(np.abs(w) * statistics[name].input_norm, *size),
            "taylor": block_sums(np.abs(w * gradients[name].mean(0)), *size),
        }
        for kind, values in expected.items():
            curve = score(kind, model, batches(), [name], BLOCK_OUT, BLOCK_IN)[name]
            assert curve.unit == {"l1": "weight", "wanda": "output", "taylor": "nats"}[kind]
            np.testing.assert_allclose(np.diff(curve.loss), values[curve.order], rtol=1e-3)
            assert (np.diff(values[curve.order]) > -1e-3 * values.max()).all()


def test_random_depends_on_seed_and_name_alone(model: Any) -> None:
    both = score("random", model, [], LAYERS, 8, 8, seed=3)
    alone = score("random", model, [], LAYERS[2:3], 8, 8, seed=3)
    other = score("random", model, [], LAYERS, 8, 8, seed=4)
    name = LAYERS[2]
    assert np.array_equal(both[name].order, alone[name].order)
    assert not np.array_equal(both[name].order, other[name].order)
    ragged = score("random", model, [], LAYERS[1:2], 12, 8)[LAYERS[1]]
    assert ragged.unit == "count"
    assert sorted(set(np.diff(ragged.loss))) == [64, 96]
    assert ragged.loss[-1] == 32 * 32


def brute_force(samples: Any, shrink: float) -> tuple[list[int], list[float]]:
    """Greedy over the explicit Gram: try every block at every step."""
    gram = samples.T.astype(np.float64) @ samples / len(samples)
    gram = (1 - shrink) * gram + shrink * np.diag(np.diag(gram))
    order: list[int] = []
    loss = [0.0]
    rest = set(range(len(gram)))

    def cost(chosen: list[int]) -> float:
        return float(gram[np.ix_(chosen, chosen)].sum()) / 2

    while rest:
        best = min(sorted(rest), key=lambda b: cost([*order, b]))
        rest.remove(best)
        order.append(best)
        loss.append(cost(order))
    return order, loss


@pytest.mark.parametrize("shrink", [0.0, 0.3, 1.0])
def test_fisher_greedy_equals_brute_force(shrink: float) -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((30, 60)) * rng.uniform(0.2, 2, 60)  # more blocks than images
    samples = (rng.standard_normal((24, 30)) @ mix).astype(np.float32)
    order, loss = greedy(samples, shrink)
    expected_order, expected_loss = brute_force(samples, shrink)
    assert order.tolist() == expected_order
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5, atol=1e-6 * expected_loss[-1])


def test_fisher_of_a_layer_is_the_greedy_over_its_samples(
    model: Any, gradients: dict[str, Any]
) -> None:
    name = "blocks.1.attn.qkv"
    curve = score("fisher", model, batches(), LAYERS, BLOCK_OUT, BLOCK_IN, labels="given")[name]
    order, loss = brute_force(oracle_samples(model, gradients, name), 0.3)
    assert curve.order.tolist() == order
    np.testing.assert_allclose(curve.loss, loss, rtol=1e-3, atol=1e-6 * loss[-1])
    assert curve.unit == "nats"


def test_sampled_fisher_predicts_the_divergence_of_a_small_change(model: Any) -> None:
    """Statement 2's point: at sampled labels 1/2 mean s^2 is the KL to the dense model."""
    name = LAYERS[2]
    grid = {name: BlockGrid(name, (128, 32), 128, 32)}
    x, _ = data()
    draws = [
        collect_gradients(model, [(x, None)], grid, seed=seed).samples[name] for seed in range(300)
    ]
    predicted = float(np.square(draws).mean()) / 2
    step, layer = 0.01, model.get_submodule(name)
    with torch.no_grad():
        dense = model(x).double().log_softmax(1)
        kept = layer.weight.clone()
        layer.weight.mul_(1 - step)
        pruned = model(x).double().log_softmax(1)
        layer.weight.copy_(kept)
    divergence = float((dense.exp() * (dense - pruned)).sum(1).mean()) / step**2
    assert predicted == pytest.approx(divergence, rel=0.1)


def test_taylor_terms_equal_their_sums() -> None:
    rng = np.random.default_rng(2)
    samples = rng.standard_normal((9, 7)).astype(np.float32)
    order = rng.permutation(7)
    terms = taylor_terms(samples, order)
    for k in range(8):
        r = samples[:, order[:k]].astype(np.float64).sum(1)
        assert terms.linear[k] == pytest.approx(-r.mean(), abs=1e-12)
        assert terms.quadratic[k] == pytest.approx((r**2).mean() / 2, abs=1e-12)


def test_lpvit_curve_equals_its_definition(model: Any, gradients: dict[str, Any]) -> None:
    name = "blocks.1.mlp.fc2"
    curve = score("lpvit", model, batches(), LAYERS, 2, 8)[name]  # 256 blocks: more than 101
    w, g = weight(model, name), gradients[name]
    saliency = block_sums(np.abs(w * g.mean(0)), 2, 8)
    assert (np.diff(saliency[curve.order]) > -1e-4 * saliency.max()).all()
    highest = 0.0
    for percent in range(101):
        k = round(curve.blocks * percent / 100)
        pruned = np.where(expand(~curve.mask(k).keep, 2, 8), w, 0.0)
        change = (g * pruned).sum((1, 2))
        delta = -change.mean() + (change**2).mean() / 2
        highest = max(highest, delta)
        assert curve.loss[k] == pytest.approx(highest, rel=1e-3, abs=1e-6)
    assert (np.diff(curve.loss) >= 0).all()
    assert highest > 0
    few = score("lpvit", model, batches(), LAYERS, 16, 8)[name]
    assert few.loss[-1] == pytest.approx(curve.loss[-1], rel=0.2)


def expand(blocks: Any, block_out: int, block_in: int) -> Any:
    return np.kron(blocks, np.ones((block_out, block_in), bool))


@pytest.mark.parametrize("name", SCORES)
def test_every_score_gives_valid_curves_and_repeats_itself(model: Any, name: str) -> None:
    first, again = (score(name, model, batches(), LAYERS, 8, 16 // 2, seed=5) for _ in range(2))
    assert tuple(first) == LAYERS
    assert SCORES[name].description
    for layer, curve in first.items():
        assert curve.shape == tuple(model.get_submodule(layer).weight.shape)
        assert np.array_equal(curve.order, again[layer].order)
        assert np.array_equal(curve.loss, again[layer].loss)
        half = curve.mask(curve.blocks // 2)
        assert half.density == pytest.approx(0.5, abs=0.01)


def test_sampled_labels_depend_on_the_seed(model: Any) -> None:
    losses = [
        score("fisher", model, batches(), LAYERS, 8, 8, seed=seed)[LAYERS[0]].loss[-1]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_blocks_stay_inside_heads(model: Any) -> None:
    def grids(layer: str, block_out: Any, block_in: Any) -> Any:
        return block_grids(model, [layer], block_out, block_in)

    with pytest.raises(
        LspsimError, match=r"attn.qkv': block_out 12 does not divide the head dimension 16.*8, 16"
    ):
        grids("blocks.0.attn.qkv", 12, 8)
    with pytest.raises(LspsimError, match=r"block_out 32 does not divide the head dimension 16"):
        grids("blocks.0.attn.qkv", 32, 8)
    with pytest.raises(LspsimError, match=r"attn.proj': block_in 32 does not divide"):
        grids("blocks.0.attn.proj", 8, 32)
    assert grids("blocks.0.attn.qkv", 16, 12)["blocks.0.attn.qkv"].grid == (6, 3)
    assert grids("blocks.0.attn.proj", 32, 16)["blocks.0.attn.proj"].grid == (1, 2)
    assert grids("blocks.0.mlp.fc1", 48, 12)["blocks.0.mlp.fc1"].grid == (3, 3)
    for size in (0, 129):
        with pytest.raises(LspsimError, match=rf"a {size}x8 block does not fit its 128x32 weight"):
            grids("blocks.0.mlp.fc1", size, 8)
    with pytest.raises(LspsimError, match=r"block_in names no block size for .*mlp.fc1"):
        grids("blocks.0.mlp.fc1", 8, {"blocks.0.mlp.fc2": 8})


def test_bad_requests_are_named(model: Any) -> None:
    with pytest.raises(LspsimError, match=r"no score 'fischer'; did you mean 'fisher'"):
        score("fischer", model, batches(), LAYERS, 8, 8)
    for name in ("taylor", "lpvit"):
        with pytest.raises(LspsimError, match="zero but for noise; use labels='given'"):
            score(name, model, batches(), LAYERS, 8, 8, labels="sampled")
    with pytest.raises(LspsimError, match="has 6 calibration images; it needs at least 8"):
        score("fisher", model, batches()[:1], LAYERS, 8, 8)
    with pytest.raises(LspsimError, match=r"shrink must lie between 0 and 1, got 1\.5"):
        score("fisher", model, batches(), LAYERS, 8, 8, shrink=1.5)
