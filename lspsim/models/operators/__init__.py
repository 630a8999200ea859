"""Operators of the forward passes that lspsim knows, module by module.

Start with `builder`; `vit` and `swin` are the models.
"""
