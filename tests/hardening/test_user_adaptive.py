"""Magnitudes by user: who gets which, worked out by hand."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from hardrank.context import RunContext
from hardrank.errors import Unsupported
from hardrank.hardening import APR, Ramp, UserAdaptive
from hardrank.hardening.user_adaptive import magnitudes
from hardrank.models import BprMf, Sasrec
from hardrank.models.bpr.triples import BprBatch
from hardrank.testing import toy_market
from hardrank.testing.objectives import ObjectiveContract, TinyNetwork
from hardrank.testing.pairs import Remembering, batch, step
from hardrank.training import Step, Training, check_objective

RUN = RunContext()
USERS, LIKED, OTHER = (0, 0, 1, 4), (1, 2, 3, 3), (4, 4, 5, 0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


class _OnNet(ObjectiveContract):
    def network(self) -> Any:
        return Remembering()

    def batch(self) -> Any:
        return batch()


class TestVulnerability(_OnNet):
    objective = UserAdaptive(radius=0.2)
    zero = UserAdaptive(radius=0.2, weight=0.0)


class TestEmbedding(_OnNet):
    objective = UserAdaptive(rule="embedding", radius=0.2)
    zero = UserAdaptive(rule="embedding", radius=0.2, weight=0.0)


def test_a_user_with_low_loss_gets_the_larger_magnitude() -> None:
    """Losses 1 and 3 of two users, mean 2: 2 sigmoid(2/1 - 1) and 2 sigmoid(2/3 - 1)."""
    found = magnitudes(torch.tensor([1.0, 3.0]), torch.tensor([7, 2]), falling=True)
    torch.testing.assert_close(found, torch.tensor([2 * sigmoid(1.0), 2 * sigmoid(-1 / 3)]))
    assert found[0] > 1 > found[1]


def test_a_user_with_long_vectors_gets_the_larger_magnitude() -> None:
    """Squared lengths 1 and 3, mean 2: 2 sigmoid(1/2 - 1) and 2 sigmoid(3/2 - 1)."""
    found = magnitudes(torch.tensor([1.0, 3.0]), torch.tensor([7, 2]), falling=False)
    torch.testing.assert_close(found, torch.tensor([2 * sigmoid(-0.5), 2 * sigmoid(0.5)]))


def test_rows_of_one_user_share_their_mean() -> None:
    """User 5 has losses 0 and 2: mean 1, as much as user 6; so both are mean users."""
    found = magnitudes(torch.tensor([0.0, 2.0, 1.0]), torch.tensor([5, 5, 6]), falling=True)
    torch.testing.assert_close(found, torch.ones(3))


def test_unknown_users_get_the_mean() -> None:
    values, users = torch.tensor([1.0, 3.0, 100.0]), torch.tensor([0, 1, -1])
    found = magnitudes(values, users, falling=True)
    assert found[2] == 1.0
    assert torch.equal(found[:2], magnitudes(values[:2], users[:2], falling=True))
    nobody = magnitudes(values, torch.full((3,), -1), falling=False)
    assert torch.equal(nobody, torch.ones(3))


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.integers(-1, 4)), min_size=1, max_size=30),
    st.booleans(),
)
def test_magnitudes_are_bounded_and_monotone(rows: list[tuple[float, int]], falling: bool) -> None:
    values = torch.tensor([v for v, _ in rows], dtype=torch.float64)
    users = torch.tensor([u for _, u in rows])
    found = magnitudes(values, users, falling=falling)
    assert bool(((found >= 2 * sigmoid(-1.0) - 1e-6) & (found <= 2)).all())
    means = {u: float(values[users == u].mean()) for u in set(users.tolist()) - {-1}}
    by_user = {u: float(found[users == u][0]) for u in means}
    order = sorted(means, key=lambda u: means[u], reverse=falling)
    magnitudes_in_order = [by_user[u] for u in order]
    assert all(a <= b + 1e-6 for a, b in pairwise(magnitudes_in_order))


@pytest.mark.parametrize("rule", ["vulnerability", "embedding"])
def test_rows_of_the_user_table_have_their_users_radius(rule: Any) -> None:
    """S4-05: user rows radius * m(u), item rows radius; by a slow twin."""
    net = Remembering()
    UserAdaptive(rule=rule, radius=0.5, absolute=True)(net, batch(), step())
    value = dict[int, list[float]]()
    for user, liked, other in zip(USERS, LIKED, OTHER, strict=True):
        p, q, b = net.users.detach()[user], net.factors.detach(), net.biases.detach()
        margin = float(p @ (q[liked] - q[other]) + b[liked] - b[other])
        loss, square = math.log1p(math.exp(-margin)), float(p @ p)
        value.setdefault(user, []).append(loss if rule == "vulnerability" else square)
    own = {user: sum(v) / len(v) for user, v in value.items()}
    mean = sum(own.values()) / len(own)
    share = {u: mean / v if rule == "vulnerability" else v / mean for u, v in own.items()}
    expected = [0.5 * 2 * sigmoid(share[u] - 1) if u in share else 0.0 for u in range(5)]
    torch.testing.assert_close(net.last["user-vectors"].norm(dim=1), torch.tensor(expected))
    touched = sorted({*LIKED, *OTHER})
    lengths = net.last["item-vectors"].norm(dim=1)
    torch.testing.assert_close(lengths[touched], torch.full((len(touched),), 0.5))


def test_equal_users_make_it_apr() -> None:
    """One user in the batch is the mean user."""
    one = batch((0, 0), (1, 2), (4, 5))
    mine = UserAdaptive(radius=0.3)(Remembering(), one, step())
    torch.testing.assert_close(mine, APR(radius=0.3)(Remembering(), one, step()))


def test_items_may_stand_still() -> None:
    net = Remembering()
    UserAdaptive(radius=0.3, items=False)(net, batch(), step())
    assert set(net.last) == {"user-vectors"}


def test_schedules_reach_zero() -> None:
    objective = UserAdaptive(radius=0.3, weight_schedule=Ramp())
    assert torch.equal(objective(Remembering(), batch(), step(0.0)), Remembering().loss(batch()))
    shrinking = UserAdaptive(radius=0.3, radius_schedule=Ramp())
    torch.testing.assert_close(
        shrinking(Remembering(), batch(), step(0.0)), 2 * Remembering().loss(batch())
    )


@pytest.mark.parametrize("rule", ["vulnerability", "embedding"])
def test_positions_of_a_history_have_their_users_radius(rule: Any) -> None:
    """On a sequence model: every real position of a window, nothing on padding, and a user
    that nobody knows gets the mean."""
    caught = dict[str, Any]()

    @dataclass(frozen=True)
    class Spy:
        kind: str = "spy"

        def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
            caught.update(network=network, batch=batch)
            return network.loss(batch)

    spec = Sasrec(size=8, length=3, dropout=0.0, training=Training(epochs=1, batch_size=30))
    spec.fit(toy_market(), RUN, objective=Spy())
    net, seen = caught["network"], caught["batch"]
    users = seen.users.clone()
    users[users == users[0]] = -1
    unknown = replace(seen, users=users)
    objective = UserAdaptive(
        rule=rule, site="history-vectors", items=False, radius=0.5, absolute=True
    )
    taken = dict[str, Tensor]()
    plain = net.loss
    net.loss = lambda b, d=None: (taken.update(d or {}), plain(b, d))[1]
    objective(net, unknown, step())
    lengths = taken["history-vectors"].norm(dim=-1)
    assert not lengths[~seen.real].any()
    rows = lengths[seen.real]
    # A position that nothing reads has no gradient and stays; those that move tell the radius.
    moved = rows > 0
    torch.testing.assert_close(
        rows[moved & (users == -1)], torch.full((int((moved & (users == -1)).sum()),), 0.5)
    )
    for user in set(users.tolist()) - {-1}:
        own = rows[moved & (users == user)]
        torch.testing.assert_close(own, own[:1].expand_as(own))
    assert len(set(rows[moved].round(decimals=5).tolist())) > 2


def test_it_trains_both_kinds_of_models() -> None:
    """S4-05."""
    market = toy_market()
    mf = BprMf(size=4, epochs=1, batch_size=16)
    hard = mf.fit(market, RUN, objective=UserAdaptive(radius=0.3))
    assert (hard.users != mf.fit(market, RUN).users).any()
    sequence = Sasrec(size=8, length=4, training=Training(epochs=1, batch_size=20))
    objective = UserAdaptive(site="history-vectors", rule="embedding", radius=0.1)
    fitted = sequence.fit(market, RUN, objective=objective)
    assert not torch.equal(fitted.vectors, sequence.fit(market, RUN).vectors)


def test_it_is_refused_where_nothing_is_a_users() -> None:
    """S4-05: with the alternatives, before training."""
    with pytest.raises(Unsupported, match="no site 'user-vectors'; it has: item-vectors"):
        check_objective(UserAdaptive(radius=0.1), TinyNetwork())
    with pytest.raises(Unsupported, match="no site 'history-vectors'; it has: item-vectors, user"):
        BprMf().fit(toy_market(), RUN, objective=UserAdaptive(site="history-vectors", radius=0.1))

    class Mute(torch.nn.Module):
        sites = ("user-vectors", "item-vectors")

    with pytest.raises(Unsupported, match="no losses by user; use 'apr' or 'adversarial'"):
        check_objective(UserAdaptive(radius=0.1), Mute())  # type: ignore[arg-type]


def test_batches_that_do_not_say_whose_they_are_are_refused() -> None:
    nameless = BprBatch(torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    object.__setattr__(nameless, "users", None)

    class Anonymous(Remembering):
        def loss(self, batch: BprBatch, deltas: Any = None) -> Tensor:
            return super().loss(replace(batch, users=torch.tensor([0])), deltas)

        def user_losses(self, batch: BprBatch) -> Tensor:
            return torch.ones(1)

    with pytest.raises(Unsupported, match="do not say whose they are; use 'apr'"):
        UserAdaptive(radius=0.1)(Anonymous(), nameless, step())


@pytest.mark.parametrize(
    "bad", [{}, {"radius": 0.0}, {"radius": 0.1, "rule": "luck"}, {"radius": 0.1, "site": "item"}]
)
def test_what_no_paper_says_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(UserAdaptive).validate_python(bad)
