"""Texts that detectors of reviews learn from and are tested on, and the detectors of one shop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardrank.attacks.reviews import EvasiveReviews, ReviewUnion
from hardrank.attacks.reviews.parts import cut
from hardrank.attacks.reviews.plain import PlainUnion
from hardrank.data import AddReview, Dataset
from hardrank.data.labelled import Labelled
from hardrank.detection.reviews import CopiedReviews
from hardrank.experiment.fake_reviews_measure import Scorer
from hardrank.threats.model import Promote, ThreatModel
from hardrank.threats.reviews import ReviewScorer, ReviewView, play_reviews
from hardrank.types import Floats, Ints

__all__ = ["Panel", "Texts", "labelled", "named", "plain_writers", "real_texts", "written"]

_NAMES = ("real", "fake")


@dataclass(frozen=True)
class Texts:
    texts: tuple[str, ...]
    items: tuple[str, ...]
    """The item that each is about."""

    def halves(self) -> "tuple[Texts, Texts]":
        half = len(self.texts) // 2
        return (
            Texts(self.texts[:half], self.items[:half]),
            Texts(self.texts[half:], self.items[half:]),
        )


@dataclass(frozen=True, eq=False)
class Panel:
    """All detectors of a shop as one: a text is as suspicious as the strictest finds it.

    Each detector's scores are standardised by those of real texts that it was not trained on,
    so that they can be compared.
    """

    members: Mapping[str, Scorer]
    """By kind."""
    scales: Mapping[str, tuple[float, float]]
    """Mean and standard deviation over real texts."""

    @classmethod
    def of(cls, members: Mapping[str, tuple[Scorer, Floats]]) -> "Panel":
        """Each with its scores of real texts."""
        wide = {kind: real.astype(np.float64) for kind, (_, real) in members.items()}
        return cls(
            {kind: member for kind, (member, _) in members.items()},
            {kind: (float(s.mean()), float(s.std()) or 1.0) for kind, s in wide.items()},
        )

    @classmethod
    def trained(
        cls, members: Mapping[str, Scorer], fresh: Texts, copied: CopiedReviews, public: Dataset
    ) -> "Panel":
        """Trained detectors and the one of copies. fresh: real texts that none was trained on.
        A real review is no copy of itself: it is compared with older ones."""
        assert public.reviews is not None
        said = [t or "" for t in public.reviews["text"].to_list()]
        return cls.of(
            {kind: (member, member.score(fresh.texts)) for kind, member in members.items()}
            | {copied.kind: (copied.against(said), copied.reviews(public))}
        )

    def score(self, texts: Sequence[str]) -> Floats:
        """(N,) the largest number of standard deviations above the mean of real texts."""
        rows = [
            (m.score(texts).astype(np.float64) - self.scales[kind][0]) / self.scales[kind][1]
            for kind, m in self.members.items()
        ]
        return np.asarray(np.max(rows, axis=0), dtype=np.float32)


def named(attack: ReviewUnion) -> str:
    """Its kind, and for one that wraps another the base's, too."""
    if isinstance(attack, EvasiveReviews):
        return f"{attack.kind} ({attack.base.kind})"
    return attack.kind


def plain_writers(attacks: Sequence[ReviewUnion]) -> list[PlainUnion]:
    """Those that know no detector; where there is none, the bases of those that do. A shop's
    detectors are trained on these."""
    plain = [a for a in attacks if not isinstance(a, EvasiveReviews)]
    bases = {a.base.kind: a.base for a in attacks if isinstance(a, EvasiveReviews)}
    return plain or list(bases.values())


def written(
    public: Dataset, attack: ReviewUnion, threat: ThreatModel, rows: Ints, seed: int,
    detector: ReviewScorer | None = None,
) -> Texts:  # fmt: skip
    """What the attack publishes about each of these items."""
    texts, items = [], []
    for row in np.sort(rows).tolist():
        target = str(public.items["item_id"][row])
        match = play_reviews(attack, threat, public, target=target, seed=seed, detector=detector)
        said = [e.text for e in match.patch.edits if isinstance(e, AddReview)]
        texts += said
        items += [target] * len(said)
    return Texts(tuple(texts), tuple(items))


def real_texts(
    data: Dataset, threat: ThreatModel, items: Ints, n: int, rng: np.random.Generator
) -> Texts:
    """At most n real reviews of those items, of the threat's opinion, cut to its budget."""
    view = ReviewView(data, int(items[0]))
    wanted = set(items.tolist())
    found = [o for o in view.of_kind(praise=isinstance(threat.goal, Promote)) if o.item in wanted]
    chosen = [found[r] for r in rng.permutation(len(found))[:n].tolist()]
    most = threat.budget.words or 0
    names = data.items["item_id"]
    return Texts(
        tuple(cut(o.text, most) for o in chosen), tuple(str(names[o.item]) for o in chosen)
    )


def labelled(real: Texts, fakes: Sequence[Texts]) -> Labelled:
    """Classes `real` and `fake`; groups are items."""
    texts = [*real.texts, *(t for fake in fakes for t in fake.texts)]
    labels = np.array([0] * len(real.texts) + [1] * (len(texts) - len(real.texts)), dtype=np.int64)
    groups = (*real.items, *(i for fake in fakes for i in fake.items))
    return Labelled(texts=tuple(texts), labels=labels, names=_NAMES, groups=groups)
