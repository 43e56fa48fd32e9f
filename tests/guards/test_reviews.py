"""The guard for reviews: planted words, planted copies, and its promise on real ones."""

import numpy as np
import pytest

from hardrank.data.labelled import Labelled
from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Listing, Shop
from hardrank.guards.reviews import FittedReviewGuard, ReviewGuard
from hardrank.testing import dataset
from hardrank.wording import split

SHOP = Shop(items=dataset(["lamp"], [[0]]).items)
_REAL = tuple(split("the lamp stands on my desk and gives warm light but its cord is short"))
_FAKE = tuple(split("amazing best ever product totally changed life buy now perfect"))


def planted(n: int = 200, seed: int = 0) -> Labelled:
    """Half real, half fake, of eight words; one of eight words of a fake one is a real one's."""
    rng = np.random.default_rng(seed)
    texts = []
    for row in range(n):
        own = _FAKE if row % 2 else _REAL
        words = [*rng.choice(own, size=7).tolist(), str(rng.choice(_REAL))]
        texts.append(" ".join(rng.permutation(words)))
    return Labelled(texts=tuple(texts), labels=np.arange(n) % 2, names=("real", "fake"))


GUARD = ReviewGuard().fit(planted(), fake="fake")


def actions(guard: FittedReviewGuard, texts: list[str]) -> list[str]:
    listings = [Listing("a", {"review": text}) for text in texts]
    return [v.action for v in guard.inspect(listings, SHOP)]


def test_planted_fakes_are_held_and_real_ones_pass() -> None:
    """S0-29: recall of at least 80 % at a share of false alarms of 1 %."""
    fresh = planted(400, seed=1)
    held = np.array([a == "quarantine" for a in actions(GUARD, list(fresh.texts))])
    fake = fresh.labels == 1
    assert held[fake].mean() >= 0.8
    assert held[~fake].mean() <= 0.02


def test_copies_of_public_reviews_are_held() -> None:
    public = "my desk lamp gives warm light and its cord is short"
    guard = GUARD.against([public])
    (verdict,) = guard.inspect([Listing("a", {"review": public.upper()})], SHOP)
    assert (verdict.action, verdict.score) == ("quarantine", 1.0)
    assert verdict.reason == "100% of the review stands in public ones"
    assert verdict.spans == (("review", 0, len(public)),)
    assert actions(guard, ["its light is warm and the cord on my desk is short"]) == ["admit"]
    assert actions(GUARD, [public]) == ["admit"]


def test_listings_without_a_review_are_none_of_its_business() -> None:
    asked = [Listing("a", {"title": "best ever buy now"}), Listing("a", {"review": "  "})]
    assert [(v.action, v.score) for v in GUARD.inspect(asked, SHOP)] == [("admit", 0.0)] * 2


def test_a_verdict_does_not_depend_on_the_others() -> None:
    texts = list(planted(20, seed=2).texts)
    listings = [Listing("a", {"review": text}) for text in texts]
    alone = [GUARD.inspect([one], SHOP)[0] for one in listings]
    together = GUARD.inspect(listings, SHOP)
    assert [v.action for v in alone] == [v.action for v in together]
    assert [v.score for v in alone] == pytest.approx([v.score for v in together])


def test_restore_is_the_inverse_of_arrays() -> None:
    again = GUARD.spec.restore(GUARD.arrays())
    listings = [Listing("a", {"review": text}) for text in planted(20, seed=3).texts]
    assert again.inspect(listings, SHOP) == GUARD.inspect(listings, SHOP)
    with pytest.raises(BundleError, match="'threshold' is missing"):
        GUARD.spec.restore({})
    with pytest.raises(BundleError, match="lacks the array"):
        GUARD.spec.restore({"threshold": np.zeros(1)})


def test_fit_says_what_is_missing() -> None:
    with pytest.raises(DataError, match="no class 'bot'"):
        ReviewGuard().fit(planted(), fake="bot")
    with pytest.raises(DataError, match="no real review is left"):
        ReviewGuard(held_out=0.0).fit(planted(), fake="fake")
