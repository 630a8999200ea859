"""Colours that people with colour-vision deficiencies can tell apart.

Okabe and Ito, "Color Universal Design" (2008), https://jfly.uni-koeln.de/color/. Wine and
teal are from Paul Tol's "muted" scheme, https://personal.sron.nl/~pault/.
"""

from __future__ import annotations

BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
ORANGE = "#E69F00"
VERMILLION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#B3B3B3"
BLACK = "#000000"

WINE = "#882255"
TEAL = "#44AA99"

CYCLE: tuple[str, ...] = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK, WINE)
"""For categories without a colour of their own."""

MARKERS: tuple[str, ...] = ("o", "s", "^", "D", "v", "<", ">", "h")
"""Shapes that repeat what the colours say."""

BUCKET: dict[str, str] = {
    "compute": BLUE,
    "fill_drain": SKY,
    "stall_weights": VERMILLION,
    "stall_activations": ORANGE,
    "stall_writeback": YELLOW,
    "index": BLACK,
    "vector": GREEN,
    "imbalance": GREY,
}

BUCKET_LABEL: dict[str, str] = {
    "compute": "compute",
    "fill_drain": "fill and drain",
    "stall_weights": "waiting for weights",
    "stall_activations": "waiting for activations",
    "stall_writeback": "write-back",
    "index": "index",
    "vector": "vector unit",
    "imbalance": "core imbalance",
}

ENERGY: dict[str, str] = {
    "mac": BLUE,
    "array_registers": SKY,
    "weight_buffer": VERMILLION,
    "activation_buffer": ORANGE,
    "accumulator": PURPLE,
    "vector": GREEN,
    "index": WINE,
    "dram": "#3b3b3b",
    "noc": TEAL,
    "clock": YELLOW,
    "leakage": GREY,
}
"""Colours of energy components; where a cycle bucket has the same cause, the same colour."""

ENERGY_LABEL: dict[str, str] = {
    "mac": "MACs",
    "array_registers": "array registers",
    "accumulator": "accumulators",
    "vector": "vector unit",
    "dram": "DRAM",
    "noc": "core network",
}
OTHER = "#e2e2e2"
