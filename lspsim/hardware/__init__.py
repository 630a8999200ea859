"""Hardware descriptions: schema, checks, presets. Floor 1."""

from lspsim.hardware.loader import check_file, load_hardware
from lspsim.hardware.presets import preset_names
from lspsim.hardware.schema import Hardware

__all__ = ["Hardware", "check_file", "load_hardware", "preset_names"]
