"""From users to the items they share and back."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from scipy.stats import binomtest

from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.detection.parts import read
from hardrank.detection.pca import PcaSelect
from hardrank.detection.stored import load_detector
from hardrank.detection.supervised import LogisticDetector
from hardrank.detection.target_stage import TwoStage, item_suspicion, top_share
from hardrank.errors import Unsupported
from hardrank.metrics.detection import auroc, recall_at_fpr
from hardrank.testing.logs import taste_log


def planted(n_fake: int = 15) -> LabelledLog:
    """Users who imitate a real one and add `i57`; no feature of theirs is unusual alone."""
    train = taste_log(users=300, events=10, seed=2)
    names = train.items["item_id"].to_list()
    histories = train.histories()
    profiles = []
    for n in range(n_fake):
        rows = histories.history(7 * n + 1).tolist()
        ids = tuple(names[r] for r in rows if names[r] != "i57")
        ratings, times = (5.0,) * (len(ids) + 1), (1_600_000_000,) * (len(ids) + 1)
        profiles.append(AddProfile(f"new{n}", (*ids, "i57"), ratings, times))
    return labelled(train, Patch(tuple(profiles)), "copies", target="i57")


def noisy(log: LabelledLog, seed: int = 0) -> np.ndarray:
    """A base that finds half the fakes: the others look like anybody."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=log.dataset.n_users)
    fakes = np.flatnonzero(log.fake)
    scores[fakes[::2]] += 4.0
    return scores.astype(np.float32)


def test_the_shared_item_is_found_and_those_who_know_it() -> None:
    log = planted()
    base = noisy(log)
    found = item_suspicion(read(log.dataset), top_share(base, 0.03))
    assert log.dataset.items["item_id"][int(found.decades.argmax())] == "i57"
    assert found.suspects[57] >= 5
    joint = TwoStage(base=PcaSelect()).joint(log.dataset, base)
    before = recall_at_fpr(base, log.fake, 0.05)
    after = recall_at_fpr(joint, log.fake, 0.05)
    assert before < 0.65
    assert after >= before + 0.2
    assert auroc(joint, log.fake) > auroc(base, log.fake) + 0.05


def test_without_anything_in_common_scores_keep_their_order() -> None:
    """A clean log: at most few users move, however unusual some are."""
    clean = taste_log(users=300, events=10, seed=2)
    base = np.random.default_rng(1).normal(size=300).astype(np.float32)
    joint = TwoStage(base=PcaSelect()).joint(clean, base)
    moved = np.abs(np.argsort(np.argsort(joint)) - np.argsort(np.argsort(base)))
    assert (moved > 15).mean() < 0.05


def test_an_item_is_tested_by_the_binomial_law() -> None:
    """Three items as popular as each other, one of them known to suspects alone."""
    users = [u for item in range(3) for u in range(item * 8, item * 8 + 8)]
    items = [item for item in range(3) for _ in range(8)]
    data = log_of(users, items, n_users=24)
    suspects = np.zeros(24, dtype=bool)
    suspects[:8] = True
    suspects[8] = True
    found = item_suspicion(read(data), suspects)
    np.testing.assert_array_equal(found.raters[:3], [8, 8, 8])
    np.testing.assert_array_equal(found.suspects[:3], [8, 1, 0])
    # the other two items: one suspect among 16 raters, pulled towards 9 of 24 by ten raters
    expected = (1 + 10 * 9 / 24) / (16 + 10)
    assert found.expected[0] == pytest.approx(expected)
    tail = binomtest(8, 8, expected, alternative="greater").pvalue
    z = np.abs(found.suspects - 8 * found.expected) / np.sqrt(
        8 * found.expected * (1 - found.expected)
    )
    scatter = max((np.quantile(z, 0.9) / 1.6449) ** 2, 1.0)
    wanted = -np.log10(tail) / scatter - np.log10(3)
    assert found.decades[0] == pytest.approx(max(wanted, 0.0), rel=1e-6)
    assert found.decades[2] == 0.0


