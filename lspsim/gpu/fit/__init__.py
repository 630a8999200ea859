"""Measurements and published figures, and the parameters that are fitted to them."""
