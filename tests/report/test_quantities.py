from __future__ import annotations

import pytest

from lspsim.report.quantities import binary_size, nats, percent, ratio, si


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 J"),
        (1.234e-3, "1.23 mJ"),
        (0.9996, "1.00 J"),
        (999.6, "1.00 kJ"),
        (12.34, "12.3 J"),
        (123.4, "123 J"),
        (-0.0123, "-12.3 mJ"),
        (5e-16, "5.00e-04 pJ"),
    ],
)
def test_si(value: float, expected: str) -> None:
    assert si(value, "J") == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (3 * 2**20, "3.00 MiB")],
)
def test_binary_size(size: int, expected: str) -> None:
    assert binary_size(size) == expected


def test_percent_and_ratio() -> None:
    assert percent(0.1234) == "12.3 %"
    assert ratio(4, 2) == "0.500x"
    assert ratio(0, 2) == "-"


def test_nats_keep_two_digits_however_small() -> None:
    assert [nats(x) for x in (0.7, 0.0284, 1.36e-6, 0.0, None)] == [
        *("0.7", "0.028", "1.4e-06", "0", "-"),
    ]
