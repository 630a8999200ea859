"""Low rank at equal MACs: the control that asks whether blocks are worth their trouble.

Each layer's weight `[N, K]` becomes a product of rank r, which costs `r (N + K)`
multiply-accumulates per input row in place of `N K`.
"""

from lspsim.prune.lowrank.network import LowRank, low_rank
from lspsim.prune.lowrank.truncate import Spectrum, spectrum

__all__ = ["LowRank", "Spectrum", "low_rank", "spectrum"]
