"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real datasets: `HARDRANK_DATA`, else `shared/data` beside the project."""
    folder = Path(os.environ.get("HARDRANK_DATA", _BESIDE))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"real data must be present in CI, and {folder} is not there")
        pytest.skip(f"no real data: put it into {folder} or set HARDRANK_DATA")
    return folder
