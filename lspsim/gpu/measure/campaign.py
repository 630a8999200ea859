"""`Campaign`: measurement after measurement, each on the disk before the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch

from lspsim.errors import LspsimError, MissingDependencyError
from lspsim.gpu.kernels.tuning import NoTileError
from lspsim.gpu.measure.bench import Bench, Prepared, Variant, check
from lspsim.gpu.measure.budget import Budget
from lspsim.gpu.measure.device import Device
from lspsim.gpu.measure.networks import masks_digest
from lspsim.gpu.measure.points import Point
from lspsim.gpu.measure.provenance import now_utc, run_provenance
from lspsim.gpu.measure.store import Row, Store
from lspsim.gpu.measure.timing import Plan, burst, idle_power_w, rejected, sustained

_IDLE_SETTLE_S = 2.0
_MOST_FAILURES = 3


@dataclass(slots=True)
class Outcome:
    """What a run did."""

    rows: list[Row] = field(default_factory=list)
    measured: int = 0
    done_before: int = 0
    postponed: int = 0
    """Points that did not fit into the time."""


class Campaign:
    """Measures points and stores their rows.

    Parameters
    ----------
    device, bench, store
        Where, what and whereto.
    plan
        How much per point.
    tell
        Called with the label of what is being done.
    """

    def __init__(
        self,
        device: Device,
        bench: Bench,
        store: Store,
        plan: Plan | None = None,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.device, self.bench, self.store = device, bench, store
        self.plan = plan or Plan()
        self.tell = tell
        seed = bench.networks.source.seed
        self._random = Random(seed)
        self.provenance = run_provenance(device, self.plan, seed)
        self._idle_w: float | None = None
        self._budget = Budget()

    def run(self, points: Sequence[Point], *, until_s: float | None = None) -> Outcome:
        """Measure what is not finished yet.

        What failed or was unsteady in an earlier run comes last, so that it cannot take the
        time of what was never measured.

        Parameters
        ----------
        points
            In the order to measure them.
        until_s
            On the device's clock: points that would not end before it are postponed.

        Raises
        ------
        LspsimError
            When several points fail one after the other: the device is out of order.
        """
        outcome = Outcome()
        failures = 0
        for point in sorted(points, key=lambda one: self.store.tried(self.key(one))):
            if self._finished(point):
                outcome.done_before += 1
                continue
            start = self.device.clock.now_s()
            if until_s is not None and start + self._budget.expected_s(point) > until_s:
                outcome.postponed += 1
                continue
            self.tell(point.label)
            rows = self._measure(point)
            for row in rows:  # before anything else can fail, or the next run stops here, too
                self.store.add(row)
            self._free(point)
            outcome.rows += rows
            outcome.measured += 1
            self._budget.took(point, self.device.clock.now_s() - start)
            failures = failures + 1 if rows[-1]["status"] == "failed" else 0
            if failures == _MOST_FAILURES:
                raise LspsimError(
                    f"{failures} measurements failed one after the other, the last with: "
                    f"{rows[-1]['error']}; finished rows are in {self.store.path}; run the "
                    "same command again to go on"
                )
        return outcome

    def _free(self, point: Point) -> None:
        """Empty the device's cache: the first that fails once a kernel has broken its context."""
        try:
            self.device.free()
        except RuntimeError as error:
            raise LspsimError(
                f"the device is out of order after {point.label}: {_first_line(error)}; finished "
                f"rows are in {self.store.path}; run the same command again to go on"
            ) from error

    def _finished(self, point: Point) -> bool:
        """Whether a row is final; one of sustained load lacks energy until there is a meter."""
        row = self.store.final(self.key(point))
        if row is None:
            return False
        metered = point.regime == "sustained" and self.device.meter is not None
        return not (metered and row["status"] == "ok" and row["energy_j"] is None)

    def key(self, point: Point) -> str:
        """Return what names a point's row in its file."""
        networks = self.bench.networks
        removed = "dense"
        if point.block is not None:
            if point.sparsity is None:
                which = f"masks:{masks_digest(networks.given)[:16]}"
            else:
                which = f"s{point.sparsity:g}"
            removed = f"{point.block[0]}x{point.block[1]} {which}"
        parts = (point.kind, self.bench.dtype, point.model, point.layer, f"b{point.batch}")
        source = f"{networks.weights(point.model)}; seed {networks.source.seed}"
        return " | ".join((*filter(None, parts), removed, point.regime, source))

    def _measure(self, point: Point) -> list[Row]:
        """Return the rows of one point; what goes wrong with it becomes its status."""
        try:
            try:
                prepared = self.bench.prepare(point)
            except (MissingDependencyError, NoTileError):
                raise
            except LspsimError as error:
                return [self._row(point, "unsupported", error=str(error))]
            if wrong := check(prepared):
                return [self._row(point, "incorrect", prepared, error=wrong)]
            if point.regime == "burst":
                return self._burst(point, prepared)
            return [self._sustained(point, prepared)]
        except torch.OutOfMemoryError as error:
            self.bench.forget()
            return [self._row(point, "out-of-memory", error=_first_line(error))]
        except MissingDependencyError:
            raise
        except Exception as error:  # a row says so, and the run ends with an error
            return [self._row(point, "failed", error=f"{type(error).__name__}: {error}"[:500])]

    def _burst(self, point: Point, prepared: Prepared) -> list[Row]:
        before = self.device.state()
        named = {str(variant): work for variant, work in prepared.works.items()}
        times = burst(self.device, named, self.plan)
        states = {"state_before": before, "state_after": self.device.state()}
        rows = []
        if self.store.final(self.key(point.dense)) is None:
            rows.append(
                self._row(
                    point.dense,
                    "ok",
                    prepared,
                    latency_s=times["dense"].median,
                    latency_iqr_s=times["dense"].iqr,
                    provenance=states,
                )
            )
        if point.block is not None:
            dense, sparse = times["dense"], times["block-sparse"]
            rows.append(
                self._row(
                    point,
                    "ok",
                    prepared,
                    latency_s=sparse.median,
                    latency_iqr_s=sparse.iqr,
                    dense_latency_s=dense.median,
                    speedup=dense.median / sparse.median,
                    provenance=states,
                )
            )
        return rows

    def _sustained(self, point: Point, prepared: Prepared) -> Row:
        idle_w = self._idle()
        before = self.device.state()
        found = sustained(self.device, prepared.works[point.variant], self.plan, self._random)
        latency_s = found.seconds.median
        values: dict[str, Any] = {"latency_s": latency_s, "latency_iqr_s": found.seconds.iqr}
        status, error = "ok", None
        if found.joules is not None and idle_w is not None:
            values["energy_variation"] = found.joules.variation
            if error := rejected(found.joules, self.plan) or None:
                status = "unstable-energy"
            else:
                energy_j = found.joules.median
                values["energy_j"] = energy_j
                values["energy_net_j"] = energy_j - idle_w * latency_s
                values["power_w"] = energy_j / latency_s
        dense = self.store.final(self.key(point.dense))
        if point.block is not None and dense is not None and dense["status"] == "ok":
            values["dense_latency_s"] = dense["latency_s"]
            values["speedup"] = dense["latency_s"] / latency_s
        states = {
            "state_before": before,
            "state_after": self.device.state(),
            "idle_power_w": idle_w,
            "energy_missing": self.device.meter_problem or None,
        }
        return self._row(point, status, prepared, error=error, provenance=states, **values)

    def _idle(self) -> float | None:
        """Return the idle power, measured once per run."""
        if self.device.meter is not None and self._idle_w is None:
            self.tell("idle power")
            self.device.clock.sleep(_IDLE_SETTLE_S)
            self._idle_w = idle_power_w(self.device, self.device.meter, self.plan.window_s)
        return self._idle_w

    def _row(
        self,
        point: Point,
        status: str,
        prepared: Prepared | None = None,
        *,
        error: str | None = None,
        provenance: dict[str, Any] | None = None,
        **values: float,
    ) -> Row:
        variant: Variant = point.variant
        m, n, k = (prepared.shape if prepared else None) or (None, None, None)
        sparse = point.block is not None
        density = 1.0 if not sparse else (prepared.density if prepared else None)
        errors = prepared.errors if prepared else {}
        details = dict(prepared.details) if prepared else {}
        if not sparse:
            details.pop("tuning", None)
        return {
            "key": self.key(point),
            "kind": f"cpu-{point.kind}" if self.device.is_cpu else point.kind,
            "gpu": self.device.name,
            "dtype": self.bench.dtype,
            "model": point.model,
            "layer": point.layer or None,
            "batch": point.batch,
            "m": m,
            "n": n,
            "k": k,
            "block_out": point.block[0] if point.block else None,
            "block_in": point.block[1] if point.block else None,
            "sparsity": point.sparsity if sparse else 0.0,
            "density": density,
            "variant": variant,
            "regime": point.regime,
            "latency_s": None,
            "latency_iqr_s": None,
            "dense_latency_s": None,
            "speedup": None,
            "energy_j": None,
            "energy_net_j": None,
            "energy_variation": None,
            "power_w": None,
            **values,
            "correct_max_error": _finite(errors.get(variant)),
            "status": status,
            "error": error,
            "provenance": {
                **self.provenance,
                "measured_at": now_utc(),
                "weights": self.bench.networks.weights(point.model),
                "mask_digest": prepared.mask_digest if prepared and sparse else None,
                **details,
                **(provenance or {}),
            },
        }


def _finite(error: float | None) -> float | None:
    """JSON has no infinity: an output that is not a number has no error."""
    return error if error is not None and error < float("inf") else None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
