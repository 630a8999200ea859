"""Hardware descriptions as tables of text, for the command line and the docs."""

from __future__ import annotations

from typing import Any, NamedTuple

from lspsim import units
from lspsim.hardware.fields import FieldSpec, default_text, fields_of, is_sourced
from lspsim.hardware.files import read_notes
from lspsim.hardware.loader import check_file, load_hardware
from lspsim.hardware.presets import preset_names, preset_path
from lspsim.hardware.schema import Hardware
from lspsim.hardware.sourced import Quantity, Ratio, Record
from lspsim.hardware.technology import Technology


class SettingRow(NamedTuple):
    """One value of a hardware description."""

    path: str
    value: str
    """With its unit."""
    description: str
    source: str
    """Where the value comes from, as far as that is known; else ""."""


class PresetRow(NamedTuple):
    """One shipped hardware configuration."""

    name: str
    array: str
    """Cores x rows x columns."""
    precision: str
    clock: str
    peak: str
    """Two operations per multiply-accumulate, all of them busy."""
    dram: str
    technology: str
    description: str


def hardware_table(hardware: Hardware) -> list[SettingRow]:
    """Every value that is set, in the order of the file format.

    Where a value's source is no part of the description, but the preset of the same
    name holds the same value, its comment there is the source.

    Parameters
    ----------
    hardware
        What to print.

    Returns
    -------
    list of SettingRow
        A constant with a source is one row, its bounds beside its value.
    """
    specs = fields_of(Hardware)
    notes = _preset_notes(hardware)
    leaves = _leaves(hardware.to_document(), specs, "")
    return [_setting_row(specs[path], value, notes.get(path, "")) for path, value in leaves]


def technology_table(technology: Technology) -> list[SettingRow]:
    """Every constant of a technology, with its bounds, meaning and source."""
    specs = fields_of(Technology)
    document = technology.model_dump(by_alias=True, exclude_none=True)
    rows = []
    for path, value in _leaves(document, specs, ""):
        row = _setting_row(specs[path], value, "")
        rows.append(row._replace(path=f"technology.{path}"))
    return rows


def _preset_notes(hardware: Hardware) -> dict[str, str]:
    """Path -> comment in the preset that `hardware` comes from, where the values agree."""
    if hardware.name not in preset_names():
        return {}
    path = preset_path(hardware.name)
    notes = read_notes(path)
    specs = fields_of(Hardware)
    ours = dict(_leaves(hardware.to_document(), specs, ""))
    theirs = dict(_leaves(check_file(path).to_document(), specs, ""))
    return {key: note for key, note in notes.items() if ours.get(key) == theirs.get(key)}


def _leaves(data: dict[str, Any], specs: dict[str, FieldSpec], prefix: str) -> list[Any]:
    """Path and value of every field that is no section; sourced constants stay whole."""
    found: list[Any] = []
    for key, value in data.items():
        path = prefix + key
        if isinstance(value, dict) and not is_sourced(specs[path]):
            found += _leaves(value, specs, path + ".")
        else:
            found.append((path, value))
    return found


def _setting_row(spec: FieldSpec, value: Any, note: str) -> SettingRow:
    if not isinstance(value, dict):
        return SettingRow(spec.path, _with_unit(spec, value), spec.description, note)
    text = value["value"]
    if "low" in value or "high" in value:
        text += f" ({value.get('low', text)} to {value.get('high', text)})"
    return SettingRow(spec.path, text, spec.description, value["source"])


def _with_unit(spec: FieldSpec, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if spec.kind is not int:
        return str(value)
    return f"{value} {_ONE.get(spec.unit, spec.unit) if value == 1 else spec.unit}"


_ONE = {"cores": "core", "rows": "row", "cycles": "cycle", "passes": "pass", "PEs": "PE"}


def list_presets() -> list[PresetRow]:
    """One row per shipped configuration, sorted by name."""
    return [_preset_row(load_hardware(name)) for name in preset_names()]


def _preset_row(h: Hardware) -> PresetRow:
    p = h.precision
    operands = (
        f"{p.weight_bits}"
        if p.weight_bits == p.activation_bits
        else (f"{p.weight_bits}/{p.activation_bits}")
    )
    return PresetRow(
        name=h.name,
        array=f"{h.cores} x {h.array.rows}x{h.array.cols}",
        precision=f"{p.number}{operands}",
        clock=units.format_quantity(h.clock_hz, units.FREQUENCY),
        peak=f"{2 * h.macs_per_cycle * h.clock_hz / 1e12:.4g} TOPS",
        dram=units.format_quantity(h.memory.dram.bandwidth_bytes_per_s, units.BANDWIDTH),
        technology=h.technology_name,
        description=h.description,
    )


_KINDS: dict[type, str] = {bool: "true or false", int: "integer", str: "text", Ratio: "number"}


def field_reference(model: type[Record]) -> str:
    """Markdown table of every field of a file format.

    Parameters
    ----------
    model
        The format, e.g. `Hardware`.

    Returns
    -------
    str
        Columns path, type, unit, default, meaning; ends in a newline.
    """
    rows = ["| path | type | unit | default | meaning |", "|---|---|---|---|---|"]
    rows += [_reference_row(spec, model) for spec in fields_of(model).values()]
    return "\n".join(rows) + "\n"


def _reference_row(spec: FieldSpec, model: type[Record]) -> str:
    if spec.record is not None:
        kind = "section"
    elif spec.choices:
        kind = " or ".join(f"`{choice}`" for choice in spec.choices)
    elif spec.kind is Quantity:
        kind = f"quantity, as `{spec.example}`"
    else:
        kind = _KINDS[spec.kind]
    default = default_text(spec, model)
    if spec.required:
        shown = "*required*"
    elif default:
        shown = f"`{default}`"
    else:
        shown = "see below" if spec.default is not None and spec.record else "none"
    return f"| `{spec.path}` | {kind} | {spec.unit} | {shown} | {spec.description} |"


if __name__ == "__main__":
    print(field_reference(Hardware), end="")
