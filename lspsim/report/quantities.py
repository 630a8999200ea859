"""Numbers as people read them: thousands separators, SI prefixes, binary sizes."""

from __future__ import annotations

_SI = (
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "u"),
    (1e-9, "n"),
    (1e-12, "p"),
)
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def si(value: float, unit: str, digits: int = 3) -> str:
    """Return `value` with an SI prefix and `digits` significant digits, e.g. `12.3 mJ`."""
    if value == 0:
        return f"0 {unit}"
    for scale, prefix in _SI:
        # Compare what will be printed, so that 999.96 becomes 1.00 k and not 1000.
        if float(f"{abs(value):.{digits - 1}e}") >= scale:
            return f"{_digits(value / scale, digits)} {prefix}{unit}"
    scale, prefix = _SI[-1]
    return f"{value / scale:.{digits - 1}e} {prefix}{unit}"


def binary_size(size_bytes: int) -> str:
    """Return a byte count in KiB, MiB, ... with three significant digits."""
    for scale, unit in _BINARY:
        if size_bytes >= scale:
            return f"{_digits(size_bytes / scale, 3)} {unit}"
    return f"{size_bytes} B"


def percent(fraction: float) -> str:
    """Return a fraction as percent with one decimal."""
    return f"{100 * fraction:.1f} %"


def nats(value: float | None) -> str:
    """Return a divergence with two significant digits, as it may be small; `-` for None."""
    return "-" if value is None else f"{value:.2g}"


def ratio(a: float, b: float) -> str:
    """Return `b / a` as `0.520x`; `-` where a is 0."""
    return f"{b / a:.3f}x" if a else "-"


def _digits(value: float, digits: int) -> str:
    """Return `value` with `digits` significant digits and no exponent."""
    whole = len(f"{abs(value):.0f}") if abs(value) >= 1 else 1
    return f"{value:,.{max(0, digits - whole)}f}"
