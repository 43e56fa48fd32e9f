"""Answers on disk: whole or not at all, whatever cut the writer off."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardrank.errors import VictimError
from hardrank.victims.store import Store

KEYS = [bytes([n]) * 32 for n in range(4)]


def rows(n: int, width: int) -> np.ndarray:
    return np.arange(n * width, dtype=np.float32).reshape(n, width) + 0.5


def filled(path: Path) -> Store:
    store = Store(path).open()
    store.put(KEYS[:2], rows(2, 3), cost=3)
    store.put(KEYS[2:3], rows(1, 5), cost=70)
    return store


def test_what_was_put_is_there_and_after_reopening(tmp_path: Path) -> None:
    for store in (filled(tmp_path / "a"), Store(tmp_path / "a")):
        if store._file is None:
            store.open()
        found = store.get(KEYS)
        assert [None if f is None else f.tolist() for f in found] == [
            [0.5, 1.5, 2.5], [3.5, 4.5, 5.5], [0.5, 1.5, 2.5, 3.5, 4.5], None,
        ]  # fmt: skip
        assert store.cost == 2 * 3 + 70
        store.close()


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cut=st.integers(0, 300), tail=st.binary(max_size=80))
def test_a_torn_end_is_cut_off_and_the_rest_is_whole(tmp_path: Path, cut: int, tail: bytes) -> None:
    path = tmp_path / "torn"
    path.unlink(missing_ok=True)
    filled(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)] + tail)
    store = Store(path).open()
    expected = [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5], [0.5, 1.5, 2.5, 3.5, 4.5]]
    kept = [f.tolist() for f in store.get(KEYS[:3]) if f is not None]
    assert kept == expected[: len(kept)]
    if cut == 0:
        assert len(kept) == 3
    store.put(KEYS[3:], rows(1, 2), cost=2)
    store.close()
    again = Store(path).open()
    assert again.get(KEYS[3:])[0].tolist() == [0.5, 1.5]  # type: ignore[union-attr]
    assert sum(f is not None for f in again.get(KEYS)) == len(kept) + 1
    again.close()


def test_a_damaged_record_is_asked_for_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    filled(path).close()
    content = bytearray(path.read_bytes())
    content[52] ^= 1  # in the first row's numbers
    path.write_bytes(content)
    store = Store(path).open()
    assert [f is None for f in store.get(KEYS)] == [True, False, False, True]
    store.put(KEYS[:1], rows(1, 3), cost=3)
    assert store.get(KEYS[:1])[0].tolist() == [0.5, 1.5, 2.5]  # type: ignore[union-attr]
    store.close()


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    first = Store(tmp_path / "a").open()
    with pytest.raises(VictimError, match="another audit is writing there"):
        Store(tmp_path / "a").open()
    first.close()
    Store(tmp_path / "a").open().close()
