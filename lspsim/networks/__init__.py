"""Compressed networks: on disk, in memory, smaller, and how good they are.

Start with `record` (the files of a pruned network), then `load`, `quality`, `compact`.
"""
