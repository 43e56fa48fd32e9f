"""How good generated profiles are beside real ones, measured by who never saw them made."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset, Queries
from hardrank.errors import DataError
from hardrank.generators.bags import Bags, item_vectors, popularity
from hardrank.generators.health import overlap, unique_share
from hardrank.generators.interest_autoencoder import InterestAutoencoder
from hardrank.generators.interest_generator import InterestGenerator
from hardrank.metrics.distributions import jensen_shannon, kolmogorov_smirnov, total_variation
from hardrank.types import Floats, Ints, Share

__all__ = [
    "SampleQuality",
    "auroc",
    "comparable",
    "fresh_auroc",
    "measure",
    "pair_auroc",
    "set_features",
]

_GROUPS = 10
_COMPARED = 20
"""Users, at least: half of them asked for draws, half compared with those."""
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SampleQuality:
    """Distances are 0 for samples that agree; an AUROC is 0.5 where nothing can be told."""

    auroc: float
    """The better of the two fresh discriminators, on profiles that they were not fitted to."""
    auroc_linear: float
    """Logistic regression on features of the set and its mean item vector."""
    auroc_trees: float
    """Gradient-boosted trees on the same."""
    auroc_own: float | None
    """The generator's own plain head: it saw such fakes in training. None for a generator that
    has no discriminator."""
    length_ks: float
    """Kolmogorov-Smirnov distance of profile lengths."""
    popularity_ks: float
    """Kolmogorov-Smirnov distance of the log-popularity of the items, over all events."""
    popularity_tv: float
    """Total variation of the events' shares in ten groups of items by popularity."""
    popularity_js: float
    """Jensen-Shannon divergence of the same, in bits."""
    unique: Share
    """Different profiles among the draws."""
    overlap: float
    """Mean share of the shorter one's items that two generated profiles have in common."""
    overlap_real: float
    """The same of two real profiles."""
    repeated: Share
    """Pairs of generated profiles that share more than nine tenths of the shorter one."""
    samples: int
    """Generated profiles looked at."""

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


def comparable(train: Dataset) -> Ints:
    """Rows of the users whom draws are compared with: of two different items or more. Raises
    `DataError` for fewer than 20."""
    users = np.flatnonzero(Bags.of(train.histories(), train.n_items).lengths >= 2)
    if len(users) < _COMPARED:
        raise DataError(
            f"{train.name}: {len(users)} users who are learned from have two different items or "
            f"more; to measure what is drawn {_COMPARED} are needed",
            remedy="bring more users, or hold fewer out",
        )
    return users


