"""What all writers of fake reviews share: sources, lengths, names, stars and times."""

import re
from collections.abc import Sequence

import numpy as np

from hardrank.data import Patch
from hardrank.errors import Unsupported
from hardrank.threats.model import Budget, Demote, Promote
from hardrank.threats.reviews import Opinion, ReviewView
from hardrank.types import Ints
from hardrank.wording import split

__all__ = [
    "cut",
    "keywords",
    "lengths",
    "praises",
    "publish",
    "read_review",
    "sentences",
    "sources",
]

_SENTENCE = re.compile(r"[^.!?]+[.!?]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_LABEL = re.compile(
    r"^\s*(?:#+\s*|\*+\s*)?(?:review|rewritten review)(?: \d+)?\s*:\s*", re.IGNORECASE
)
_SHORTEST = 6
"""Words of a review, where the budget has room for them."""
_FULL = 0.8
"""Share of fake reviews with the utmost stars; the rest stay one short of it, as real fans and
haters do."""


_RECENT = 0.1
"""Share of the reviews' whole time, its end, in which a campaign writes: shops and models show
the newest reviews first."""


def praises(goal: Promote | Demote) -> bool:
    """Whether this goal is served by praise."""
    return isinstance(goal, Promote)


def sources(view: ReviewView, *, praise: bool, items: int) -> list[Opinion]:
    """Real reviews of that kind of the `items` most popular items, the target left out; of all
    other items where those have none. Raises `Unsupported` where there is none at all."""
    of_kind = [o for o in view.of_kind(praise=praise) if o.item != view.target]
    popular = set(view.bestsellers[:items].tolist())
    found = [o for o in of_kind if o.item in popular] or of_kind
    if not found:
        raise Unsupported(f"no real review that {'praises' if praise else 'blames'} to learn from")
    return found


def lengths(reviews: Sequence[Opinion], n: int, budget: Budget, rng: np.random.Generator) -> Ints:
    """(n,) words of real reviews, drawn, between six and the budget."""
    most = budget.words if budget.words is not None else 200
    real = np.array([len(split(o.text)) for o in reviews], dtype=np.int64)
    drawn = real[rng.integers(0, len(real), size=n)]
    return np.asarray(np.minimum(np.maximum(drawn, _SHORTEST), most), dtype=np.int64)


def keywords(title: str) -> list[str]:
    """Words of at least three letters, in order, each once."""
    return list(dict.fromkeys(w.lower() for w in _WORD.findall(title)))


def sentences(text: str) -> list[str]:
    """Each with its mark at the end; an end without a mark is none."""
    return [" ".join(s.split()) for s in _SENTENCE.findall(text)]


def cut(text: str, most: int) -> str:
    """At most `most` words, up to the last whole sentence where that keeps half of them."""
    words = split(text)
    if len(words) <= most:
        return text
    kept = words[:most]
    for end in range(len(kept), len(kept) // 2, -1):
        if kept[end - 1].endswith((".", "!", "?")):
            return " ".join(kept[:end])
    return " ".join(kept)


def publish(
    view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator,
    texts: Sequence[str],
) -> Patch:  # fmt: skip
    """One review for each text that has a word, cut to the budget, of late."""
    most = budget.words if budget.words is not None else 200
    said = [cut(text, most) for text in texts if most and split(text)]
    stars = [_stars(view, praises(goal), rng) for _ in said]
    times: list[int | None] = [None] * len(said)
    if view.window is not None:
        first, last = view.window
        start = last - int(_RECENT * (last - first))
        times = np.sort(rng.integers(start, last + 1, size=len(said))).tolist()
    rows = zip(said, stars, times, strict=True)
    return Patch(tuple(view.review(str(n), t, star, at) for n, (t, star, at) in enumerate(rows)))


def read_review(answer: str) -> str | None:
    """The review that a language model's answer gives: its lines joined, without a heading and
    quotes around it. None for fewer than three words."""
    lines = [line.strip() for line in answer.strip().splitlines()]
    text = _LABEL.sub("", " ".join(n for n in lines if n and not n.startswith("```")))
    text = text.strip().strip('"“”').strip()
    return text if len(split(text)) >= 3 else None


def _stars(view: ReviewView, praise: bool, rng: np.random.Generator) -> float | None:
    if view.scale is None:
        return None
    low, high = view.scale
    short = 0 if rng.random() < _FULL else min(1.0, high - low)
    return high - short if praise else low + short
