"""Services go over to the bundle that their store calls live."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hardrank.files import digest_file
from hardrank.models import Popularity, Tfidf
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.service import Service
from hardrank.serve.store import Store
from hardrank.testing.service import Served, served, toy_bundle, until

_ASKED = {"history": ["i0", "i3"], "k": 5}


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    folder = tmp_path / "bundles"
    toy_bundle(folder / "live", Popularity())
    toy_bundle(folder / "other", Tfidf(), seed=1)
    return folder


def _digest(folder: Path) -> str:
    return digest_file(folder / "SHA256SUMS")


def _break(folder: Path) -> None:
    """The list of digests still names the bundle, but a file is another."""
    whole = (folder / "items.parquet").read_bytes()
    (folder / "items.parquet").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def _service(shop: Served) -> Service:
    service: Service = shop.app.state.service
    return service


def _look(shop: Served) -> bool:
    """As the service does every `follow_seconds`, on its own event loop."""
    return bool(shop.client.portal.call(_service(shop).following.look))


def _serves(shop: Served, folder: Path) -> bool:
    answer = shop.ask("read", "POST", "/v1/recommend", json=_ASKED).json()
    return bool(answer["source"] == "model" and answer["bundle"] == _digest(folder)[:12])


def _complaints(shop: Served) -> list[str]:
    return [a.message for a in _service(shop).watching.standing() if a.kind == "bundle"]


@pytest.fixture
def shop(bundles: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundles / "live", tmp_path / "s.db", follow_seconds=0.0) as made:
        yield made


def test_nothing_promoted_changes_nothing(shop: Served, bundles: Path) -> None:
    assert not _look(shop) and _serves(shop, bundles / "live")
    assert _service(shop).store.bundles() == (None, None), "and nothing is written"


def test_what_is_promoted_is_served_and_so_is_what_is_rolled_back_to(
    shop: Served, bundles: Path
) -> None:
    store = _service(shop).store
    store.promote(_digest(bundles / "live"), who="somebody")
    assert not _look(shop)
    store.promote(_digest(bundles / "other"), who="somebody")
    assert _look(shop) and _serves(shop, bundles / "other") and not _look(shop)
    store.rollback(who="somebody")
    assert _look(shop) and _serves(shop, bundles / "live")
    assert _complaints(shop) == []


def test_a_missing_bundle_is_told_and_taken_up_when_it_appears(
    shop: Served, bundles: Path, tmp_path: Path
) -> None:
    folder = toy_bundle(tmp_path / "elsewhere", Tfidf(), seed=2)
    store = _service(shop).store
    store.promote(_digest(folder), who="somebody")
    for _ in range(3):
        assert not _look(shop) and _serves(shop, bundles / "live")
        assert len(_complaints(shop)) == 1 and "not beside" in _complaints(shop)[0]
    assert len(store.audit_log(action="alarm")) == 1, "said once"
    shutil.copytree(folder, bundles / "new")
    assert _look(shop) and _serves(shop, bundles / "new") and _complaints(shop) == []


def test_a_refused_bundle_is_told_and_not_tried_again_and_again(
    shop: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shutil.copytree(bundles / "other", bundles.parent / "good")
    _break(bundles / "other")
    service, tries = _service(shop), list[Path]()
    swap = service.swap

    async def counted(folder: Path) -> float:
        tries.append(folder)
        return await swap(folder)

    monkeypatch.setattr(service, "swap", counted)
    service.store.promote(_digest(bundles / "other"), who="somebody")
    for _ in range(3):
        assert not _look(shop) and _serves(shop, bundles / "live")
    assert len(tries) == 1 and len(_complaints(shop)) == 1 and "refused" in _complaints(shop)[0]
    shutil.rmtree(bundles / "other")
    shutil.copytree(good, bundles / "mended")  # the same digest in another folder
    assert _look(shop) and _serves(shop, bundles / "mended") and _complaints(shop) == []


def test_a_complaint_ends_when_it_is_promoted_away(shop: Served, bundles: Path) -> None:
    store = _service(shop).store
    store.promote("0" * 64, who="somebody")
    assert not _look(shop) and len(_complaints(shop)) == 1
    store.promote(_digest(bundles / "live"), who="somebody")
    assert not _look(shop)
    assert _complaints(shop) == []


def test_a_bundle_taken_by_hand_stays_after_a_restart_and_can_be_rolled_back(
    bundles: Path, tmp_path: Path
) -> None:
    with served(bundles / "live", tmp_path / "s.db", follow_seconds=0.0) as shop:
        done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
        assert done.status_code == 200
        live, previous = _digest(bundles / "other"), _digest(bundles / "live")
        assert _service(shop).store.bundles() == (live, previous)
        assert not _look(shop) and _serves(shop, bundles / "other")
        actions = [(r.action, r.subject) for r in _service(shop).store.audit_log()]
        assert ("swap", live) in actions and ("promote", live) in actions
    with served(bundles / "live", tmp_path / "s.db", follow_seconds=0.0) as shop:
        assert _serves(shop, bundles / "other"), "what is promoted wins over the command line"
        _service(shop).store.rollback(who="somebody")
        assert _look(shop) and _serves(shop, bundles / "live")


@pytest.mark.parametrize("wrong", ["missing", "broken"])
def test_a_start_without_the_promoted_bundle_takes_the_one_it_was_given(
    bundles: Path, tmp_path: Path, wrong: str
) -> None:
    with Store.open(tmp_path / "s.db") as store:
        store.promote(digest := _digest(bundles / "other"), who="somebody")
    if wrong == "missing":
        shutil.move(bundles / "other", tmp_path / "other")
    else:
        _break(bundles / "other")
    with served(bundles / "live", tmp_path / "s.db", follow_seconds=0.0) as shop:
        assert _serves(shop, bundles / "live") and len(_complaints(shop)) == 1
        assert not _look(shop) and len(_complaints(shop)) == 1
        assert _service(shop).store.bundles()[0] == digest, "it is still what is wanted"


def test_two_services_on_one_store_follow_by_themselves(bundles: Path, tmp_path: Path) -> None:
    with ExitStack() as running:
        shops = [
            running.enter_context(served(bundles / "live", tmp_path / "s.db", follow_seconds=0.05))
            for _ in range(2)
        ]
        for name in ("other", "live"):
            done = shops[0].ask("admin", "POST", "/v1/bundle", json={"bundle": name})
            assert done.status_code == 200
            until(lambda name=name: all(_serves(shop, bundles / name) for shop in shops))
        _service(shops[1]).store.rollback(who="somebody")
        until(lambda: all(_serves(shop, bundles / "other") for shop in shops))


def test_requests_go_on_while_a_bundle_is_followed(
    shop: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3-46: the swap of a follower drops nothing, and a swap by hand waits for it."""
    service, seen = _service(shop), list[str]()
    swap = service.swap

    async def slow(folder: Path) -> float:
        seen.append(f"begin {folder.name}")
        await asyncio.sleep(0.2)
        took = await swap(folder)
        seen.append(f"end {folder.name}")
        return took

    monkeypatch.setattr(service, "swap", slow)
    service.store.promote(_digest(bundles / "other"), who="somebody")
    following = shop.client.portal.start_task_soon(service.following.look)
    while not seen:
        assert shop.ask("read", "POST", "/v1/recommend", json=_ASKED).status_code == 200
    done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "live"})
    assert done.status_code == 200 and following.result(10)
    assert seen == ["begin other", "end other", "begin live", "end live"]
    assert service.store.bundles()[0] == _digest(bundles / "live") == service.live.digest
    assert not _look(shop)


