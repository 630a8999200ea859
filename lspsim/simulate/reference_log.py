"""`EventLog`: what each part of the chip was busy with, for timelines."""

from __future__ import annotations

from dataclasses import dataclass, field

LANES = (
    "dma weights",
    "dma activations",
    "dma write-back",
    "array",
    "vector",
    "shift weights",
)
"""What can be busy. The three DMA lanes are the channel's request classes 0, 1, 2."""

ARRAY, VECTOR, SHIFT = 3, 4, 5
"""Lanes that are no request class."""


@dataclass(slots=True)
class EventLog:
    """Busy intervals `[start, end)` in cycles, one row each, in the order in which they ended.

    DMA lanes: the transfer holds the channel. `array`: a fold's rows enter the
    array. `shift weights`: its tile is shifted in. `vector`: the vector unit works.
    """

    lane: list[int] = field(default_factory=list)
    """Index into `LANES`."""
    core: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    visit: list[int] = field(default_factory=list)
    """Visit within its core; -1 for an activation transfer, which serves several."""
    start: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)

    def add(self, lane: int, core: int, segment: int, visit: int, start: int, end: int) -> None:
        """Append one interval."""
        self.lane.append(lane)
        self.core.append(core)
        self.segment.append(segment)
        self.visit.append(visit)
        self.start.append(start)
        self.end.append(end)

    def __len__(self) -> int:
        return len(self.lane)
