"""Surrogates: closed forms against refits, gradients against differences, losses by hand."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.sparse import csr_array, vstack

from hardrank.context import RunContext
from hardrank.data import AddProfile, Dataset, Patch
from hardrank.errors import Unsupported
from hardrank.surrogates import (
    SURROGATES,
    Aim,
    AlsSurrogate,
    EaseSurrogate,
    Fitted,
    SurrogateSpec,
    UnrolledSurrogate,
)
from hardrank.surrogates.base import opened
from hardrank.surrogates.factors import Ridge, half, settled
from hardrank.testing.logs import taste_log

_RUN = RunContext(seed=3)
_LOG = taste_log(users=40, items=24, events=8, seed=1)
_EASE = EaseSurrogate(weight=5.0, precision="double")
_ALS = AlsSurrogate(factors=4, sweeps=3, precision="double")
_UNROLLED = UnrolledSurrogate(factors=4, sweeps=3, steps=1, unroll=1, precision="double")
_ALL = [_EASE, _ALS, _UNROLLED]
_ids = {"ids": lambda spec: spec.kind}


def _rows(log: Dataset) -> NDArray[np.float64]:
    out = np.zeros((log.n_users, log.n_items))
    out[log.events["user"].to_numpy(), log.event_items] = 1
    return out


def _fakes(log: Dataset, count: int, target: int, group: int, size: int = 5) -> torch.Tensor:
    """Users who touched the target and popular items of one taste group."""
    rng = np.random.default_rng(count)
    liked = np.flatnonzero(np.arange(log.n_items) % 3 == group)[:-1]
    out = torch.zeros((count, log.n_items), dtype=torch.float64)
    for row in out:
        row[torch.as_tensor(rng.choice(liked, size=size, replace=False))] = 1
        row[target] = 1
    return out


def _soft(log: Dataset, count: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.uniform(0.1, 0.9, size=(count, log.n_items)))


def _half_slowly(
    rows: NDArray[np.float64], other: NDArray[np.float64], ridge: Ridge
) -> NDArray[np.float64]:
    """One ridge regression a row, as Hu et al. write it."""
    out = []
    for row in rows:
        weight = np.diag(1 + ridge.alpha * row)
        left = other.T @ weight @ other + ridge.weight * np.eye(other.shape[1])
        out.append(np.linalg.solve(left, other.T @ weight @ row))
    return np.stack(out)


@pytest.mark.parametrize("count", [1, 7])
def test_ease_equals_a_refit_on_all_rows(count: int) -> None:
    """The closed form with fakes is the model trained anew, to double precision."""
    surrogate = _EASE.fit(_LOG, _RUN)
    fakes = _fakes(_LOG, count, target=23, group=2)
    real = _rows(_LOG)
    both = np.vstack([real, fakes.numpy()])
    inverse = np.linalg.inv(both.T @ both + 5.0 * np.eye(_LOG.n_items))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    unseen = ~surrogate.seen.numpy()
    assert surrogate.exact
    np.testing.assert_allclose(
        surrogate.scores(fakes).numpy()[unseen], (real @ weights)[unseen], atol=1e-12
    )


def test_als_equals_a_half_sweep_over_the_items() -> None:
    surrogate = _ALS.fit(_LOG, _RUN)
    ridge, items = Ridge(alpha=10.0, weight=5.0), surrogate.items.numpy()
    fakes = _fakes(_LOG, 6, target=23, group=2).numpy()
    real = _rows(_LOG)
    users = _half_slowly(np.vstack([real, fakes]), items, ridge)
    moved = _half_slowly(np.vstack([real, fakes]).T, users, ridge)
    expected = users[: _LOG.n_users] @ moved.T
    np.testing.assert_allclose(surrogate.scores(torch.as_tensor(fakes)), expected, atol=1e-10)


def test_unrolled_equals_training_with_the_fakes() -> None:
    """Two sweeps, one of them unrolled, are two sweeps over log and fakes."""
    surrogate = _UNROLLED.fit(_LOG, _RUN)
    fakes = _fakes(_LOG, 6, target=23, group=2)
    ridge, items = Ridge(alpha=10.0, weight=5.0), surrogate.items.numpy()
    both = vstack([opened(_LOG, 40, _RUN).touched, csr_array(fakes.numpy())], format="csr")
    users, items = settled(both, items, ridge, 2)
    expected = users[: _LOG.n_users] @ items.T
    np.testing.assert_allclose(surrogate.scores(fakes), expected, atol=1e-10)


def test_half_sweeps_agree_with_one_regression_a_row() -> None:
    rng = np.random.default_rng(0)
    rows, other = (rng.random((9, 7)) < 0.4).astype(float), rng.standard_normal((7, 3))
    ridge = Ridge(alpha=4.0, weight=0.5)
    np.testing.assert_allclose(
        half(csr_array(rows), other, ridge), _half_slowly(rows, other, ridge), atol=1e-12
    )


@pytest.mark.parametrize("spec", _ALL, **_ids)
@pytest.mark.parametrize("loss", ["exposure", "margin"])
def test_gradients_equal_differences(spec: Any, loss: Any) -> None:
    if spec.kind == "unrolled":  # through all of it, or the difference sees more
        spec = UnrolledSurrogate(factors=4, sweeps=3, steps=0, unroll=2, precision="double")
    surrogate, targets = spec.fit(_LOG, _RUN), torch.tensor([23, 22])
    aim = Aim(k=5, loss=loss, audience=0.5)
    soft = _soft(_LOG, 3).requires_grad_(True)
    (slope,) = torch.autograd.grad(surrogate.promotion(soft, targets, aim), soft)
    rng = np.random.default_rng(1)
    for p, i in [(0, 23), *zip(rng.integers(3, size=6), rng.integers(24, size=6), strict=True)]:
        step = torch.zeros_like(soft)
        step[p, i] = 1e-6
        with torch.no_grad():
            up = surrogate.promotion(soft + step, targets, aim)
            down = surrogate.promotion(soft - step, targets, aim)
        assert float(slope[p, i]) == pytest.approx(float(up - down) / 2e-6, rel=1e-4, abs=1e-8)
    assert slope.abs().max() > 1e-4


@pytest.mark.parametrize("spec", _ALL, **_ids)
def test_a_planted_profile_promotes_and_more_of_them_never_hurt(spec: Any) -> None:
    """Fakes who like the target's group bring it into that group's lists."""
    surrogate, targets = spec.fit(_LOG, _RUN), torch.tensor([23])
    whole = _fakes(_LOG, 16, target=23, group=2)
    counts = (0, 1, 2, 4, 8, 16)
    losses = [float(surrogate.promotion(whole[:n], targets, Aim(k=8))) for n in counts]
    shares = [surrogate.exposure(whole[:n], targets, 8) for n in counts]
    assert losses == sorted(losses, reverse=True)
    assert shares == sorted(shares)
    assert shares[-1] >= shares[0] + 0.1
    without = whole.clone()
    without[:, 23] = 0
    assert float(surrogate.promotion(without, targets, Aim(k=8))) > losses[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Given(Fitted):
    """Scores that nobody learnt."""

    given: torch.Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.given.dtype

    @property
    def spread(self) -> float:  # type: ignore[override]
        return 2.0

    def scores(self, selection: torch.Tensor) -> torch.Tensor:
        return self.given


def _given(scores: list[list[float]], seen: list[list[int]]) -> _Given:
    return _Given(seen=torch.tensor(seen).bool(), given=torch.tensor(scores).double())


_NOBODY = torch.zeros((0, 4), dtype=torch.float64)
_THREE = _given(
    [[5, 3, 1, 9], [0, 3, 1, 2], [9, 9, 9, 9]],
    [[0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]],
)


@pytest.mark.parametrize(("k", "share"), [(1, 0.5), (2, 0.5), (3, 0.5), (4, 1.0)])
def test_exposure_by_hand(k: int, share: float) -> None:
    """Item 0: the third user has it already, the first has it on top, the second last."""
    assert _THREE.exposure(_NOBODY, torch.tensor([0]), k) == share


def test_exposure_is_the_mean_over_targets_and_0_where_nobody_is_left() -> None:
    assert _THREE.exposure(_NOBODY, torch.tensor([0, 1]), 1) == (0.5 + 2 / 3) / 2
    assert _given([[1, 2]], [[1, 0]]).exposure(_NOBODY[:, :2], torch.tensor([0]), 1) == 0.0


def test_losses_by_hand() -> None:
    """Gaps of item 0 at k = 1 are 5 - 3 and 0 - 3, in units of 2."""
    near, far = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1.5))
    targets = torch.tensor([0])
    for aim, expected in (
        (Aim(k=1), -math.log((near + far) / 2)),
        (Aim(k=1, audience=0.5), -math.log(near)),
        (Aim(k=1, loss="margin"), -(math.log(near) + math.log(far)) / 2),
        (Aim(k=1, sharpness=2.0, audience=0.5), math.log(1 + math.exp(-2))),
    ):
        assert float(_THREE.promotion(_NOBODY, targets, aim)) == pytest.approx(expected)


def test_spread_is_that_of_the_doors() -> None:
    """Of the best unseen item where the catalogue is small."""
    surrogate = _EASE.fit(_LOG, _RUN)
    clean = surrogate.scores(_soft(_LOG, 0)).numpy()
    best = np.where(surrogate.seen.numpy(), -np.inf, clean).max(axis=1)
    assert surrogate.spread == pytest.approx(best.std())


@pytest.mark.parametrize("spec", _ALL, **_ids)
def test_same_seed_same_surrogate_to_the_last_bit(spec: Any) -> None:
    soft = _soft(_LOG, 2)
    first, again = (spec.fit(_LOG, _RUN).scores(soft) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("made", SURROGATES, ids=lambda made: made().kind)
def test_single_precision_says_the_same(made: Any) -> None:
    soft, targets = _soft(_LOG, 3), torch.tensor([23])
    single = made(precision="single").fit(_LOG, _RUN).promotion(soft.float(), targets)
    double = made(precision="double").fit(_LOG, _RUN).promotion(soft, targets)
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(double), rel=1e-3)


@pytest.mark.parametrize("spec", [EaseSurrogate(users=7), AlsSurrogate(users=7)], **_ids)
def test_a_panel_watches_some_users_but_all_teach(spec: Any) -> None:
    surrogate = spec.fit(_LOG, _RUN)
    panel = opened(_LOG, 7, _RUN).panel
    everyone = type(spec)(users=40).fit(_LOG, _RUN)
    soft = _soft(_LOG, 2).float()
    assert surrogate.scores(soft).shape == (7, 24)
    torch.testing.assert_close(surrogate.scores(soft), everyone.scores(soft)[panel])


def test_users_without_events_are_on_no_panel() -> None:
    empty = _LOG.where(pl.col("user") >= 10)
    assert opened(empty, 100, _RUN).panel.tolist() == list(range(30))
    assert EaseSurrogate().fit(empty, _RUN).scores(_soft(empty, 1).float()).shape == (30, 24)


def test_an_event_that_came_twice_counts_once() -> None:
    twice = _LOG.apply(Patch((AddProfile("x", ("i1", "i1", "i2")),)))
    assert opened(twice, 100, _RUN).touched.max() == 1.0
    assert opened(twice, 100, _RUN).touched[40].sum() == 2.0


def test_adapted_goes_on_from_the_poisoned_log() -> None:
    """EASE is exact already; ALS then has the factors of training with the fakes."""
    fakes = _fakes(_LOG, 6, target=23, group=2)
    ease, als, unrolled = (spec.fit(_LOG, _RUN) for spec in _ALL)
    assert ease.adapted(fakes) is ease
    both = vstack([opened(_LOG, 40, _RUN).touched, csr_array(fakes.numpy())], format="csr")
    ridge = Ridge(alpha=10.0, weight=5.0)
    _, items = settled(both, als.items.numpy(), ridge, 2)
    np.testing.assert_allclose(als.adapted(fakes).items, items, atol=1e-12)
    _, items = settled(both, unrolled.items.numpy(), ridge, 2)
    np.testing.assert_allclose(unrolled.adapted(fakes).items, items, atol=1e-10)


@pytest.mark.parametrize("made", [AlsSurrogate, UnrolledSurrogate], ids=lambda made: made().kind)
def test_adapted_afresh_begins_elsewhere_each_time(made: Any) -> None:
    """Other vectors in each round, the same ones again in a repeated round."""
    fakes = _fakes(_LOG, 6, target=23, group=2)
    spec = made(factors=4, sweeps=3, afresh=True, precision="double")
    start = spec.fit(_LOG, _RUN)
    once, again = start.adapted(fakes), start.adapted(fakes)
    twice = once.adapted(fakes)
    assert torch.equal(once.items, again.items)
    assert not torch.allclose(once.items, start.items, atol=0.05)
    assert not torch.allclose(once.items, twice.items, atol=0.05)


def test_ease_refuses_a_catalogue_that_is_too_large() -> None:
    with pytest.raises(Unsupported, match="24 items, at most 23; use surrogate 'als'"):
        EaseSurrogate(most_items=23).fit(_LOG, _RUN)


def test_toml_spells_every_surrogate() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(SurrogateSpec)
    for made in SURROGATES:
        assert adapter.validate_python({"kind": made().kind}) == made()
        with pytest.raises(ValidationError, match="no_such_key"):
            adapter.validate_python({"kind": made().kind, "no_such_key": 1})


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(0, 5), k=st.integers(1, 30))
def test_exposure_is_a_share_and_grows_with_k(seed: int, count: int, k: int) -> None:
    surrogate = _EASE.fit(_LOG, _RUN)
    soft, targets = _soft(_LOG, count, seed).round(), torch.tensor([21, 23])
    small, large = (surrogate.exposure(soft, targets, n) for n in (k, k + 1))
    assert 0.0 <= small <= large <= 1.0
    assert torch.isfinite(surrogate.promotion(soft, targets, Aim(k=k)))
