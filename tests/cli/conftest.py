"""A small bundle of the marketplace, and the command line in this process or in its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from hardrank.bundle import save_bundle
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.sources import Marketplace
from hardrank.models import ItemKnn
from hardrank.recommender import Recommender

ABOUT = {"name": "small", "synthetic": True}


@pytest.fixture(scope="session")
def data() -> Dataset:
    return Marketplace(users=60, items=80, median_events=6).load()


@pytest.fixture(scope="session")
def model(data: Dataset) -> Recommender:
    return ItemKnn().fit(data, RunContext())


@pytest.fixture(scope="session")
def _bundle(data: Dataset, model: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "small"
    save_bundle(folder, ItemKnn(), model, data, ABOUT)
    return folder


@pytest.fixture
def bundle(_bundle: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(_bundle, tmp_path / "bundle"))


@pytest.fixture
def hardrank() -> Callable[..., Result]:
    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return call


@pytest.fixture(scope="session")
def process() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def call(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "hardrank.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
            **options,
        )

    return call
