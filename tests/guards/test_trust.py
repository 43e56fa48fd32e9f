"""Trust in users and sellers: what can be worked out on paper."""

from pathlib import Path

import numpy as np
import pytest

from hardrank.data.trust import read_trust, write_trust
from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Verdict
from hardrank.guards.trust_scores import TrustScores

DAY = 86_400
SPEC = TrustScores(half_life=10, prior=0.75, strength=4)


def test_trust_by_hand() -> None:
    """(0.75 * 4 + good) / (4 + good + bad)."""
    book = SPEC.start()
    assert book.of("u", 0) == 0.75
    book.add("u", 1.0, 0)
    assert book.of("u", 0) == 3 / 5
    book.add("u", 0.0, 0, weight=5)
    assert book.of("u", 0) == 8 / 10
    book.add("u", 0.5, 0)
    assert book.of("u", 0) == 8.5 / 11


def test_evidence_is_forgotten_by_halves() -> None:
    book = SPEC.start()
    book.add("u", 1.0, 0, weight=4)
    assert [book.of("u", d * DAY) for d in (0, 10, 20)] == [3 / 8, 3 / 6, 3 / 5]
    assert book.of("u", 10_000 * DAY) == pytest.approx(0.75)
    book.add("u", 0.0, 10 * DAY, weight=2)
    assert book.of("u", 10 * DAY) == 5 / 8
    book.add("u", 1.0, 0)  # reported late: counts in full, and no time goes backwards
    assert book.of("u", 10 * DAY) == 5 / 9


def test_verdicts_count_by_what_happened() -> None:
    """Guards' scores have no common scale."""
    for action, trust in (("admit", 4 / 5), ("mend", 3.5 / 5), ("quarantine", 3 / 5)):
        book = SPEC.start()
        fields = {"title": "x"} if action == "mend" else None
        book.record("s", Verdict(action, "any", 0.3, "", fields), 0)  # type: ignore[arg-type]
        assert book.of("s", 0) == trust


def test_a_detectors_batch() -> None:
    book = SPEC.start()
    book.refresh(["a", "b", "c"], np.array([1.0, 0.0, np.nan], np.float32), 0, weight=4)
    assert (book.of("a", 0), book.of("b", 0), book.of("c", 0)) == (3 / 8, 7 / 8, 0.75)
    assert len(book) == 2
    for wrong in ([0.5], [0.5, 0.5, 1.5]):
        with pytest.raises(DataError, match="expected 3 probabilities"):
            book.refresh(["a", "b", "c"], np.array(wrong, np.float32), 0)
    with pytest.raises(DataError, match="use a share"):
        book.add("a", -0.1, 0)


def test_memory_is_bounded_and_the_longest_silent_goes_first() -> None:
    book = TrustScores(most=3).start()
    for n, name in enumerate("abcad"):
        book.add(name, 1.0, n)
    assert set(book.weights(9)) == {"a", "c", "d"}
    assert book.forget("a") and not book.forget("a")
    assert book.of("a", 9) == 0.8


def test_restore_is_the_inverse_of_arrays() -> None:
    book = SPEC.start()
    assert len(SPEC.restore(book.arrays())) == 0
    book.add("a", 0.25, 5)
    book.add("ü", 1.0, 7, weight=3)
    again = SPEC.restore(book.arrays())
    assert again.weights(10**6) == book.weights(10**6)
    with pytest.raises(BundleError, match="'evidence' is missing"):
        SPEC.restore({"names": np.array(["a"])})
    with pytest.raises(BundleError, match="1 names"):
        SPEC.restore({"names": np.array(["a"]), "evidence": np.zeros((2, 3))})


def test_weights_are_what_training_reads(tmp_path: Path) -> None:
    book = SPEC.start()
    book.add("a", 1.0, 0)
    write_trust(tmp_path / "trust.json", book.weights(0), what="user")
    assert read_trust(tmp_path / "trust.json", what="user") == {"a": 0.6}
