"""Numba kernels on plain arrays."""

from lspsim.kernels import compilation as compilation  # listens from the first kernel on
