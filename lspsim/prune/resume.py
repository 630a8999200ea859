"""Whether a finished network is the one that a command asks for."""

from __future__ import annotations

from collections.abc import Iterator

from lspsim.networks.record import PointRecord
from lspsim.prune.recipe import PruneRecipe
from lspsim.prune.study import Study, hardware_values


def differences(record: PointRecord, study: Study, recipe: PruneRecipe) -> list[str]:
    """Return in words what a finished network has other than `study` and `recipe` ask for.

    Block, score, allocation, compensation and budgets are not compared: a network's directory
    is named after them.

    Parameters
    ----------
    record
        Of the finished network.
    study, recipe
        What is asked for now.

    Returns
    -------
    Nothing where the network is the one that would be made.
    """
    origin = record.provenance
    basis = "auto" if origin.get("held_out_kl") else origin.get("basis")
    fields: dict[str, tuple[object, object]] = {
        "model": (record.model, study.model_name),
        "data": (record.data, study.test.name),
        "hardware": (record.hardware, study.hardware.name),
        "batch": (origin.get("batch", 1), study.workload.batch),
        "seed": (record.seed, recipe.seed),
        "calibration images": (origin.get("calibration_images"), len(study.calibration)),
        "test images": (record.pruned.images, len(study.test)),
        "most removed per layer": (origin.get("most_removed_per_layer"), recipe.most),
        "basis": (basis, recipe.basis),
        "couple": (origin.get("couple"), recipe.couple),
        "losses": (origin.get("losses"), recipe.losses),
    }
    found = [f"{name} {was}, not {now}" for name, (was, now) in fields.items() if was != now]
    if (
        record.hardware == study.hardware.name
        and origin.get("hardware_digest") != study.hardware.digest
    ):
        found.append(_of_hardware(record, study))
    if (
        record.model == study.model_name
        and origin.get("weights_digest") != study.weights["weights_digest"]
    ):
        before, now = (
            "its own" if weights is None else str(weights)
            for weights in (origin.get("checkpoint"), study.weights["checkpoint"])
        )
        same = "whose content was changed" if before == now else f"not {now}"
        found.append(f"weights {before}, {same}")
    return found


def _of_hardware(record: PointRecord, study: Study) -> str:
    """Say which values of a chip of the same name differ."""
    values = (record.provenance.get("hardware_values"), hardware_values(study.hardware))
    before, now = (dict(_leaves(one)) for one in values)
    changed = [
        f"{path} {before.get(path, 'unset')}, not {now.get(path, 'unset')}"
        for path in dict.fromkeys([*before, *now])
        if before.get(path) != now.get(path)
    ]
    if not before or not changed:
        return f"other values of {record.hardware}, or of the files that it names"
    return f"{record.hardware} with {', '.join(changed)}"


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Walk a nested document: dotted path and value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value
