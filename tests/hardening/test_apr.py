"""Adversarial personalised ranking on matrix factorisation small enough to do by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from hardrank.context import RunContext
from hardrank.errors import Unsupported
from hardrank.files import digest_bytes
from hardrank.hardening import APR, Adversarial, Ramp
from hardrank.hardening.borrow import Draws
from hardrank.hardening.slopes import slopes
from hardrank.models import BprMf, Sasrec
from hardrank.models.bpr.network import BprNetwork
from hardrank.models.bpr.triples import BprBatch
from hardrank.perturbations import FGM
from hardrank.testing import toy_market
from hardrank.testing.objectives import ObjectiveContract, TinyNetwork
from hardrank.testing.pairs import Remembering, batch, step
from hardrank.training import Plain, Training, check_objective

P, Q = [[3.0, 4.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 2.0]]
RUN = RunContext()


def network(penalty: float = 0.0) -> BprNetwork:
    return BprNetwork(torch.tensor(P), torch.tensor(Q), torch.tensor([0.5, 0.0]), penalty=penalty)


def one() -> BprBatch:
    return batch((0,), (0,), (1,))


class _OnBig(ObjectiveContract):
    def network(self) -> Any:
        return Remembering()

    def batch(self) -> Any:
        return batch()


class TestAPR(_OnBig):
    objective = APR(radius=0.1)
    zero = APR(radius=0.1, weight=0.0)


class TestAbsoluteAPR(_OnBig):
    objective = APR(sites=("user-vectors",), radius=0.5, absolute=True)


class TestAPROnSoftmax(ObjectiveContract):
    objective = APR(sites=("item-vectors",), radius=0.1)
    zero = APR(sites=("item-vectors",), radius=0.1, weight=0.0)


def test_gradient_of_bpr_is_the_one_derived_by_hand() -> None:
    """x = p.(q_i - q_j) + b_i - b_j = 3 - 8 + 0.5; s = sigmoid(-x). dL/dp = -s (q_i - q_j),
    dL/dq_i = -s p = -dL/dq_j, dL/db_i = -s, each plus penalty * itself; other rows nothing."""
    net, x = network(penalty=0.1), -4.5
    net.loss(one()).backward()
    s = 1 / (1 + math.exp(x))
    close = torch.testing.assert_close
    close(net.users.grad, torch.tensor([[-s * 1 + 0.3, s * 2 + 0.4], [0.0, 0.0]]))
    close(net.factors.grad, torch.tensor([[-3 * s + 0.1, -4 * s], [3 * s, 4 * s + 0.2]]))
    close(net.biases.grad, torch.tensor([-s + 0.05, s]))
    norms = 25 + 1 + 4 + 0.25
    close(net.loss(one()).detach(), torch.tensor(math.log1p(math.exp(-x)) + 0.05 * norms))


def expected_deltas(radius: float) -> tuple[Tensor, Tensor]:
    """-dx/dp normalised is -(q_i - q_j)/||.|| = (-1, 2)/sqrt 5; of q_i -(3, 4)/5, of q_j +."""
    user = torch.tensor([[-1.0, 2.0], [0.0, 0.0]]) / math.sqrt(5)
    return radius * user, radius * torch.tensor([[-0.6, -0.8], [0.6, 0.8]])


def test_apr_is_the_loss_at_the_normalised_gradient_of_every_row() -> None:
    """S2-02; He et al., equations 8 and 9: all rows move at once, absolute radius 0.5."""
    net = network()
    users, items = expected_deltas(0.5)
    p, q = torch.tensor(P)[0] + users[0], torch.tensor(Q) + items
    attacked = F.softplus(-(p @ (q[0] - q[1]) + 0.5))
    clean = F.softplus(torch.tensor(4.5))
    found = APR(radius=0.5, absolute=True, weight=2.0)(net, one(), step())
    torch.testing.assert_close(found.detach(), clean + 2 * attacked)


def test_a_relative_radius_is_by_the_mean_norm_of_each_table() -> None:
    """Users (5 + 1) / 2 = 3, items (1 + 2) / 2 = 1.5."""
    found = slopes(network(), one(), Draws.now(), ("user-vectors", "item-vectors"))
    user, item = found["user-vectors"], found["item-vectors"]
    assert (user.radius(0.2, absolute=False), item.radius(0.2, absolute=False)) == pytest.approx(
        (0.6, 0.3)
    )
    assert user.radius(0.2, absolute=True) == 0.2
    for slope, delta in zip((user, item), expected_deltas(1.0), strict=True):
        torch.testing.assert_close(slope.direction, delta)


def test_the_gradient_of_the_total_holds_the_perturbation_fixed() -> None:
    net = network()
    APR(radius=0.5, absolute=True)(net, one(), step()).backward()
    again = network()
    users, items = expected_deltas(0.5)
    fixed = {"user-vectors": users, "item-vectors": items}
    (again.loss(one()) + again.loss(one(), fixed)).backward()
    for mine, theirs in zip(net.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_on_one_site_it_is_adversarial_training_with_one_gradient_step() -> None:
    """Two ways to the same value."""
    made = TestAPR()
    apr = APR(sites=("item-vectors",), radius=0.3)(made.network(), made.batch(), step())
    fgm = Adversarial(inner=FGM(), radius=0.3)(made.network(), made.batch(), step())
    torch.testing.assert_close(apr, fgm)


def test_the_penalty_gives_nothing_to_the_adversary() -> None:
    """With nothing but the penalty left (both items the same) there is nowhere to climb."""
    found = slopes(
        network(penalty=5.0), batch((0,), (1,), (1,)), Draws.now(), ("user-vectors", "item-vectors")
    )
    assert all(not slope.direction.any() for slope in found.values())


def test_weight_and_radius_follow_their_schedules() -> None:
    objective = APR(radius=0.5, absolute=True, radius_schedule=Ramp(), weight_schedule=Ramp())
    clean = network().loss(one())
    assert torch.equal(objective(network(), one(), step(0.0)), clean)
    users, items = expected_deltas(0.25)
    attacked = network().loss(one(), {"user-vectors": users, "item-vectors": items})
    torch.testing.assert_close(objective(network(), one(), step(0.5)), clean + 0.5 * attacked)


def weights_after(objective: Any, penalty: float = 1e-2) -> str:
    model = BprMf(size=4, epochs=2, batch_size=16, penalty=penalty).fit(
        toy_market(), RUN, objective=objective
    )
    return digest_bytes(*(model.arrays()[name].tobytes() for name in ("users", "factors")))


def test_weight_zero_trains_the_same_bits() -> None:
    plain = weights_after(None)
    assert weights_after(Plain()) == weights_after(APR(radius=0.5, weight=0.0)) == plain
    assert weights_after(APR(radius=0.5)) != plain


def test_weights_come_back_exactly() -> None:
    """S2-02: the perturbation is never written into the parameters, also not after an error."""
    net = Remembering()
    before = digest_bytes(*(p.detach().numpy().tobytes() for p in net.parameters()))
    APR(radius=3.0, absolute=True)(net, TestAPR().batch(), step())

    class Falls(Remembering):
        def loss(self, batch: BprBatch, deltas: Any = None) -> Tensor:
            if deltas:
                raise RuntimeError("fell over")
            return super().loss(batch)

    falling = Falls()
    with pytest.raises(RuntimeError, match="fell over"):
        APR(radius=3.0)(falling, TestAPR().batch(), step())
    for each in (net, falling):
        assert digest_bytes(*(p.detach().numpy().tobytes() for p in each.parameters())) == before


def test_hardening_takes_loss_from_the_adversary() -> None:
    """S2-02 in small: after equal training APR's model loses less to the same step."""
    spec = BprMf(size=8, epochs=40, batch_size=32, learning_rate=0.02, penalty=0.0)
    rise = {}
    for name, objective in (("plain", None), ("apr", APR(radius=0.5, absolute=True))):
        model = spec.fit(toy_market(), RUN, objective=objective)
        tables = [torch.from_numpy(a) for a in (model.users, model.factors, model.biases)]
        net = BprNetwork(*tables, penalty=0.0)
        events = toy_market().histories()
        draws = torch.Generator().manual_seed(0)
        other = torch.randint(24, (len(events.items),), generator=draws)
        each = BprBatch(torch.from_numpy(events.owners), torch.from_numpy(events.items), other)
        sites = ("user-vectors", "item-vectors")
        found = slopes(net, each, Draws.now(), sites)
        moved = net.loss(each, {site: 0.5 * found[site].direction for site in sites})
        rise[name] = float((moved - net.loss(each)).detach())
    assert rise["apr"] < 0.8 * rise["plain"]


