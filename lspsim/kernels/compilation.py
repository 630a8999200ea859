"""Says once, in the log, that kernels are being compiled: no first run looks stuck.

Numba keeps what it compiled (`cache=True`), so this happens once per installation and
Python version, and for kernels that no earlier command used.
"""

from __future__ import annotations

import logging
from typing import Any

from numba.core import event

LOG = logging.getLogger("lspsim.kernels")
MESSAGE = "compiling kernels for this machine, once; a first run takes about half a minute for it"


class Announcer(event.Listener):
    """Logs `MESSAGE` when the first kernel is compiled that no cache holds."""

    def __init__(self) -> None:
        self.told = False

    def on_start(self, event: Any) -> None:
        """Log it, the first time."""
        if not self.told:
            self.told = True
            LOG.info(MESSAGE)

    def on_end(self, event: Any) -> None:
        """Do nothing: the command's own output follows."""


ANNOUNCER = Announcer()
"""The one that listens to Numba's compiler."""
event.register("numba:compile", ANNOUNCER)
