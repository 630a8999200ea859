"""Comparisons of methods, with seeds and paired tests.

Start with `cells` (what is compared), then `bench` (which runs them), `results`, `claims`, `pages`.
"""
