"""Keys, quotas and the audit log: secrets are shown once and kept nowhere."""

import hmac
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hardrank.errors import DataError
from hardrank.guards.base import Verdict
from hardrank.serve.errors import NotFound
from hardrank.serve.records import ROLES, KeyRow
from hardrank.serve.store import Store

SHAPE = r"hr_[0-9a-f]{12}_[A-Za-z0-9_-]{43}"


def key(store: Store, quota: int | None = None) -> KeyRow:
    found = store.key_of(store.add_key("shop", "ingest", quota))
    assert found is not None
    return found


def test_a_key_is_found_by_its_secret_only(store: Store) -> None:
    secret = store.add_key("shop", "ingest", 5, who="root")
    other = store.add_key("shop", "read")
    found = store.key_of(secret)
    assert found is not None
    assert (found.name, found.role, found.quota, found.revoked) == ("shop", "ingest", 5, None)
    assert [row.role for row in store.all_keys()] in (["ingest", "read"], ["read", "ingest"])
    for wrong in ("", found.id, f"hr_{found.id}_", secret[:-1], secret + "a", secret + "\n",
                  secret.upper(), secret.replace("hr_", "hx_"), "hr_" + "0" * 12 + secret[15:],
                  secret[:15] + other[15:], "\x00", "\ud800", "x" * 10_000):  # fmt: skip
        assert store.key_of(wrong) is None


def test_secrets_have_256_random_bits(store: Store) -> None:
    secrets = {store.add_key("k", "read") for _ in range(5)}
    assert len({secret.split("_", 2)[2] for secret in secrets}) == 5
    for secret in secrets:
        assert len(secret.split("_", 2)[2]) == 43  # 32 bytes in base64


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What went through the comparison in constant time."""
    calls = list[tuple[str, str]]()
    plain: Callable[[Any, Any], bool] = hmac.compare_digest

    def watched(left: str, right: str) -> bool:
        calls.append((left, right))
        return plain(left, right)

    monkeypatch.setattr("hardrank.serve.keys.hmac.compare_digest", watched)
    return calls


def test_the_check_takes_constant_time(store: Store, compared: list[tuple[str, str]]) -> None:
    """Right, wrong and unknown keys go through one comparison of equal lengths each."""
    secret = store.add_key("shop", "read")
    wrong = secret[:-4] + "AAAA"
    unknown = "hr_" + "f" * 12 + secret[15:]
    assert [store.key_of(s) is not None for s in (secret, wrong, unknown)] == [True, False, False]
    assert [(len(a), len(b)) for a, b in compared] == [(64, 64)] * 3
    assert [a == b for a, b in compared] == [True, False, False]


def test_what_the_comparison_says_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = store.add_key("shop", "read")
    monkeypatch.setattr("hardrank.serve.keys.hmac.compare_digest", lambda a, b: False)
    assert store.key_of(secret) is None


def test_no_secret_reaches_the_disk(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.db") as store:
        secret = store.add_key("shop", "admin")
        store.key_of(secret)
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.split("_", 2)[2].encode() not in files and secret[3:15].encode() in files


def test_a_revoked_key_opens_nothing(store: Store) -> None:
    secret = store.add_key("shop", "admin")
    id = store.all_keys()[0].id
    store.revoke_key(id, who="root")
    assert store.key_of(secret) is None
    assert store.all_keys()[0].revoked is not None and not store.all_keys()[0].may("read")
    for gone in (id, "nobody"):
        with pytest.raises(NotFound, match="no open key"):
            store.revoke_key(gone, who="root")


def test_a_role_opens_its_own_door(store: Store) -> None:
    for role in ROLES:
        found = store.key_of(store.add_key("k", role))
        assert found is not None
        assert [r for r in ROLES if found.may(r)] == (list(ROLES) if role == "admin" else [role])


@pytest.mark.parametrize("quota", [0, -1, 1.5, True])
def test_a_strange_quota_is_refused(store: Store, quota: Any) -> None:
    with pytest.raises(DataError, match="quota"):
        store.add_key("k", "read", quota)
    with pytest.raises(DataError, match="read, ingest, review, admin"):
        store.add_key("k", "root")  # type: ignore[arg-type]


def test_a_quota_is_of_a_key_and_a_day(store: Store) -> None:
    mine, other, free = key(store, 3), key(store, 3), key(store)
    day = "2026-01-31"
    assert [store.spend(mine.id, day=day) for _ in range(5)] == [True] * 3 + [False] * 2
    assert store.spend(mine.id, day="2026-02-01") and store.spend(other.id, 3, day=day)
    assert not store.spend(other.id, day=day)
    assert store.spend(free.id, 10**9, day=day) and store.spend(free.id, 10**9, day=day)
    assert store.used(day) == {mine.id: 3, other.id: 3, free.id: 2 * 10**9}


def test_what_does_not_fit_is_not_counted(store: Store) -> None:
    mine = key(store, 10)
    assert not store.spend(mine.id, 11)
    assert store.used() == {}
    assert store.spend(mine.id, 8) and not store.spend(mine.id, 3) and store.spend(mine.id, 2)
    assert store.used() == {mine.id: 10}
    with pytest.raises(NotFound):
        store.spend("nobody")
    with pytest.raises(DataError):
        store.spend(mine.id, 0)


def test_today_is_of_the_clock_in_utc(store: Store) -> None:
    store._clock = lambda: 86_400.0 * 365 - 0.5
    assert store.today() == "1970-12-31"
    store._clock = lambda: 86_400.0 * 365
    assert store.today() == "1971-01-01"


def test_eight_threads_cannot_overdraw(store: Store) -> None:
    mine = key(store, 20)
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: store.spend(mine.id), range(40))) == 20
    assert store.used() == {mine.id: 20}


def test_the_audit_log_names_keys_by_id(store: Store) -> None:
    secret = store.add_key("shop", "review", who="root")
    [row] = store.all_keys()
    store.put_item("i", {"title": "x"}, Verdict("quarantine", "g", 0.5, "r"))
    case = store.quarantine()[0].id
    with pytest.raises(DataError, match="give the key's id"):
        store.decide(case, "admit", secret)
    assert store.case(case).decision is None  # the decision went back with its log line
    store.decide(case, "admit", row.id)
    assert [(line.who, line.action) for line in store.audit_log()] == [
        (row.id, "admit"),
        ("root", "add-key"),
    ]
