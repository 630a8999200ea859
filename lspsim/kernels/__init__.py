"""Numba kernels on plain arrays. Floor 0."""

from lspsim.kernels import compilation as compilation  # listens from the first kernel on
