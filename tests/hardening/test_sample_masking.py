"""Sample masking: which rows are masked, that they teach nothing, and what that is good for
(rows S1-10, S1-16, S2-08)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from tests.hardening.flipped_labels import Flipped, Logistic, Mlp, Rows, auc, trained
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, SampleMasking, sample_masking
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.perturbations import FGM, PGD
from hardrank.testing.objectives import ObjectiveContract, TinyBatch, TinyNetwork
from hardrank.training import Step, check_objective

FIND: dict[str, Any] = {"inner": FGM(), "radius": 0.2, "site": "text-vectors"}
ALONE: dict[str, Any] = FIND | {"form": "mix", "weight": 1.0}
"""Only the adversarial loss."""
NEVER = 1e9

Plant = Callable[[Callable[[Tensor], Tensor]], None]


class TestSampleMasking(ObjectiveContract):
    objective = SampleMasking(inner=PGD(steps=2), radius=0.5, largest_ratio=1.5, soft=True)
    zero = SampleMasking(inner=PGD(steps=2), radius=0.5, weight=0.0)


class TestByNorm(ObjectiveContract):
    objective = SampleMasking(inner=FGM(), radius=0.5, largest_norm=0.6, largest_ratio=None)


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """plant(change): the worst perturbation as `change` makes it."""

    def replace(change: Callable[[Tensor], Tensor]) -> None:
        found = sample_masking.worst_delta
        monkeypatch.setattr(sample_masking, "worst_delta", lambda *a, **k: change(found(*a, **k)))

    return replace


def step() -> Step:
    return Step(epoch=0, number=0, progress=0.5, generator=torch.Generator().manual_seed(1))


def rows(n: int = 20) -> Rows:
    train = Flipped.of(0, 0.0).train
    return Rows(train.x[:n].clone().requires_grad_(), train.y[:n])


def long_tenth(delta: Tensor) -> Tensor:
    """Every tenth row's perturbation 30 times as long as it may be."""
    factors = torch.ones(len(delta))
    factors[::10] = 30
    return delta * factors[:, None]


@pytest.mark.parametrize("bound", [{"largest_norm": 0.3, "largest_ratio": None}, {}])
def test_masked_rows_have_exactly_zero_gradient(plant: Plant, bound: dict[str, Any]) -> None:
    """Row S1-10; the others' gradient is as without masking, and the share is noted."""
    plant(long_tenth)
    network, batch, here = Logistic(0), rows(), step()
    value = SampleMasking(**ALONE, **bound)(network, batch, here)
    (ours,) = torch.autograd.grad(value, batch.x)
    loose = SampleMasking(**ALONE, largest_ratio=NEVER)(network, batch, step())
    (theirs,) = torch.autograd.grad(loose, batch.x)
    masked = torch.zeros(20, dtype=torch.bool)
    masked[::10] = True
    assert bool((ours[masked] == 0).all()) and bool((theirs[masked] != 0).any())
    assert torch.equal(ours[~masked], theirs[~masked])
    assert here.memory["notes"] == {"masked_share": 0.1}


def test_without_masked_rows_it_is_adversarial_training() -> None:
    network, batch = Mlp(0), rows()
    ours = SampleMasking(**FIND, weight=0.5, largest_ratio=NEVER)(network, batch, step())
    theirs = Adversarial(**FIND, weight=0.5)(network, batch, step())
    torch.testing.assert_close(ours, theirs)


def test_the_adversarial_loss_is_the_log_likelihood_at_delta(plant: Plant) -> None:
    """-log p(y | x + delta) to 1e-6, with the labels of the clean rows (rows S1-16, S2-08)."""
    seen: list[Tensor] = []
    plant(lambda delta: seen.append(delta) or delta)
    network, batch = Mlp(0), rows()
    value = SampleMasking(**ALONE, largest_ratio=NEVER)(network, batch, step())
    p = network.layers(batch.x + seen[0]).softmax(1)[torch.arange(20), batch.y]
    assert abs((value + p.log().mean()).item()) <= 1e-6


def test_soft_weights_are_the_bound_over_what_exceeds_it(plant: Plant) -> None:
    plant(long_tenth)
    network, batch = Mlp(0), rows()
    objective = SampleMasking(**ALONE, largest_norm=0.4, largest_ratio=None, soft=True)
    value = objective(network, batch, step())
    weights = torch.ones(20)
    weights[::10] = 0.4 / (30 * 0.2)
    losses = _adversarial_losses(network, batch)
    torch.testing.assert_close(value, (weights * losses).mean())


def test_ratios_are_to_the_clean_loss_but_at_least_a_tenth(plant: Plant) -> None:
    """A clean loss of 0.001 that grows to 0.2 is no over-strong perturbation."""
    toy = Logistic(0)
    toy.layers = nn.Sequential(nn.Linear(1, 2, bias=False))
    toy.layers[0].weight.data = torch.tensor([[0.0], [1.0]])
    plant(lambda delta: torch.tensor([[-5.5], [-3.0], [-0.5]]))
    batch = Rows(torch.tensor([[7.0], [0.0], [0.0]]), torch.tensor([1, 1, 1]))
    here = step()
    SampleMasking(**ALONE, largest_ratio=3.0)(toy, batch, here)
    # losses log(1 + e^-x): 0.0009 -> 0.201 (ratio 2.0 of 0.1), 0.69 -> 3.05 (4.4), 0.97 (1.4)
    assert here.memory["notes"] == {"masked_share": 1 / 3}


