"""`finetune_point`: a pruned network, distilled, as one of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lspsim.models.data import load_dataset
from lspsim.networks.load import load_point
from lspsim.networks.origin import dense_of
from lspsim.networks.quality import quality, reference_logits
from lspsim.networks.record import PointRecord, check_free, read_permutations, write_point
from lspsim.train.finetune import Distillation, finetune


def finetune_point(
    point: Path,
    out: Path,
    distillation: Distillation,
    *,
    epoch_images: int | None = None,
    keep_best: bool = True,
    seed: int = 0,
    device: str = "cpu",
    shards: int = 1,
    resume: bool = True,
) -> PointRecord:
    """Distil the dense model into the pruned one at `point`, and write it to `out`.

    Cycles and energy stay what they were: the masks are held.

    Parameters
    ----------
    point, out
        Directories of `lspsim.networks.record`. While it runs, the state to go on
        from lies beside `out`, as `OUT.state`.
    distillation
        See `lspsim.train.finetune.PRESETS`.
    epoch_images, keep_best, seed, device, shards, resume
        As for `lspsim.train.finetune.finetune`.

    Raises
    ------
    ResultError
        When `point` is no pruned network, or `out` cannot be written.
    ModelError
        When its model or data cannot be loaded.
    """
    check_free(out)
    pruned = load_point(point)
    record, model, masks = pruned.record, pruned.model, pruned.masks
    dense = dense_of(record)
    state = out.with_name(out.name + ".state")
    state.mkdir(parents=True, exist_ok=True)
    done = finetune(
        model,
        dense,
        masks,
        record.data,
        state,
        distillation,
        epoch_images=epoch_images,
        keep_best=keep_best,
        seed=seed,
        device=device,
        shards=shards,
        resume=resume,
        progress=True,
    )
    test = load_dataset(record.data, "test", record.pruned.images, model=model)
    found = quality(model, test, reference_logits(dense, test))
    tuned = replace(
        record,
        label=f"{record.label}, distilled",
        pruned=replace(
            record.pruned,
            top1=None if record.pruned.top1 is None else found.top1,
            kl_nats=found.kl_nats,
        ),
        provenance={
            **record.provenance,
            "finetuned": {
                "epochs": distillation.recipe.epochs,
                "epochs_kept": done.epochs_kept,
                "learning_rate": distillation.recipe.learning_rate,
                "temperature": distillation.temperature,
                "alpha": distillation.alpha,
                "epoch_images": epoch_images,
                "seed": seed,
                "start": dict(done.start),
                "end": dict(done.scores),
                "mcnemar_p": found.p_value,
            },
        },
    )
    write_point(out, tuned, model.state_dict(), masks, permutations=read_permutations(point))
    for leftover in state.iterdir():
        leftover.unlink()
    state.rmdir()
    return tuned