def measure(
    model: InterestGenerator | InterestAutoencoder, train: Dataset, rng: np.random.Generator,
    *, samples: int = 1000, keep: Share | None = None,
) -> SampleQuality:  # fmt: skip
    """Draw `samples` profiles for the users of one half and compare them with the real ones of
    the other half, so that no real profile meets its own twin.

    Raises `DataError` for fewer than 20 users with two different items.
    """
    bags = Bags.of(train.histories(), train.n_items)
    users = rng.permutation(comparable(train))
    asked, shown = users[: len(users) // 2], users[len(users) // 2 :]
    conditions = train.histories().take(asked[np.arange(samples) % len(asked)])
    drawn = model.sample(conditions, rng, keep=keep)
    real = [bags.row(int(u)) for u in shown]
    fair = drawn[: len(asked)]
    linear, trees = fresh_auroc(real, fair, train, rng)
    flags = Bags.of(_queries(fair), train.n_items).matrix.toarray() > 0
    known = popularity(train.counts)
    groups = np.argsort(np.argsort(-train.counts, kind="stable")) * _GROUPS // train.n_items
    counted = [np.bincount(groups[np.concatenate(s)], minlength=_GROUPS) for s in (real, fair)]
    return SampleQuality(
        auroc=max(linear, trees), auroc_linear=linear, auroc_trees=trees,
        auroc_own=auroc(
            model.authenticity(_queries(real)), model.authenticity(_queries(fair))
        ) if isinstance(model, InterestGenerator) else None,
        length_ks=kolmogorov_smirnov([len(s) for s in real], [len(s) for s in fair]),
        popularity_ks=kolmogorov_smirnov(known[np.concatenate(real)], known[np.concatenate(fair)]),
        popularity_tv=total_variation(*counted), popularity_js=jensen_shannon(*counted),
        unique=unique_share(drawn), overlap=overlap(flags),
        overlap_real=overlap(bags.matrix[shown].toarray() > 0),
        repeated=_repeated(flags), samples=len(drawn),
    )  # fmt: skip


def fresh_auroc(
    real: Sequence[Ints], fake: Sequence[Ints], train: Dataset, rng: np.random.Generator
) -> tuple[float, float]:
    """AUROC of a logistic regression and of boosted trees, each profile judged by classifiers
    that were fitted without it (four folds); 1 where fakes are always found.

    Raises `DataError` for fewer than eight of either.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if min(len(real), len(fake)) < 8:
        raise DataError(f"{len(real)} real and {len(fake)} generated profiles are too few")
    features = set_features([*real, *fake], train)
    labels: Labels = np.repeat([0, 1], [len(real), len(fake)]).astype(np.int64)
    seed = int(rng.integers(2**31))
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    found = []
    for classifier in (
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)),
        HistGradientBoostingClassifier(
            max_iter=60, learning_rate=0.1, max_leaf_nodes=8, random_state=seed
        ),
    ):
        scores = cross_val_predict(classifier, features, labels, cv=folds, method="predict_proba")[
            :, 1
        ]
        found.append(auroc(scores[labels == 1], scores[labels == 0]))
    return found[0], found[1]


def set_features(sets: Sequence[Ints], train: Dataset) -> Floats:
    """(N, 8 + D): log length; mean, deviation and quartiles of log-popularity; share of the
    most popular twentieth; length of the mean item vector; that vector (16 numbers)."""
    known, vectors = popularity(train.counts), item_vectors(train, 16)
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    top = np.zeros(train.n_items)
    top[np.argsort(-train.counts, kind="stable")[: max(train.n_items // 20, 1)]] = 1.0
    rows = []
    for items in sets:
        mean = units[items].mean(0)
        quarters = np.quantile(known[items], [0.1, 0.5, 0.9])
        plain = [np.log(len(items)), known[items].mean(), known[items].std(), *quarters]
        rows.append([*plain, top[items].mean(), np.linalg.norm(mean), *mean])
    return np.asarray(rows, dtype=np.float32)


def pair_auroc(model: InterestGenerator, histories: Queries, rng: np.random.Generator) -> float:
    """AUROC of the pair head: halves of one history against halves of two.

    Each history is halved in time (the older and the newer half). Histories of fewer than four
    events are left out. Raises `DataError` where fewer than two remain.
    """
    users = np.flatnonzero(histories.lengths >= 4)
    if len(users) < 2:
        raise DataError(f"{len(users)} histories of four events or more; two are needed")
    halves = [
        (h[: len(h) // 2], h[len(h) // 2 :]) for u in users.tolist() for h in [histories.history(u)]
    ]
    past, recent = (_queries([pair[side] for pair in halves]) for side in (0, 1))
    shift = int(rng.integers(1, len(users)))
    others = recent.take(np.roll(np.arange(len(users)), shift))
    return auroc(model.consistency(past, recent), model.consistency(past, others))


def _queries(sets: Sequence[Ints]) -> Queries:
    return Queries.of([s.tolist() for s in sets])


def auroc(high: Floats, low: Floats) -> float:
    """Chance that a number of `high` is above one of `low`, ties counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([high, low]))
    above = float(ranks[: len(high)].sum()) - len(high) * (len(high) + 1) / 2
    return above / (len(high) * len(low))


def _repeated(flags: NDArray[np.bool_]) -> float:
    counts = flags.sum(1)
    both = flags.astype(np.float32) @ flags.astype(np.float32).T
    share = both / np.maximum(np.minimum(counts[:, None], counts[None]), 1)
    above = np.triu_indices(len(flags), 1)
    return float((share[above] > 0.9).mean()) if len(flags) > 1 else 0.0
