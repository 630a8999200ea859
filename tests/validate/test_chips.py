"""Published chips: the fit, what is predicted, and that the report says what comes out."""

from __future__ import annotations

import pytest

from lspsim.hardware import load_hardware
from lspsim.hardware.technology import adder, load_technology, multiplier
from lspsim.simulate.energy import COMPONENTS, NOMINAL
from lspsim.validate import chips
from lspsim.validate.chips import (
    CLOCK_RANGE_FJ,
    ChipReport,
    ChipRow,
    fit_clock_fj,
    fitted_chip,
    fitted_clock_fj,
    peak_tops,
    validate_chips,
    vita_hardware,
)
from lspsim.validate.steady import component, steady_power_w, streamed_rows


@pytest.fixture(scope="module")
def report() -> ChipReport:
    return validate_chips()


def pick(report: ChipReport, chip: str, quantity: str) -> ChipRow:
    (found,) = (e for e in report.entries if e.chip == chip and e.quantity == quantity)
    return found


def test_the_technology_carries_the_fitted_constant() -> None:
    """Were a constant or the stand-in changed, the fit would have to be taken anew."""
    clock = load_technology("28nm").registers.clock
    assert float(clock.value * 10**15) == pytest.approx(fitted_clock_fj(), abs=5e-4)
    assert tuple(float(x * 10**15) for x in clock.band[::2]) == CLOCK_RANGE_FJ


def test_a_fit_on_the_models_own_power_gives_the_models_constant() -> None:
    hardware = fitted_chip()
    power = float(steady_power_w(hardware)[NOMINAL].sum())
    assert fit_clock_fj(hardware, power) == pytest.approx(
        float(hardware.technology.registers.clock.value) * 1e15
    )


def test_the_fit_never_sees_vita(monkeypatch: pytest.MonkeyPatch) -> None:
    before = fitted_clock_fj()
    monkeypatch.setattr(chips, "VITA_TOPS_PER_W", 99.0)
    assert fitted_clock_fj() == before


def test_published_figures(report: ChipReport) -> None:
    """16.384 TOPS at 1.57 TOPS/W and 2.13 TOPS/mm2: 1.27 pJ and 939 um2 per MAC, all in."""
    assert pick(report, "ViTA, 1 MiB", "energy_pj_per_mac").published == pytest.approx(
        1.27, abs=5e-3
    )
    assert pick(report, "ViTA, 1 MiB", "area_um2_per_mac").published == pytest.approx(939, abs=0.5)
    assert pick(report, "ViTA, 1 MiB", "power_w").published == pytest.approx(10.4, abs=0.05)
    assert pick(report, "ViTA, 1 MiB", "area_mm2").published == pytest.approx(7.7, abs=0.05)
    assert pick(report, "arXiv 2510.14393", "power_w").published == pytest.approx(0.4433, abs=1e-4)
    assert pick(report, "arXiv 2510.14393", "area_mm2").published == pytest.approx(1.193, abs=1e-3)


def test_ratios_bands_and_roles_are_consistent(report: ChipReport) -> None:
    for entry in report.entries:
        assert 0 < entry.low <= entry.predicted <= entry.high, entry
        assert entry.ratio == pytest.approx(entry.predicted / entry.published)
        assert entry.in_band == (entry.low <= entry.published <= entry.high)
        assert (entry.role == "identity") == (entry.quantity == "peak_tops")
        assert entry.source
    fitted = [e for e in report.entries if e.role == "fitted"]
    assert [(e.chip, e.quantity) for e in fitted] == [("arXiv 2510.14393", "power_w")]


def test_peak_rates_follow_from_the_configuration() -> None:
    assert peak_tops(vita_hardware(1.0)) == pytest.approx(16.384)
    assert peak_tops(fitted_chip()) == pytest.approx(1.024)


def test_vita_is_swept_over_its_buffers(report: ChipReport) -> None:
    for mib in (0.5, 1.0, 2.0):
        hardware = vita_hardware(mib)
        each = hardware.buffers.weight_bytes + hardware.buffers.activation_bytes
        assert hardware.cores * each == mib * 1024**2
    areas = [pick(report, f"ViTA, {mib} MiB", "area_mm2").predicted for mib in ("0.5", "1", "2")]
    assert areas == sorted(areas)


def test_the_power_band_holds_vitas_published_power(report: ChipReport) -> None:
    for mib in ("0.5", "1", "2"):
        assert pick(report, f"ViTA, {mib} MiB", "power_w").in_band


def test_notes_say_what_the_table_shows(report: ChipReport) -> None:
    text = " ".join(report.notes)
    area = [pick(report, f"ViTA, {mib} MiB", "area_mm2") for mib in ("0.5", "1", "2")]
    power = [pick(report, f"ViTA, {mib} MiB", "power_w") for mib in ("0.5", "1", "2")]
    assert f"ViTA area: {area[0].ratio:.2f} to {area[-1].ratio:.2f} times" in text
    near = sum(0.7 <= e.ratio <= 1.3 for e in area)
    assert f"within 30%: {near} of 3 buffer sizes" in text
    close = sum(1 / 1.5 <= e.ratio <= 1.5 for e in power)
    assert f"within a factor of 1.5: {close} of 3 buffer sizes" in text
    assert "identities" in text


def test_lpvits_claim_stands_beside_its_ceiling(report: ChipReport) -> None:
    row = pick(report, "LPViT on ViTA", "speedup_from_macs")
    assert row.role == "ceiling"
    assert row.predicted == pytest.approx(3.448, abs=1e-3)
    assert row.published == 3.93
    assert "1/0.29 = 3.45x" in report.notes[-1]


def test_steady_power_moves_no_dram_and_adds_up() -> None:
    hardware = vita_hardware(1.0)
    power = steady_power_w(hardware)
    assert power.shape == (3, len(COMPONENTS))
    for idle in ("dram", "vector", "noc", "index"):
        assert component(power, idle) == (0, 0, 0)
    per_mac = power[NOMINAL].sum() / (hardware.macs_per_cycle * hardware.clock_hz) * 1e12
    assert 0.5 < per_mac < 1.5


def test_a_fold_streams_equal_chunks() -> None:
    hardware = vita_hardware(1.0)
    assert streamed_rows(hardware.with_values({"array.accumulator_rows": 256})) == 197
    assert streamed_rows(hardware.with_values({"array.accumulator_rows": 64})) == 50


def test_every_processing_element_multiplies_in_every_cycle() -> None:
    for hardware in (vita_hardware(1.0), fitted_chip(), load_hardware("tpu_v1")):
        assert streamed_rows(hardware) >= hardware.array.rows
        table, p = hardware.technology.arithmetic, hardware.precision
        per_mac = multiplier(table, "int", (8, 8)).value + adder(table, "int", 32).value
        assert p.accumulator_bits == 32
        expected = per_mac * 1e-12 * hardware.macs_per_cycle * hardware.clock_hz
        assert component(steady_power_w(hardware), "mac").value == pytest.approx(expected)


def test_rows_match_columns(report: ChipReport) -> None:
    assert {len(row) for row in report.rows()} == {len(report.columns)}
    assert report.columns[:3] == ("chip", "quantity", "role")
