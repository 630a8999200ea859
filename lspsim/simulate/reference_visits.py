"""One core's part of a `Program`, unpacked into plain records for the reference engine."""

from __future__ import annotations

from dataclasses import dataclass

from lspsim.schedule.program import Program


@dataclass(frozen=True, slots=True)
class Visit:
    """One accumulation, or one visit of a vector operator (docs/model.md, "Words")."""

    index: int
    """Position among the core's own visits."""
    segment: int
    folds: int
    length: int
    acquire: int
    held: int
    base: int
    """The core's tile transfer that brings the first of the held tiles."""
    release: bool
    header: int
    vector: int
    is_vector: bool
    writeback: int
    drain: int
    needs: tuple[int, ...]
    """Activation transfer that each fold (or the vector visit) waits for; empty = none."""
    bank_freed_by: int | None
    """Visit whose write-back must have ended before this one starts; None = no wait."""

    @property
    def writeback_request(self) -> int:
        """Channel cycles of the write-back, an unaccompanied header included; 0 = no request."""
        return self.writeback + (self.header if self.acquire == 0 else 0)


@dataclass(frozen=True, slots=True)
class ActivationTransfer:
    """One streamed piece of an input tensor."""

    segment: int
    cycles: int
    after_visit: int | None
    """Visit whose consumption frees the buffer half; None = free from the start."""


def visits_of(program: Program, core: int) -> list[Visit]:
    """Return the visits of `core` in execution order."""
    p = program
    visits: list[Visit] = []
    transfers = 0
    base = 0
    users_of_banks: list[int] = []
    for index, v in enumerate(range(int(p.visit_start[core]), int(p.visit_start[core + 1]))):
        segment, folds = int(p.visit_segment[v]), int(p.visit_folds[v])
        is_vector = bool(p.visit_is_vector[v])
        if visits and visits[-1].segment != segment:
            users_of_banks = []
        if p.visit_acquire[v] > 0:
            base = transfers
            transfers += int(p.visit_acquire[v])
        bank_freed_by = None
        if folds > 0 or is_vector:
            if len(users_of_banks) >= 2 and not p.ideal:
                bank_freed_by = users_of_banks[-2]
            users_of_banks.append(index)
        first = int(p.visit_fold_start[v])
        needs: tuple[int, ...] = ()
        if first >= 0 and not p.ideal:
            count = 1 if is_vector else folds
            needs = tuple(int(x) for x in p.fold_needs[first : first + count])
        visits.append(
            Visit(
                index=index,
                segment=segment,
                folds=folds,
                length=int(p.visit_length[v]),
                acquire=0 if p.ideal else int(p.visit_acquire[v]),
                held=0 if p.ideal else int(p.visit_held[v]),
                base=base,
                release=bool(p.visit_release[v]),
                header=0 if p.ideal else int(p.visit_header_cycles[v]),
                vector=int(p.visit_vector_cycles[v]),
                is_vector=is_vector,
                writeback=0 if p.ideal else int(p.visit_writeback_cycles[v]),
                drain=0 if p.ideal else int(p.visit_drain_cycles[v]),
                needs=needs,
                bank_freed_by=bank_freed_by,
            )
        )
    return visits


def activation_transfers_of(program: Program, core: int) -> list[ActivationTransfer]:
    """Return the activation transfers of `core` in the order of its queue."""
    if program.ideal:
        return []
    transfers: list[ActivationTransfer] = []
    for k in range(int(program.act_start[core]), int(program.act_start[core + 1])):
        after = int(program.act_after_visit[k])
        transfers.append(
            ActivationTransfer(
                segment=int(program.act_segment[k]),
                cycles=int(program.act_cycles[k]),
                after_visit=after if after >= 0 else None,
            )
        )
    return transfers