def test_nobody_makes_his_own_items_suspicious() -> None:
    """One odd user with items of his own gains nothing by them."""
    users = [*range(20), *range(20), 20, 20, 20]
    items = [n % 4 for n in range(20)] + [(n + 1) % 4 for n in range(20)] + [4, 5, 6]
    data = log_of(users, items, n_users=21)
    base = np.linspace(-1, 1, 21).astype(np.float32)
    joint = TwoStage(base=PcaSelect(), suspects=(0.04,)).joint(data, base)
    ranks = (np.arange(21) + 0.5) / 21
    np.testing.assert_allclose(joint, np.log(ranks / (1 - ranks)), rtol=1e-5)


def test_places_of_users_do_not_matter() -> None:
    log = planted()
    base, order = noisy(log), np.random.default_rng(3).permutation(log.dataset.n_users)
    place = np.argsort(order)
    events = log.dataset.events.with_columns(
        user=pl.Series(place[log.dataset.events["user"].to_numpy()], dtype=pl.Int32)
    ).sort("user", maintain_order=True)
    ids = pl.DataFrame({"user_id": [f"n{n}" for n in range(len(order))]})
    turned = Dataset(name="turned", users=ids, items=log.dataset.items, events=events)
    stage = TwoStage(base=PcaSelect())
    np.testing.assert_array_equal(
        stage.joint(turned, base[order]), stage.joint(log.dataset, base)[order]
    )


def test_who_is_not_judged_stays_so() -> None:
    log = planted()
    base = noisy(log)
    base[3] = np.nan
    joint = TwoStage(base=PcaSelect()).joint(log.dataset, base)
    assert np.isnan(joint[3])
    assert np.isfinite(np.delete(joint, 3)).all()


def test_a_base_without_labels_needs_no_fit_and_keeps(tmp_path: Any) -> None:
    log = planted()
    spec = TwoStage(base=PcaSelect(), false_alarms=0.05)
    fitted = spec.fit([log], RunContext(seed=0))
    np.testing.assert_array_equal(fitted(log.dataset), spec(log.dataset))
    fitted.save(tmp_path / "kept")
    back = load_detector(tmp_path / "kept")
    assert back.threshold == fitted.threshold
    np.testing.assert_array_equal(back(log.dataset), fitted(log.dataset))
    assert spec.fit([], RunContext()).threshold == float("inf")


def test_a_base_that_learns_has_to_learn_first() -> None:
    with pytest.raises(Unsupported, match="call fit first"):
        TwoStage(base=LogisticDetector())(taste_log(users=20))
    with pytest.raises(ValidationError, match="less than 1"):
        TwoStage(suspects=(1.0,))


def test_the_reasons_name_the_item() -> None:
    log = planted()

    class Base:
        def __call__(self, dataset: Dataset) -> Any:
            return noisy(log)

    from hardrank.detection.target_stage import FittedTwoStage

    fitted = FittedTwoStage(spec=TwoStage(base=PcaSelect()), base=Base(), threshold=0.0)
    fakes = np.flatnonzero(log.fake)[::2]
    told = fitted.reasons(log.dataset, fakes)
    assert all(reasons[0].startswith("item i57 (") for reasons in told)


def log_of(users: list[int], items: list[int], *, n_users: int) -> Dataset:
    rows = sorted(zip(users, items, strict=True))
    events = pl.DataFrame(
        {
            "user": pl.Series([u for u, _ in rows], dtype=pl.Int32),
            "item": pl.Series([i for _, i in rows], dtype=pl.Int32),
            "time": pl.Series([None] * len(rows), dtype=pl.Int64),
            "rating": pl.Series([None] * len(rows), dtype=pl.Float32),
            "weight": pl.Series([1.0] * len(rows), dtype=pl.Float32),
        }
    )
    return Dataset(
        name="drawn",
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(n_users)]}),
        items=pl.DataFrame({"item_id": [f"i{n}" for n in range(max(items) + 1)]}),
        events=events,
    )
