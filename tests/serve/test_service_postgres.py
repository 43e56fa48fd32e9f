"""A real `hardrank serve` on a real PostgreSQL, which crashes, and which it outlives."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hardrank.models import Tfidf
from hardrank.testing.faults import crashed_database, killed
from hardrank.testing.process import Process
from hardrank.testing.service import toy_bundle

if TYPE_CHECKING:
    from hardrank.testing.postgres import Postgres

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "live", Tfidf())


def test_kill_9_loses_and_doubles_nothing(
    postgres: "Postgres", bundle: Path, tmp_path: Path
) -> None:
    with Process(bundle, postgres.new_database(), tmp_path) as process:
        row = killed(process, "killed", times=1)
    assert (row.errors, row.lost, row.doubled) == (0, 0, 0), row
    assert row.requests > 50 and row.recovered_after_s < 60


def test_a_crash_of_the_database_is_a_503_for_writers_and_nothing_for_readers(
    postgres: "Postgres", bundle: Path, tmp_path: Path
) -> None:
    """Keys and histories are believed for half a second only, so that both must be asked for
    while the database is away. No answer may take long for that."""
    settings = {"key_seconds": 0.5, "history_seconds": 0.5}
    with Process(bundle, postgres.new_database(), tmp_path, **settings) as process:
        row = crashed_database(process, postgres, seconds=3.0)
        assert process.alive
    assert (row.errors, row.lost, row.doubled) == (0, 0, 0), row
    assert row.recovered_after_s < 15 and row.slowest_s < 15, row
