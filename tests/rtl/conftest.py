"""One folder of RTL builds for all tests of a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def rtl_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that keeps builds; it is made by the first one."""
    return tmp_path_factory.getbasetemp() / "rtl"
