"""Low rank at equal MACs: the control that asks whether blocks are worth their trouble.

Each layer's weight `[N, K]` becomes a product of rank r, which costs `r (N + K)`
multiply-accumulates per input row in place of `N K`.
"""

from lspsim.prune.patterns.low_rank.network import LowRank, low_rank
from lspsim.prune.patterns.low_rank.truncate import Spectrum, spectrum

__all__ = ["LowRank", "Spectrum", "low_rank", "spectrum"]