@pytest.fixture
def untold(shop: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """Another bundle serves, and the store could not be told."""
    store = _service(shop).store
    store.promote(_digest(bundles / "live"), who="somebody")

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    assert _serves(shop, bundles / "live"), "and the key is known"
    monkeypatch.setattr(store, "promote", away)
    said = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
    assert said.status_code == 503 and "answers here" in said.json()["error"]
    assert _serves(shop, bundles / "other")
    (complaint,) = _complaints(shop)
    assert "could not be told" in complaint
    with pytest.raises(StoreUnavailable):
        _look(shop)
    assert _serves(shop, bundles / "other"), "it does not silently go back"
    return shop


def test_a_swap_that_the_store_does_not_know_is_told_later(
    untold: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert not _look(untold) and _serves(untold, bundles / "other")
    live, previous = _digest(bundles / "other"), _digest(bundles / "live")
    assert _service(untold).store.bundles() == (live, previous) and _complaints(untold) == []


def test_a_swap_that_the_store_does_not_know_gives_way_to_what_was_promoted_since(
    untold: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    toy_bundle(bundles / "third", Tfidf(), seed=2)
    _service(untold).store.promote(_digest(bundles / "third"), who="somebody")
    assert _look(untold) and _serves(untold, bundles / "third") and _complaints(untold) == []


def test_a_swap_that_is_sent_again_tells_the_store(
    untold: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    said = untold.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
    assert said.status_code == 200 and _complaints(untold) == []
    assert _service(untold).store.bundles()[0] == _digest(bundles / "other")


def test_a_store_that_is_away_begins_no_swap(
    shop: Served, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("away")

    assert _serves(shop, bundles / "live")
    monkeypatch.setattr(_service(shop).store, "bundles", away)
    assert shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"}).status_code == 503
    assert _serves(shop, bundles / "live")
