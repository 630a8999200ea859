"""Shared by all tests: nothing touches the user's own files, nothing opens a window."""

import os

import pytest
from hypothesis import settings

os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Keep cached shapes of models in a folder of this test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSPSIM_CACHE_DIR", str(tmp_path_factory.mktemp("lspsim-cache")))
        yield
