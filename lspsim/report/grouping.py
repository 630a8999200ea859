"""Rows of a report: operators, or identical operators of repeated blocks as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lspsim.simulate.columns import BUCKETS
from lspsim.simulate.result import LayerResult


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One or several operators of the same shape, summed.

    `m`, `k`, `n`, `batch` are those of one operator; everything else that can be
    added is added over the `members`, and `density` is their mean.
    """

    name: str
    """`blocks.*.attn.qkv`; the operator's own name when there is only one."""
    members: tuple[str, ...]
    kind: str
    m: int
    k: int
    n: int
    batch: int
    density: float
    tiles_live: int
    tiles_total: int
    cycles_total: int
    cycles: dict[str, int]
    """Core-cycles by bucket."""
    energy_pj: dict[str, float]
    macs_dense: int
    macs_executed: int
    dram_read_bytes: int
    dram_write_bytes: int
    fused: bool
    """Served behind another operator: no cycles of its own."""

    @property
    def count(self) -> int:
        """Operators in this row."""
        return len(self.members)

    @property
    def label(self) -> str:
        """Name, with `x12` for twelve operators."""
        return f"{self.name} x{self.count}" if self.count > 1 else self.name

    @property
    def energy_total_pj(self) -> float:
        """Energy over all components."""
        return sum(self.energy_pj.values())

    @property
    def bound_by(self) -> str:
        """The bucket with most core-cycles; `fused` or `none` without any."""
        if not any(self.cycles.values()):
            return "fused" if self.fused else "none"
        return max(BUCKETS, key=lambda bucket: self.cycles[bucket])

    @property
    def bound_share(self) -> float:
        """Share of the row's core-cycles that `bound_by` holds; 0 without cycles."""
        spent = sum(self.cycles.values())
        return max(self.cycles.values()) / spent if spent else 0.0


def layer_type(name: str) -> str:
    """Return what repeats: `blocks.3.attn.qkv` and `layers.0.blocks.1.attn.qkv` -> `attn.qkv`."""
    parts = name.split(".")
    last = max((i for i, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[last + 1 :]) or name


def group_layers(layers: Iterable[LayerResult], *, collapse: bool = True) -> list[LayerRow]:
    """Return report rows in order of first appearance.

    Operators fall into one row when their names differ in numbers only
    (`blocks.0.attn.qkv`, `blocks.1.attn.qkv`) and kind and shape are the same.

    Parameters
    ----------
    layers
        Operators of one run.
    collapse
        False: one row per operator.
    """
    groups: dict[tuple[object, ...], list[LayerResult]] = {}
    for layer in layers:
        key: tuple[object, ...] = (layer.name,)
        if collapse:
            key = (
                *("*" if part.isdigit() else part for part in layer.name.split(".")),
                (layer.kind, layer.m, layer.k, layer.n, layer.batch, layer.fused_into is None),
            )
        groups.setdefault(key, []).append(layer)
    return [_row(members) for members in groups.values()]


def common_name(names: Sequence[str]) -> str:
    """Return the dotted name with `*` for each part in which `names` differ."""
    columns = zip(*(name.split(".") for name in names), strict=True)
    return ".".join(parts[0] if len(set(parts)) == 1 else "*" for parts in columns)


def _row(members: list[LayerResult]) -> LayerRow:
    """Sum the members of one group."""
    first = members[0]
    energy: dict[str, float] = {}
    for layer in members:
        for component, picojoules in layer.energy_pj.items():
            energy[component] = energy.get(component, 0.0) + picojoules
    return LayerRow(
        name=common_name([layer.name for layer in members]),
        members=tuple(layer.name for layer in members),
        kind=first.kind,
        m=first.m,
        k=first.k,
        n=first.n,
        batch=first.batch,
        density=sum(layer.density for layer in members) / len(members),
        tiles_live=sum(layer.tiles_live for layer in members),
        tiles_total=sum(layer.tiles_total for layer in members),
        cycles_total=sum(layer.cycles_total for layer in members),
        cycles={bucket: sum(layer.cycles[bucket] for layer in members) for bucket in BUCKETS},
        energy_pj=energy,
        macs_dense=sum(layer.macs_dense for layer in members),
        macs_executed=sum(layer.macs_executed for layer in members),
        dram_read_bytes=sum(layer.dram_read_bytes for layer in members),
        dram_write_bytes=sum(layer.dram_write_bytes for layer in members),
        fused=first.fused_into is not None,
    )
