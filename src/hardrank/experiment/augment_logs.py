"""The training logs that `gan augment` compares, and the attack on histories."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from hardrank.audits.catalogue import full_ranks, tiles
from hardrank.audits.utility import utility
from hardrank.context import derive
from hardrank.data import Dataset, Holdout, Queries
from hardrank.data.splits import Split
from hardrank.experiment.augment_negatives import NEGATIVE_ARMS
from hardrank.experiment.augment_spec import AugmentExperiment, Behaviour
from hardrank.generators.augment import Proposer, augmented, edited, with_edited_copies
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import Ints

__all__ = [
    "ARMS",
    "BEHAVIOUR_ARMS",
    "RIVALS",
    "ROLES",
    "Proposers",
    "behaviour_attack",
    "log_of",
    "thinned",
]

ARMS = ("control", "augmented", "augmented-at-random")
"""Without generated events; with the generator's; with as many drawn by popularity."""
BEHAVIOUR_ARMS = ("interest-adversarial", "adversarial-at-random")
"""With tampered copies of histories, by the generator or by popularity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposers:
    """Of one seed."""

    generator: Proposer
    """Read the training log alone."""
    random: Proposer
    """Draws by popularity."""
    attacker: Proposer | None
    """A generator of another seed, which no defended arm has met."""


RIVALS = {
    ARMS[1]: ARMS[2],
    BEHAVIOUR_ARMS[0]: BEHAVIOUR_ARMS[1],
    NEGATIVE_ARMS[0]: NEGATIVE_ARMS[1],
}
"""What shows for each arm whether it is the generator that helps: as much by popularity."""
ROLES = {
    "control": "nothing generated",
    "augmented": "positives of sparse users, of lower weight",
    "interest-adversarial": "evasion: histories are tampered with, the real next event stays",
    "hard-negatives": "negatives of pairwise comparisons, never an item that the user has",
}
"""What generated items are to training, by arm; its rival does the same."""


def log_of(
    arm: str, train: Dataset, experiment: AugmentExperiment, proposers: Proposers, seed: int
) -> Dataset:
    """What the arm is trained on; the same arm and seed give the same log."""
    if arm == "control" or arm in NEGATIVE_ARMS:
        return train
    rng = np.random.default_rng(derive(seed, "augment", arm))
    proposer = proposers.random if arm.endswith("-at-random") else proposers.generator
    if arm in ARMS:
        return augmented(
            train, proposer, rng, fewer_than=experiment.fewer_than, add=experiment.add,
            weight=experiment.weight, place=experiment.place,
        )  # fmt: skip
    assert experiment.behaviour is not None and arm in BEHAVIOUR_ARMS
    about = experiment.behaviour
    return with_edited_copies(train, proposer, rng, keep=about.keep, weight=about.weight)


def behaviour_attack(
    recommender: Recommender,
    test: Holdout,
    proposer: Proposer,
    rng: np.random.Generator,
    *,
    about: Behaviour,
    subject: str,
    seed: int,
    trial: str,
    names: tuple[str, ...] = (),
) -> pl.DataFrame:
    """One sample a query: the `rank` of its held-out item after the worst of `about.tries`
    edits of its history, or before any where none does harm; `events` that were replaced.

    Every edit leaves at least the share `about.keep` of a history's items, and never puts the
    held-out item into it, where it could not be ranked. Neither what was replaced nor what
    took its place is ranked: a model that does not read histories keeps its rank.
    """
    worst = full_ranks(recommender, test)
    changed = np.zeros(len(test), dtype=np.int64)
    for _ in range(about.tries):
        tampered = edited(test.queries, proposer, rng, keep=about.keep, barred=test.targets)
        ranks = _ranks(recommender, tampered, test)
        better = ranks > worst
        worst[better], changed[better] = ranks[better], _changed(test.queries, tampered)[better]
    clean = utility(recommender, test, subject=subject, seed=seed, names=names, trial=trial)
    return clean.with_columns(
        audit=pl.lit("behaviour"),
        rank=pl.Series(worst, dtype=pl.Float64),
        events=pl.Series(changed, dtype=pl.Int64),
    )


def _ranks(recommender: Recommender, tampered: Queries, test: Holdout) -> Ints:
    """(Q,) ranks by the tampered histories among what neither history holds."""
    out = np.empty(len(test), dtype=np.int64)
    for part, _, scores in tiles(recommender, tampered):
        rows = np.arange(part.start, part.stop)
        out[part] = ranks_of_targets(mask_seen(scores, test.queries.take(rows)), test.targets[part])
    return out


def _changed(before: Queries, after: Queries) -> Ints:
    """(Q,) items of each history that are gone."""
    return np.array(
        [
            len(np.setdiff1d(before.history(q), after.history(q), assume_unique=False))
            for q in range(len(before))
        ],
        dtype=np.int64,
    )


def thinned(split: Split, share: float, most: int, rng: np.random.Generator) -> Split:
    """A share of the users keeps the last `most` training events; histories lose the same.

    What a user loses is gone from the world: it is not seen, so it is ranked among the others.
    """
    train = split.train
    lengths = np.diff(train.offsets)
    rich = np.flatnonzero(lengths > most)
    chosen = np.zeros(train.n_users, dtype=bool)
    chosen[rng.permutation(rich)[: int(share * len(rich) + 1e-9)]] = True
    lost = np.where(chosen, lengths - most, 0)
    users = train.events["user"].to_numpy()
    place = np.arange(train.n_events) - train.offsets[users]
    kept = train.where(pl.Series(place >= lost[users])).noted(
        f"{int(chosen.sum())} users kept only their last {most} training events."
    )
    valid, test = (_without_first(part, lost) for part in (split.valid, split.test))
    said = f"{split.protocol}; {int(chosen.sum())} users thinned to {most} training events"
    return replace(split, train=kept, valid=valid, test=test, protocol=said)


def _without_first(part: Holdout, lost: Ints) -> Holdout:
    queries = part.queries
    histories = [
        queries.history(q)[lost[user] if user >= 0 else 0 :].tolist()
        for q, user in enumerate(queries.users.tolist())
    ]
    return replace(part, queries=Queries.of(histories, queries.users.tolist(), queries.texts))
