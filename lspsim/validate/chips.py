"""Energy and area constants against published 28 nm chips (docs/validation.md).

All constants are frozen before the comparison. One is free, the energy of a flip-flop
and its clock; it is fitted on arXiv 2510.14393 alone. ViTA, whose organisation is not
public, is only predicted, as a band over its unknown buffers.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Literal

from lspsim.hardware import Hardware, load_hardware
from lspsim.hardware.technology import Band
from lspsim.simulate.area import area_mm2, footprint
from lspsim.simulate.energy import clock_power_w, leakage_power_w
from lspsim.validate.steady import component, steady_power_w

Role = Literal["prediction", "fitted", "bounded", "identity", "ceiling"]
"""What a row proves: `prediction` is evidence; a `fitted` or `bounded` figure has set (a
bound of) a constant, so it is none; an `identity` follows from the configuration; a
`ceiling` bounds a published claim."""

CLOCK_RANGE_FJ = (5.0, 10.0)
"""Flip-flop and its share of the clock tree at 28 nm, fJ per bit and clock
(docs/energy.md): the free constant is fitted inside this range."""

VITA = "Chen et al., ViTA, DATE 2024, as cited by LPViT (arXiv 2407.02068)"
VITA_TOPS, VITA_TOPS_PER_W, VITA_TOPS_PER_MM2 = 16.384, 1.57, 2.13
VITA_BUFFERS_MIB = (0.5, 1.0, 2.0)
"""On-chip buffers of all cores together; unknown, so swept."""

FITTED = "Hsiung and Chang, arXiv 2510.14393"
FITTED_TOPS, FITTED_TOPS_PER_W, FITTED_TOPS_PER_MM2 = 1.024, 2.31, 0.85861

TPU = "Jouppi et al., ISCA 2017"
TPU_TOPS, TPU_IDLE_W, TPU_BUSY_W, TPU_DIE_MM2 = 92.0, 28.0, 40.0, 331.0
TPU_MATRIX_SHARE, TPU_BUFFER_SHARE = 0.24, 0.29

LPVIT = "LPViT (arXiv 2407.02068)"
LPVIT_SPEEDUP, LPVIT_MACS_LEFT = 3.93, 0.29

AREA_ERROR, POWER_FACTOR = 0.3, 1.5
"""What was hoped for on ViTA: area within 30 %, power within a factor of 1.5."""


@dataclass(frozen=True, slots=True)
class ChipRow:
    """One published figure beside its prediction, in the unit that `quantity` names."""

    chip: str
    quantity: str
    role: Role
    low: float
    predicted: float
    high: float
    published: float
    ratio: float
    """Predicted / published."""
    in_band: bool
    """Whether the published figure lies between `low` and `high`."""
    source: str


@dataclass(frozen=True, slots=True)
class ChipReport:
    """Predictions for published chips."""

    entries: tuple[ChipRow, ...]
    notes: tuple[str, ...]
    """What the table shows, in sentences; all figures in them are computed."""

    title = "Published 28 nm chips"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(field.name for field in fields(ChipRow))

    def rows(self) -> list[tuple[str | float, ...]]:
        """Return the table, a tuple per row in the order of `columns`."""
        return [astuple(entry) for entry in self.entries]


def validate_chips() -> ChipReport:
    """Predict ViTA, TPUv1 and arXiv 2510.14393, and compare with what was published.

    Returns
    -------
    ChipReport
        Power is that of a fully used chip without DRAM; pads, interfaces and control
        processors are not modelled.
    """
    vita = [_vita(mib) for mib in VITA_BUFFERS_MIB]
    entries = (*_fitted_rows(), *(row for rows in vita for row in rows), *_tpu_rows(), _lpvit_row())
    return ChipReport(entries, _notes(entries))


def fit_clock_fj(hardware: Hardware, power_w: float) -> float:
    """Flip-flop and clock energy at which a fully used chip takes `power_w`.

    Closed form: what the nominal power lacks without its clock, over register bits and
    clock. Not limited to `CLOCK_RANGE_FJ`.

    Parameters
    ----------
    hardware
        The chip.
    power_w
        Its published power.

    Returns
    -------
    float
        fJ per bit and clock.
    """
    power = steady_power_w(hardware)
    rest = power[1].sum() - component(power, "clock").value
    bits = footprint(hardware).register_bits
    return float(1e15 * (power_w - rest) / (bits * hardware.clock_hz))


def fitted_chip() -> Hardware:
    """Return the approximation of arXiv 2510.14393, on which the free constant is fitted."""
    return load_hardware("arxiv_2510_14393")


def fitted_clock_fj() -> float:
    """Value of the free constant: the fit, limited to `CLOCK_RANGE_FJ`."""
    low, high = CLOCK_RANGE_FJ
    return min(max(fit_clock_fj(fitted_chip(), FITTED_TOPS / FITTED_TOPS_PER_W), low), high)


def peak_tops(hardware: Hardware) -> float:
    """Peak rate: two operations per multiply-accumulate."""
    return 2e-12 * hardware.macs_per_cycle * hardware.clock_hz


def vita_hardware(buffers_mib: float) -> Hardware:
    """Return the approximation of ViTA with this much buffer in all, shared half and half."""
    hardware = load_hardware("vita_date2024")
    each = round(buffers_mib * 1024 / hardware.cores / 2)
    size = f"{each} KiB"
    return hardware.with_values({"buffers.weight": size, "buffers.activation": size})


def _fitted_rows() -> tuple[ChipRow, ...]:
    hardware, chip = fitted_chip(), "arXiv 2510.14393"
    return (
        _identity(chip, hardware, FITTED_TOPS, FITTED),
        _row(chip, "power_w", "fitted", _power(hardware), FITTED_TOPS / FITTED_TOPS_PER_W, FITTED),
        _row(
            chip,
            "area_mm2",
            "prediction",
            area_mm2(hardware)["total"],
            FITTED_TOPS / FITTED_TOPS_PER_MM2,
            FITTED,
        ),
    )


def _vita(buffers_mib: float) -> tuple[ChipRow, ...]:
    hardware, chip = vita_hardware(buffers_mib), f"ViTA, {buffers_mib:g} MiB"
    power, area = _power(hardware), area_mm2(hardware)["total"]
    macs = hardware.macs_per_cycle
    watts, mm2 = VITA_TOPS / VITA_TOPS_PER_W, VITA_TOPS / VITA_TOPS_PER_MM2
    per_mac = 1e12 / (macs * hardware.clock_hz)
    return (
        _identity(chip, hardware, VITA_TOPS, VITA),
        _row(chip, "power_w", "prediction", power, watts, VITA),
        _row(chip, "energy_pj_per_mac", "prediction", power.times(per_mac), watts * per_mac, VITA),
        _row(chip, "area_mm2", "prediction", area, mm2, VITA),
        _row(
            chip, "area_um2_per_mac", "prediction", area.times(1e6 / macs), mm2 * 1e6 / macs, VITA
        ),
    )


def _tpu_rows() -> tuple[ChipRow, ...]:
    hardware, chip = load_hardware("tpu_v1"), "TPUv1"
    area = area_mm2(hardware)
    idle = clock_power_w(hardware).plus(leakage_power_w(hardware))
    matrix = TPU_MATRIX_SHARE * TPU_DIE_MM2
    buffer = TPU_BUFFER_SHARE * TPU_DIE_MM2
    return (
        _identity(chip, hardware, TPU_TOPS, TPU),
        _row(chip, "busy_power_w", "prediction", _power(hardware), TPU_BUSY_W, TPU),
        _row(chip, "idle_power_w", "bounded", idle, TPU_IDLE_W, TPU),
        _row(chip, "matrix_unit_mm2", "prediction", area["processing_elements"], matrix, TPU),
        _row(chip, "unified_buffer_mm2", "bounded", area["activation_buffer"], buffer, TPU),
    )


def _lpvit_row() -> ChipRow:
    ceiling = 1 / LPVIT_MACS_LEFT
    return _row(
        "LPViT on ViTA",
        "speedup_from_macs",
        "ceiling",
        Band(ceiling, ceiling, ceiling),
        LPVIT_SPEEDUP,
        LPVIT,
    )


def _power(hardware: Hardware) -> Band:
    return Band(*steady_power_w(hardware).sum(axis=1).tolist())


def _identity(chip: str, hardware: Hardware, published: float, source: str) -> ChipRow:
    tops = peak_tops(hardware)
    return _row(chip, "peak_tops", "identity", Band(tops, tops, tops), published, source)


def _row(
    chip: str, quantity: str, role: Role, band: Band, published: float, source: str
) -> ChipRow:
    ratio = band.value / published
    inside = band.low <= published <= band.high
    return ChipRow(chip, quantity, role, *band, published, ratio, inside, source)


def _notes(entries: tuple[ChipRow, ...]) -> tuple[str, ...]:
    vita = [entry for entry in entries if entry.chip.startswith("ViTA")]
    area = [entry for entry in vita if entry.quantity == "area_mm2"]
    power = [entry for entry in vita if entry.quantity == "power_w"]
    near = [abs(entry.ratio - 1) <= AREA_ERROR for entry in area]
    close = [1 / POWER_FACTOR <= entry.ratio <= POWER_FACTOR for entry in power]
    fit = fit_clock_fj(fitted_chip(), FITTED_TOPS / FITTED_TOPS_PER_W)
    low, high = CLOCK_RANGE_FJ
    return (
        f"Free constant: the power of arXiv 2510.14393 alone would give {fit:.2f} fJ per flip-flop "
        f"bit and clock; limited to {low:g} to {high:g} fJ it is {fitted_clock_fj():.2f} fJ. "
        "Its shape and register widths are assumed, and other shapes give other values.",
        f"ViTA area: {_span(area)} times the published figure over the sweep; "
        f"within {AREA_ERROR:.0%}: {_count(near)}; inside the band: {_in_band(area)}.",
        f"ViTA power: {_span(power)} times the published figure over the sweep; "
        f"within a factor of {POWER_FACTOR:g}: {_count(close)}; inside the band: "
        f"{_in_band(power)}. Control, pads and whatever else that chip does are not modelled, "
        "so a prediction below the published figure is expected.",
        "Peak TOPS are identities: they follow from the number of multipliers and the clock, "
        "and prove nothing.",
        "TPUv1 was measured on its workloads, below full use; here it is fully used. Its idle "
        "power bounds the leakage, and its unified buffer the SRAM area, from above, by "
        "construction. Its matrix unit is far larger than the arithmetic and registers "
        "counted here.",
        f"LPViT reports {LPVIT_SPEEDUP}x at {LPVIT_MACS_LEFT:.0%} of the MACs. Time in proportion "
        f"to MACs gives at most 1/{LPVIT_MACS_LEFT} = {1 / LPVIT_MACS_LEFT:.2f}x; "
        f"{LPVIT_SPEEDUP}x would need {1 / LPVIT_SPEEDUP:.1%} of them, or a baseline that waits "
        "where the pruned model does not (weights from DRAM, say).",
    )


def _span(entries: list[ChipRow]) -> str:
    ratios = [entry.ratio for entry in entries]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def _in_band(entries: list[ChipRow]) -> str:
    return _count([entry.in_band for entry in entries])


def _count(holds: list[bool]) -> str:
    return f"{sum(holds)} of {len(holds)} buffer sizes"
