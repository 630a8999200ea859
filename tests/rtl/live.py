"""What tests need to run the RTL itself."""

from __future__ import annotations

import os

import pytest

from lspsim.rtl import missing_tools

needs_verilator = pytest.mark.skipif(
    bool(missing_tools()),
    reason=f"simulating RTL needs {', '.join(missing_tools())}; on Debian: apt-get install "
    "--no-install-recommends verilator make g++",
)
full_tier = pytest.mark.skipif(
    os.environ.get("LSPSIM_RTL") != "full",
    reason="builds the RTL many times (minutes); set LSPSIM_RTL=full to run it",
)
