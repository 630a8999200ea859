"""Pruning: scores of blocks, patterns of removal, compensation, and the pipeline.

Start with `recipe` (what can be chosen), `pipeline` (the steps in order), `study` (from a model,
a chip and images to pruned networks).
"""
