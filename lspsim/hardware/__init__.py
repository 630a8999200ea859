"""Hardware descriptions: schema, checks, presets.

Start with `schema` (every field), then `loader` (from a file to a checked description).
"""

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
