"""Text guards on ML-100K: what they were not shown, at thresholds set without it.

S0-29: at most 1 % false alarms, recall of 80 % on families that were learned and 50 % on one that
was not. S1-03, S4-06: AUROC of 0.85 and 0.70. The families for which that does not hold (swaps of
one or two known words) are listed with their numbers in docs/guards.md. Shares of false alarms
were chosen on other seeds.
"""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from hardrank.attacks import (
    AppendTitle,
    Copycat,
    DeepWordBug,
    GreedyWords,
    Homoglyph,
    KeywordStuffing,
    RandomCharacters,
    RandomWords,
    ZeroWidth,
)
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.sources import MovieLens
from hardrank.data.splits import hide_items
from hardrank.experiment.guard_texts import TextFile
from hardrank.guards import (
    GUARDS,
    AdversarialText,
    EncoderHead,
    Example,
    Lesson,
    Listing,
    Pipeline,
    Shop,
    fit_pipeline,
)
from hardrank.guards.adversarial_text import FittedAdversarialText
from hardrank.guards.honest import honest_edit
from hardrank.guards.lesson import ending
from hardrank.metrics.detection import auroc, recall_at_fpr
from hardrank.models import Tfidf
from hardrank.threats import Budget, Promote, ThreatModel, mount_all, sample_panel

pytestmark = pytest.mark.slow

ATTACKS = (
    AppendTitle(), Copycat(), DeepWordBug(), GreedyWords(), Homoglyph(), KeywordStuffing(),
    RandomCharacters(), RandomWords(), ZeroWidth(),
)  # fmt: skip
FOUND = (
    "append-title", "copycat", "homoglyph", "keyword-stuffing", "random-characters",
    "random-words", "zero-width",
)  # fmt: skip
"""Not `deepwordbug` and `greedy-words`: recall below a half, AUROC above 0.85."""


class Shown:
    """One fit for all tests: half of the targets learned from, the other half and hidden
    items measured on."""

    def __init__(self, folder: Path) -> None:
        data, hidden = hide_items(MovieLens(path=folder / "ml-100k" / "raw").load(), 0.3, 7)
        rows = np.setdiff1d(np.arange(data.n_items), hidden)
        examples = attacked(data)
        order = list(dict.fromkeys(e.listing.item_id for e in examples))
        half = set(order[::2])
        self.held = [e for e in examples if e.listing.item_id not in half]
        path = folder / "attacked-text" / "bipia"
        self.orders = TextFile(name="test", path=path / "text_attack_test.json").load()
        self.lesson = Lesson(
            shop=Shop(items=data.items[rows], counts=data.counts[rows]), seed=7,
            attacked=tuple(e for e in examples if e.listing.item_id in half),
            orders=tuple(TextFile(name="train", path=path / "text_attack_train.json").load()),
        )  # fmt: skip
        self.guards = fit_pipeline([g() for g in GUARDS], self.lesson)
        titles = data.items["title"].gather(hidden).to_list()
        self.new = [Listing(f"new {n}", {"title": t}) for n, t in enumerate(titles)]
        rng = np.random.default_rng(7)
        others = rng.permutation(len(titles))
        self.edits = [
            Listing("e", {"title": honest_edit(t, ending(titles[o]), rng)}, {"title": t})
            for t, o in zip(titles, others, strict=True)
        ]
        # what stands and was learned from, with the events it earned
        ids = data.items["item_id"].gather(rows).to_list()
        was = data.items["title"].gather(rows).to_list()
        others = rng.permutation(len(was)).tolist()
        made = [honest_edit(t, ending(was[o]), rng) for t, o in zip(was, others, strict=True)]
        self.standing = [
            Listing(i, {"title": new}, {"title": old}, n)
            for i, new, old, n in zip(ids, made, was, data.counts[rows].tolist(), strict=True)
            if new != old
        ]
        # another product under the events of the old one: no edit of sellers at all
        self.replaced = [
            replace(one, fields={"title": was[o]})
            for one, o in zip(self.standing, others[: len(self.standing)], strict=True)
            if one.events >= 20
        ]

    def of(self, family: str) -> list[Listing]:
        return [e.listing for e in self.held if e.family == family]

    def stopped(self, listings: list[Listing]) -> float:
        """At the guards' own thresholds."""
        said = self.guards.inspect(listings, self.lesson.shop)
        return float(np.mean([v.action != "admit" for v in said]))

    def recall(self, found: list[Listing], instead: FittedAdversarialText | None = None) -> float:
        """At 1 % false alarms of new and edited listings together, by the largest score of any
        guard. instead: takes the place of the guard that learned from attacks."""
        guards = [instead if instead and g.kind == instead.kind else g for g in self.guards.guards]
        scores = []
        for row in Pipeline(tuple(guards)).walk([*self.clean, *found], self.lesson.shop)[0]:
            scores.append(max(1.0 if v.action == "mend" else v.score for v in row))
        labels = np.arange(len(scores)) >= len(self.clean)
        return recall_at_fpr(scores, labels, 0.01)

    @property
    def clean(self) -> list[Listing]:
        return [*self.new, *self.edits]


