"""Statistics against numpy on all rows at once, and against autograd image by image."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lspsim.calibrate import statistics  # noqa: E402
from lspsim.calibrate.statistics import collect  # noqa: E402
from lspsim.errors import LspsimError, ModelError  # noqa: E402
from lspsim.models.torchvision_guard import import_timm  # noqa: E402

LAYERS = tuple(f"blocks.{i}.{p}" for i in (0, 1) for p in ("attn.qkv", "attn.proj", "mlp.fc2"))
IMAGES = 24


def tiny() -> Any:
    torch.manual_seed(0)
    return import_timm().models.VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, num_classes=5
    )


def data(images: int = IMAGES) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(images, 3, 16, 16, generator=generator) + 0.5
    return x, torch.randint(0, 5, (images,), generator=generator)


def batches(size: int, images: int = IMAGES) -> list[tuple[Any, Any]]:
    x, y = data(images)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, images, size)]


def inputs_and_gradients(model: Any, name: str) -> tuple[Any, Any]:
    """Inputs [images, tokens, K] and output gradients at the given labels, one image at a time."""
    kept: dict[str, Any] = {}

    def hook(_: Any, inputs: Any, output: Any) -> None:
        output.retain_grad()
        kept["x"], kept["y"] = inputs[0].detach(), output

    handle = model.get_submodule(name).register_forward_hook(hook)
    xs, gs = [], []
    for image, label in zip(*data(), strict=True):
        loss = torch.nn.functional.cross_entropy(model(image[None]), label[None])
        loss.backward()
        xs.append(kept["x"])
        gs.append(kept["y"].grad)
    handle.remove()
    model.zero_grad()
    return torch.cat(xs).double().numpy(), torch.cat(gs).double().numpy()


@pytest.mark.parametrize("size", [1, 7, 24])
def test_moments_equal_numpy_over_all_rows_at_once(size: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(statistics, "ROWS_AT_ONCE", 50)  # several pieces per batch
    model = tiny().eval()
    found = collect(model, batches(size), LAYERS, labels="given")
    assert tuple(found) == LAYERS
    for name in LAYERS:
        x, g = inputs_and_gradients(model, name)
        rows = x.reshape(-1, x.shape[-1])
        layer = found[name]
        assert (layer.rows, layer.images) == (len(rows), IMAGES)
        centred = rows - rows.mean(0)
        gram = centred.T @ centred / len(rows)
        scale = np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
        assert np.abs((layer.gram - gram) / scale).max() < 2e-6
        assert np.array_equal(layer.gram, layer.gram.T)
        assert layer.gram.dtype == layer.weight.dtype == np.float64
        np.testing.assert_allclose(layer.input_mean, rows.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.input_norm, np.sqrt((rows**2).mean(0)), rtol=1e-5)
        np.testing.assert_allclose(layer.row_gain, (g**2).sum(1).mean(0), rtol=1e-4)


def test_a_large_common_offset_does_not_cost_digits() -> None:
    rng = np.random.default_rng(0)
    rows = (1000 + rng.standard_normal((4000, 6))).astype(np.float32)
    moments = statistics.InputMoments(6, gram=True)
    for piece in np.array_split(rows, 9):
        moments.add(torch.tensor(piece))
    exact = rows.astype(np.float64)
    exact -= exact.mean(0)
    found = moments.finish()["gram"]
    np.testing.assert_allclose(found, exact.T @ exact / 4000, rtol=0, atol=2e-5)


def test_panels_of_a_wide_product_make_the_whole() -> None:
    rows = torch.randn(40, 23, generator=torch.Generator().manual_seed(0))
    total = torch.zeros(23, 23, dtype=torch.float64)
    statistics.add_upper_product(total, rows, panel=5)
    whole = (rows.double().T @ rows.double()).numpy()
    np.testing.assert_allclose(np.triu(total.numpy()), np.triu(whole), rtol=1e-4, atol=1e-5)


def test_diagonal_alone_equals_the_grams_diagonal() -> None:
    model = tiny()
    whole = collect(model, batches(8), LAYERS, {"gram"})
    part = collect(model, batches(8), LAYERS, {"input"})
    for name in LAYERS:
        np.testing.assert_allclose(part[name].input_norm, whole[name].input_norm, rtol=1e-6)
        with pytest.raises(LspsimError, match=rf"{name}.*gram was not collected.*'gram'"):
            _ = part[name].gram
        with pytest.raises(LspsimError, match="row_gain"):
            _ = part[name].row_gain


def test_swin_windows_are_counted_by_image() -> None:
    torch.manual_seed(0)
    model = import_timm().models.SwinTransformer(
        img_size=16,
        patch_size=2,
        embed_dim=16,
        depths=(2,),
        num_heads=(2,),
        window_size=4,
        num_classes=5,
    )
    name = "layers.0.blocks.1.attn.qkv"  # shifted windows
    one = [collect(model, [b], [name], {"row_gain"}, labels="given")[name] for b in batches(1, 4)]
    together = collect(model, batches(4, 4), [name], {"row_gain"}, labels="given")[name]
    mean = sum(layer.row_gain for layer in one) / 4
    np.testing.assert_allclose(together.row_gain, mean, rtol=1e-4)
    assert together.rows == 4 * 64


def test_sampled_labels_follow_the_seed_and_not_the_batches() -> None:
    model = tiny()
    with torch.no_grad():
        model.head.weight.normal_(0, 0.1)  # predictions that differ between images
    gain = [
        collect(model, batches(size), LAYERS, {"row_gain"}, seed=seed)[LAYERS[0]].row_gain
        for size, seed in [(5, 3), (24, 3), (24, 4)]
    ]
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-4)
    assert np.abs(gain[1] / gain[2] - 1).max() > 1e-2


def test_sampled_labels_come_at_the_models_own_frequencies() -> None:
    from lspsim.calibrate.streaming import _targets

    logits = torch.tensor([0.5, -1.0, 2.0]).log_softmax(0).repeat(20_000, 1)
    drawn = _targets(logits, None, "sampled", torch.Generator().manual_seed(0), 0)
    share = torch.bincount(drawn, minlength=3) / 20_000
    assert torch.allclose(share, logits[0].exp(), atol=0.01)


def test_the_model_is_left_as_it_was_found() -> None:
    model = tiny().train()
    model.blocks[1].eval()
    model.pos_embed.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    collect(model, batches(12), LAYERS)
    assert model.training
    assert model.blocks[0].mlp.training
    assert not model.blocks[1].mlp.training
    assert not model.pos_embed.requires_grad
    assert model.cls_token.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


def test_memory_does_not_grow_with_the_images() -> None:
    """No tensor of a batch outlives it: as many are alive after batch 2 as after batch 8."""
    alive = []

    def stream() -> Iterator[tuple[Any, Any]]:
        for batch in batches(3):
            gc.collect()
            alive.append(sum(o.numel() for o in gc.get_objects() if type(o) is torch.Tensor))
            yield batch

    collect(tiny(), stream(), LAYERS)
    assert len(alive) == 8
    assert len(set(alive[2:])) == 1


def test_bad_input_is_named() -> None:
    model = tiny()
    images, labels = data(4)
    with pytest.raises(LspsimError, match="no images"):
        collect(model, [], LAYERS)
    with pytest.raises(LspsimError, match=r"want \['grams'\] is unknown"):
        collect(model, batches(4), LAYERS, {"grams"})
    with pytest.raises(ModelError, match=r"'blocks.7' is missing; linear layers .* blocks.0"):
        collect(model, batches(4), ["blocks.7"])
    with pytest.raises(ModelError, match="is a LayerNorm"):
        collect(model, batches(4), ["norm"])
    with pytest.raises(ModelError, match=r"float16 weights.*model.float\(\)"):
        collect(tiny().half(), batches(4), LAYERS)
    labels[2] = 5
    with pytest.raises(LspsimError, match=r"image 2: label 5 is out of range.*5 classes"):
        collect(model, [(images, labels)], LAYERS, labels="given")
    with pytest.raises(LspsimError, match="hold no labels"):
        collect(model, [(images, None)], LAYERS, labels="given")
    images[1, 0, 3, 3] = float("nan")
    with pytest.raises(LspsimError, match=r"'blocks.0.attn.qkv': its input is not finite"):
        collect(model, [(images, labels)], LAYERS)
    assert not any(m._forward_hooks for m in model.modules())
    unused = torch.nn.Linear(3, 3)
    model.spare = unused
    with pytest.raises(LspsimError, match="'spare' is not reached"):
        collect(model, batches(4), ["spare"])
