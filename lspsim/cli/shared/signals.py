"""Signals: SIGTERM ends a command as cleanly as Ctrl-C, and both say what is kept.

SIGINT that was ignored when the process started stays ignored: a shell sets that for jobs
in the background (`lspsim prune ... &`, `nohup`), so that Ctrl-C ends the job in front only.
Such a job is ended by `kill`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived; whatever cleans up after Ctrl-C cleans up after it, too."""


def raise_on_sigterm() -> None:
    """Turn SIGTERM into `Terminated`, in the main thread."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return 128 plus the number of the signal, as shells report it."""
    return 128 + (signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)


@contextmanager
def kept_when_interrupted(message: str) -> Iterator[None]:
    """Say, when the work inside is interrupted, what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(message)
        raise
