"""`RunSummary`: the figures of one run, from memory or from a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

from lspsim.errors import ResultError
from lspsim.simulate.result import SCHEMA, LayerResult, SimulationResult, Totals

T = TypeVar("T", LayerResult, Totals)


@dataclass(frozen=True)
class RunSummary:
    """What tables, plots and comparisons need of a run: the JSON object, typed.

    Attributes
    ----------
    model, batch, hardware, engine
        What was simulated, on which hardware (its name), by which engine.
    lower_bound
        True when the figures are a lower bound.
    totals, layers
        Whole-network figures and one `LayerResult` per operator.
    provenance
        Versions and digests as the run recorded them.
    """

    model: str
    batch: int
    hardware: str
    engine: str
    lower_bound: bool
    totals: Totals
    layers: tuple[LayerResult, ...]
    provenance: Mapping[str, Any]

    @classmethod
    def of(cls, result: SimulationResult) -> RunSummary:
        """Return the summary of a result in memory."""
        return cls(
            model=result.workload.model,
            batch=result.workload.batch,
            hardware=result.hardware.name,
            engine=result.engine,
            lower_bound=result.lower_bound,
            totals=result.totals,
            layers=tuple(result.layers),
            provenance=result.provenance,
        )

    @classmethod
    def from_dict(cls, data: Any, where: str) -> RunSummary:
        """Return the summary that `SimulationResult.to_dict` wrote.

        Parameters
        ----------
        data
            The parsed JSON object.
        where
            File it came from, for messages.

        Raises
        ------
        ResultError
            When it is no such object, has another schema, or lacks a field.
        """
        if not isinstance(data, dict):
            raise ResultError(f"{where}: expected a JSON object, got {type(data).__name__}")
        if data.get("schema") != SCHEMA:
            raise ResultError(
                f"{where}: schema is {data.get('schema')!r}, but this version reads {SCHEMA!r}; "
                "run the simulation again"
            )
        _check_keys(data, {f.name for f in fields(cls)}, where, extra={"schema"})
        layers = data["layers"]
        if not isinstance(layers, list):
            raise ResultError(f"{where}: 'layers' must be a list, got {type(layers).__name__}")
        return cls(
            model=data["model"],
            batch=data["batch"],
            hardware=data["hardware"],
            engine=data["engine"],
            lower_bound=data["lower_bound"],
            totals=_record(Totals, data["totals"], f"{where}: totals"),
            layers=tuple(
                _record(LayerResult, layer, f"{where}: layers[{i}]")
                for i, layer in enumerate(layers)
            ),
            provenance=data["provenance"],
        )

    @cached_property
    def cores(self) -> int:
        """Cores of the chip: the core-cycles of all buckets per cycle of the run."""
        spent = sum(sum(layer.cycles.values()) for layer in self.layers)
        return max(1, round(spent / max(1, self.totals.cycles_total)))

    @property
    def clock_hz(self) -> float:
        """Clock, from the run's cycles and its latency."""
        return self.totals.cycles_total / self.totals.latency_s if self.totals.latency_s else 0.0

    @property
    def label(self) -> str:
        """`model on hardware`, with the batch where it is not 1."""
        batch = f", batch {self.batch}" if self.batch != 1 else ""
        return f"{self.model} on {self.hardware}{batch}"

    @property
    def work(self) -> str:
        """`model, batch 1`: what ran, wherever it did."""
        return f"{self.model}, batch {self.batch}"


def _record(cls: type[T], data: Any, where: str) -> T:
    """Build a named tuple from a JSON object that must have exactly its fields."""
    if not isinstance(data, dict):
        raise ResultError(f"{where}: expected an object, got {type(data).__name__}")
    _check_keys(data, set(cls._fields), where)
    return cls(**data)


def _check_keys(
    data: dict[str, Any], need: set[str], where: str, extra: Sequence[str] | set[str] = ()
) -> None:
    """Raise where a key is missing or unknown."""
    missing = sorted(need - set(data))
    unknown = sorted(set(data) - need - set(extra))
    if missing or unknown:
        parts = []
        if missing:
            parts.append(f"lacks {', '.join(missing)}")
        if unknown:
            parts.append(f"has unknown {', '.join(unknown)}")
        raise ResultError(
            f"{where}: {' and '.join(parts)}; was it written by another version of lspsim, "
            "or edited? Run the simulation again"
        )