def attacked(data: Dataset) -> list[Example]:
    rng = np.random.default_rng(7)
    panel = sample_panel(data.histories(), 64, rng)
    ids = data.items["item_id"].gather(rng.permutation(data.n_items)[:40]).to_list()
    threat = ThreatModel(
        goal=Promote(items=tuple(ids)), budget=Budget(words=6, queries=60, whole_text=True)
    )
    victim = Tfidf().fit(data, RunContext(seed=7))
    found = mount_all(ATTACKS, threat, victim, data, panel=panel, targets=ids, seed=7)
    kinds = [attack.kind for attack in ATTACKS for _ in ids]
    out = []
    for kind, match in zip(kinds, found, strict=True):
        for edit in match.patch.rewrites().values():
            row = data.item_rows[edit.item_id]
            before = {"title": data.items["title"][row]}
            listing = Listing(
                edit.item_id, {"title": edit.text}, before, int(data.counts[row])
            )  # fmt: skip
            out.append(Example(listing, kind))
    return out


@lru_cache(maxsize=1)
def shown(folder: Path) -> Shown:
    return Shown(folder)


def test_false_alarms_are_rare(data_folder: Path) -> None:
    """S0-29: the guard that learns from attacks stays at 1 % on 1,010 clean listings, half of
    them edits. All guards together: their shares add up to 1 %, but each border is set on 353
    titles, which can promise 0.3 % for each guard at best."""
    there = shown(data_folder)
    full = next(g for g in there.guards.guards if isinstance(g, FittedAdversarialText))
    said = full.inspect(there.clean, there.lesson.shop)
    assert np.mean([v.action != "admit" for v in said]) <= 0.01
    assert there.stopped(there.new) <= 0.02
    assert there.stopped(there.edits) <= 0.03


def test_honest_edits_of_what_earned_events(data_folder: Path) -> None:
    """All of them change something; `change-of-text` knows what edits do to short titles, and
    still holds another product under the same events."""
    there = shown(data_folder)
    assert len(there.standing) > 500
    assert there.stopped(there.standing) <= 0.03
    assert len(there.replaced) > 250
    guard = next(g for g in there.guards.guards if g.kind == "change-of-text")
    said = guard.inspect(there.replaced, there.lesson.shop)
    assert np.mean([v.action == "quarantine" for v in said]) >= 0.85
    assert there.stopped(there.replaced) >= 0.95


def test_families_that_were_learned(data_folder: Path) -> None:
    """S0-29: recall of 80 % at 1 % false alarms."""
    there = shown(data_folder)
    for family in FOUND:
        found = there.of(family)
        assert len(found) >= 10, family
        assert there.recall(found) >= 0.8, family


def test_families_that_no_guard_saw(data_folder: Path) -> None:
    """S0-29: 50 % with the guard that learned without the family in the place of the other.
    S1-03, S4-06: AUROC 0.85 seen and 0.70 unseen of the learned guard alone, in every family."""
    there = shown(data_folder)
    full = next(g for g in there.guards.guards if isinstance(g, FittedAdversarialText))
    for family in (attack.kind for attack in ATTACKS):
        found = there.of(family)
        blind = AdversarialText().fit(there.lesson.without(family))
        if family in FOUND:
            assert there.recall(found, blind) >= 0.5, family
        labels = np.arange(len(there.clean) + len(found)) >= len(there.clean)
        for guard, least in ((full, 0.85), (blind, 0.70)):
            said = guard.inspect([*there.clean, *found], there.lesson.shop)
            assert auroc([v.score for v in said], labels) >= least, family


def test_a_head_over_an_encoder(data_folder: Path) -> None:
    """S4-06: AUROC 0.85 of a family that was learned and 0.70 of one that was not, for all
    families but `zero-width`, whose characters the encoder's tokenizer drops."""
    there = shown(data_folder)
    found: dict[str, list[float]] = {}
    full = EncoderHead().fit(there.lesson)
    for family in (attack.kind for attack in ATTACKS):
        listings = there.of(family)
        labels = np.arange(len(there.clean) + len(listings)) >= len(there.clean)
        for guard in (full, EncoderHead().fit(there.lesson.without(family))):
            raw = guard.raw([*there.clean, *listings], there.lesson.shop)
            found.setdefault(family, []).append(auroc(raw, labels))
    hidden = found.pop("zero-width")
    assert max(hidden) < 0.6
    for family, (seen, unseen) in found.items():
        assert seen >= 0.85 and unseen >= 0.70, family


def test_orders_to_a_machine_of_another_file(data_folder: Path) -> None:
    """S0-29: instructions of BIPIA's test half, behind a title, at 1 % false alarms."""
    there = shown(data_folder)
    titles = there.lesson.texts
    texts = [f"{titles[n]} {text}" for n, text in enumerate(there.orders)]
    asked = [Listing(f"x{n}", {"title": text}) for n, text in enumerate(texts)]
    guard = next(g for g in there.guards.guards if g.kind == "injection")
    said = guard.inspect([*there.new, *asked], there.lesson.shop)
    labels = np.arange(len(said)) >= len(there.new)
    assert recall_at_fpr([v.score for v in said], labels, 0.01) >= 0.8
