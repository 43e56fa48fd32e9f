"""What stands between the reviews that come in and those that are kept."""

from collections.abc import Sequence

import polars as pl

from hardrank.guards.base import Listing, Shop, Verdict
from hardrank.guards.pipeline import Pipeline
from hardrank.guards.reviews import FittedReviewGuard
from hardrank.serve.ingest import Inspector
from hardrank.serve.records import ReviewIn, Taken
from hardrank.serve.store import Store
from hardrank.serve.swap import Live

__all__ = ["ReviewDoor"]

_BESIDE = 200
"""Newest public reviews of an item that a new one is compared with: 30 ms at most, beside 2 ms
to read one."""


class ReviewDoor:
    """All methods block, and all are called from one thread, so that of two equal reviews the
    second is the copy. Nothing is remembered from one call to the next but what is stored."""

    def __init__(self, store: Store, live: Live, guard: Inspector | None) -> None:
        """guard: of the settings. Its guard of reviews looks, or where it has none that of the
        bundle that is live; where neither has one, all reviews are kept."""
        self._store, self._live, self._chosen = store, live, _of(guard)

    def take(self, added: Sequence[ReviewIn]) -> list[Taken]:
        """Keep reviews, or hold them; all on the disk when this returns. A review that was
        taken before is not judged again. Raises `DataError`, `StoreError`; then nothing was
        kept."""
        guard = self._guard()
        if guard is None:
            return self._store.take_reviews(added, [None] * len(added))
        known = self._store.known_reviews(added)
        said = self._judge(guard, [r for r, k in zip(added, known, strict=True) if not k])
        return self._store.take_reviews(added, [said.get(r.review_id) for r in added])

    def _guard(self) -> FittedReviewGuard | None:
        engine = self._live.engine
        return self._chosen or (None if engine is None else _of(engine.guard))

    def _judge(self, guard: FittedReviewGuard, fresh: Sequence[ReviewIn]) -> dict[str, Verdict]:
        """By id; of one id the first review counts. Those let in are public to later ones."""
        beside, said, nobody = dict[str, FittedReviewGuard](), dict[str, Verdict](), _nobody()
        for review in fresh:
            if review.review_id in said:
                continue
            item = review.item_id
            if item not in beside:
                public = self._store.reviews_of(item, _BESIDE)
                beside[item] = guard.against(r.text for r in public)
            listing = Listing(item, {guard.spec.field: review.text})
            (verdict,) = beside[item].inspect([listing], nobody)
            said[review.review_id] = verdict
            if verdict.action == "admit":
                beside[item].public.add([review.text])
        return said


def _of(guard: Inspector | None) -> FittedReviewGuard | None:
    return guard.reviews if isinstance(guard, Pipeline) else None


def _nobody() -> Shop:
    """A guard of reviews asks the shop nothing."""
    return Shop(items=pl.DataFrame({"item_id": pl.Series([], dtype=pl.Utf8)}))