def test_item_sites_look_at_the_right_item(plant: Plant) -> None:
    def only_two(delta: Tensor) -> Tensor:
        return delta * torch.tensor([1.0, 1.0, 9.0, 1.0, 1.0, 1.0])[:, None]

    plant(only_two)
    network = TinyNetwork()
    batch = TinyBatch(torch.eye(4).requires_grad_(), torch.tensor([0, 2, 5, 2]))
    objective = SampleMasking(
        inner=FGM(), radius=0.1, form="mix", largest_norm=0.5, largest_ratio=None
    )
    (grad,) = torch.autograd.grad(objective(network, batch, step()), batch.queries)
    assert (grad.abs().sum(1) > 0).tolist() == [True, False, True, False]


@pytest.mark.parametrize("negatives", [0, 2])
def test_sequences_look_at_the_newest_event_or_the_target_in_both_heads(
    plant: Plant, negatives: int
) -> None:
    """With and without sampled candidates."""
    network, batch = _two_heads(negatives), _histories()

    def masked(site: str, at: tuple[int, ...]) -> list[int]:
        def change(delta: Tensor) -> Tensor:
            out = torch.zeros_like(delta)
            out[at] = 10 * delta.norm(dim=-1).max() / delta.shape[-1] ** 0.5
            return out

        with pytest.MonkeyPatch.context() as patch:
            found = sample_masking.worst_delta
            patch.setattr(sample_masking, "worst_delta", lambda *a, **k: change(found(*a, **k)))
            objective = SampleMasking(
                inner=FGM(), radius=0.2, site=site, largest_norm=0.5, largest_ratio=None
            )
            here = step()
            torch.manual_seed(5)
            objective(network, batch, here)
        return here.memory["rows of masked_share"]

    torch.manual_seed(5)
    said = network.predictions(batch)
    ((_, second),) = said.auxiliary()
    assert second.rows is not None
    drawn = second.rows.tolist()
    assert set(drawn) != {0, 1}
    for prediction, at in enumerate([(0, 0), (0, 1), (0, 2), (1, 0)]):
        assert masked("history-vectors", at) == [1 + (prediction in drawn), 4 + len(drawn)]
    # item 3 is the target of the third prediction
    assert masked("item-vectors", (3,)) == [1 + (2 in drawn), 4 + len(drawn)]
    assert masked("text-vectors", (3,)) == [1 + (2 in drawn), 4 + len(drawn)]


def test_two_heads_draw_what_plain_training_draws() -> None:
    """So that control and hardened arm see the same numbers ever after."""
    after = []
    for weight in (0.0, 1.0):
        torch.manual_seed(1)
        network = _two_heads(0)
        torch.manual_seed(1)
        SampleMasking(inner=FGM(), radius=0.1, weight=weight)(network, _histories(), step())
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


@pytest.mark.parametrize("seed", range(3))
def test_over_perturbed_rows_cost_less_clean_quality(plant: Plant, seed: int) -> None:
    """With a tenth of over-strong samples planted, the clean AUC of logistic regression is at
    least that without masks (row S1-10), by either bound. A network that can bend around far
    points is not hurt by them: there the masks are no gain."""
    plant(long_tenth)
    data = Flipped.of(seed, 0.0)

    def clean(**bounds: Any) -> float:
        objective = SampleMasking(**FIND, **bounds)
        return auc(trained(objective, Logistic(seed), data.train, seed=seed, epochs=60), data.test)

    unmasked = clean(largest_ratio=NEVER)
    assert clean() >= unmasked
    assert clean(largest_norm=0.3, largest_ratio=None) >= unmasked


def test_some_bound_is_needed() -> None:
    with pytest.raises(ValidationError, match="without a bound, use 'adversarial'"):
        SampleMasking(**FIND, largest_ratio=None)
    with pytest.raises(ValidationError, match="at most 1 when form is 'mix'"):
        SampleMasking(**FIND, form="mix", weight=1.5)
    with pytest.raises(ValidationError, match="largest_ratio"):
        SampleMasking(**FIND, largest_ratio=1.0)


def test_refused_where_it_cannot_work() -> None:
    with pytest.raises(Unsupported, match="no site 'text-vectors'; it has: item-vectors"):
        check_objective(SampleMasking(**FIND), TinyNetwork())

    class Pairs(nn.Module):
        sites = ("text-vectors",)

    with pytest.raises(Unsupported, match=r"sample-masking.*'adversarial'"):
        check_objective(SampleMasking(**FIND), Pairs())  # type: ignore[arg-type]


def _adversarial_losses(network: Mlp, batch: Rows) -> Tensor:
    """FGM by hand: the gradient's direction, 0.2 of the mean norm long, a tenth of it 30 times."""
    x = batch.x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(network.layers(x), batch.y), x)
    delta = gradient / gradient.norm(dim=1, keepdim=True) * 0.2 * x.norm(dim=1).mean()
    return F.cross_entropy(
        network.layers(x + long_tenth(delta)), batch.y, reduction="none"
    ).detach()


def _two_heads(negatives: int) -> SequenceNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SequenceNetwork(
            tower=ItemTower(items=9, size=8, text_size=5, ids=True, dropout=0.0, scale=0.5),
            transformer=CausalTransformer(size=8, layers=1, heads=2, length=4, dropout=0.0),
            text_weight=0.5,
            negatives=negatives,
            frequency=torch.full((9,), 1 / 9),
        )
        made.texts = torch.randn(9, 5)
        made.encoded = made.texts
        made.projection = torch.eye(5)
    return made


def _histories() -> SequenceBatch:
    real = torch.tensor([[True, True, True], [True, False, False]])
    inputs = torch.tensor([[1, 2, 8], [4, 0, 0]])
    return SequenceBatch(inputs, torch.tensor([2, 8, 3, 7]), real, torch.tensor([0, 0, 0, 1]))
