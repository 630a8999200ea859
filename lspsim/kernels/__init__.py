"""Numba kernels on plain arrays. Floor 0."""
