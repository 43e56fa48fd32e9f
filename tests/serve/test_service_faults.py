"""A real `hardrank serve` under load, and what goes wrong: killed, without room, with other
bundles. S1-27, S3-46: nothing that was acknowledged is lost, no request fails."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardrank.models import Popularity, Tfidf
from hardrank.testing.faults import (
    Row,
    erased_meanwhile,
    full_disk,
    killed,
    swapped,
    tampered_bundle,
)
from hardrank.testing.process import Process, until
from hardrank.testing.service import toy_bundle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Tfidf())
    toy_bundle(folder / "other", Popularity(), seed=1)
    return folder


@pytest.fixture
def process(bundles: Path, tmp_path: Path) -> Iterator[Process]:
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    with Process(bundles / "live", store, tmp_path) as made:
        yield made


def _is_clean(row: Row) -> None:
    assert (row.errors, row.lost, row.doubled) == (0, 0, 0), row
    assert row.requests > 20, row


def test_kill_9_loses_and_doubles_nothing(process: Process) -> None:
    row = killed(process, "killed", times=1)
    _is_clean(row)
    assert row.recovered_after_s < 60


def test_without_room_writes_wait_and_reading_goes_on(process: Process, tmp_path: Path) -> None:
    row = full_disk(process, tmp_path / "shop.db")
    _is_clean(row)
    assert row.recovered_after_s < 10


def test_swaps_under_load_drop_no_request(process: Process) -> None:
    _is_clean(swapped(process, ("other", "live", "other")))


def test_an_altered_bundle_is_refused_under_load(process: Process, bundles: Path) -> None:
    _is_clean(tampered_bundle(process, bundles / "other"))


def test_a_user_is_erased_while_their_events_come_in(process: Process, tmp_path: Path) -> None:
    user = "user-to-be-forgotten-7f3a"
    _is_clean(erased_meanwhile(process, "other", user))
    process.kill()
    for file in tmp_path.iterdir():
        assert user.encode() not in file.read_bytes(), file


def test_a_start_with_an_altered_bundle_answers_and_takes_a_whole_one(
    bundles: Path, tmp_path: Path
) -> None:
    """Popularity answers; the process is not ready, and says so; a swap mends it."""
    broken = shutil.copytree(bundles / "live", bundles / "altered-at-the-start")
    weights = next(file for file in sorted(broken.rglob("*")) if file.suffix == ".safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with Process(broken, f"sqlite:///{tmp_path / 'shop.db'}", tmp_path) as process:
        process.start(wait=False)
        until(lambda: "not-loaded" in process.log.read_text())
        asked = {"user_id": "u1", "k": 5}
        reply = process.ask("read", "POST", "/v1/recommend", asked)
        assert reply.status == 200 and reply.json()["source"] == "popularity"
        assert process.ask(None, "GET", "/v1/health/ready").status == 503
        assert process.ask("admin", "POST", "/v1/bundle", {"bundle": "live"}).status == 200
        assert process.ask(None, "GET", "/v1/health/ready").status == 200
        assert process.ask("read", "POST", "/v1/recommend", asked).json()["source"] == "model"