def test_a_sequence_model_takes_item_and_history_vectors() -> None:
    spec = Sasrec(size=8, length=4, training=Training(epochs=1, batch_size=20))
    plain = spec.fit(toy_market(), RUN)
    hardened = spec.fit(
        toy_market(), RUN, objective=APR(sites=("item-vectors", "history-vectors"), radius=0.1)
    )
    assert not torch.equal(plain.vectors, hardened.vectors)


@pytest.mark.parametrize(
    ("sites", "has"),
    [
        (("item-vectors", "user-vectors"), "no site 'user-vectors'; it has: item-vectors"),
        (("text-vectors",), "no site 'text-vectors'; it has: item-vectors"),
    ],
)
def test_an_absent_site_is_refused_with_those_there_are(sites: Any, has: str) -> None:
    """S4-05: before any training."""
    with pytest.raises(Unsupported, match=f"'apr': this model has {has}"):
        check_objective(APR(sites=sites, radius=0.1), TinyNetwork())


def test_a_model_refuses_before_training() -> None:
    """S4-05."""
    with pytest.raises(Unsupported, match="no site 'user-vectors'; it has: item-vectors, history"):
        Sasrec().fit(toy_market(), RUN, objective=APR(radius=0.1))
    with pytest.raises(Unsupported, match="no site 'history-vectors'; it has: item-vectors, user"):
        BprMf().fit(toy_market(), RUN, objective=APR(sites=("history-vectors",), radius=0.1))


@pytest.mark.parametrize("radius", [{}, {"radius": 0.0}, {"radius": -1.0}, {"radius": math.inf}])
def test_a_radius_that_bounds_nothing_is_refused(radius: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="radius"):
        TypeAdapter(APR).validate_python({"kind": "apr", **radius})


@pytest.mark.parametrize(
    "sites", [(), ("item-vectors", "item-vectors"), ("token-embeddings",), ("words",)]
)
def test_sites_are_vectors_each_once(sites: Any) -> None:
    with pytest.raises(ValidationError, match="sites"):
        TypeAdapter(APR).validate_python({"sites": sites, "radius": 0.1})
