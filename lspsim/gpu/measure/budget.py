"""How long a point is expected to take, so that none is begun that would not end in time."""

from __future__ import annotations

from lspsim.gpu.measure.points import Point

FIRST_S = {
    ("layer", "burst"): 8.0,
    ("model", "burst"): 20.0,
    ("layer", "sustained"): 35.0,
    ("model", "sustained"): 40.0,
}
"""Guesses for up to `IMAGES` images; a burst takes longer in proportion to more of them."""
IMAGES = 64


class Budget:
    """Learns from the points of a run: each kind and batch takes as long as its longest so far."""

    def __init__(self) -> None:
        self._longest: dict[tuple[str, str, int], float] = {}

    def took(self, point: Point, seconds: float) -> None:
        """Keep how long a point took."""
        kind = (point.kind, point.regime, point.batch)
        self._longest[kind] = max(self._longest.get(kind, 0.0), seconds)

    def expected_s(self, point: Point) -> float:
        """Return how long a point may take."""
        kind = (point.kind, point.regime, point.batch)
        if kind in self._longest:
            return self._longest[kind]
        alike = [taken for known, taken in self._longest.items() if known[:2] == kind[:2]]
        larger = point.batch / IMAGES if point.regime == "burst" else 1.0
        if alike and larger <= 1.0:
            return max(alike)
        return max(max(larger, 1.0) * FIRST_S[kind[:2]], *alike, 0.0)
