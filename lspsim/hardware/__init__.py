"""Hardware descriptions: schema, checks, presets. Floor 1."""

from lspsim.hardware.loader import check_file, load_hardware
from lspsim.hardware.presets import preset_names
from lspsim.hardware.schema import Hardware
from lspsim.hardware.tables import hardware_table, list_presets

__all__ = [
    "Hardware",
    "check_file",
    "hardware_table",
    "list_presets",
    "load_hardware",
    "preset_names",
]
