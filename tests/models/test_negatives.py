"""Negatives of pairwise models: whence they come, and that they are never the user's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Queries
from hardrank.errors import ConfigError, DataError
from hardrank.experiment.augment_spec import parse_augmentation
from hardrank.files import digest_bytes
from hardrank.generators.augment import PopularProposer
from hardrank.generators.interest_gan import InterestGan
from hardrank.models import BprMf, LightGcn
from hardrank.models.bpr.negatives import (
    GeneratedNegatives,
    HardNegatives,
    Negatives,
    PopularNegatives,
    UniformNegatives,
)
from hardrank.models.bpr.network import BprNetwork
from hardrank.models.bpr.samplers import Mixed, Popular, Proposals, Uniform
from hardrank.models.bpr.triples import Triples, hardest
from hardrank.models.common import whole
from hardrank.models.graph.edges import normalised
from hardrank.models.graph.network import GraphNetwork
from hardrank.testing import dataset
from hardrank.testing.logs import taste_log
from hardrank.testing.pairs import Died, Dies
from hardrank.types import Ints

RUN = RunContext(seed=3)
GAN = InterestGan(size=4, noise=4, width=8, steps=10, warmup=4, every=5, batch_size=16)
GENERATED = GeneratedNegatives(share=0.5, proposals=8, generator=GAN)
KINDS = [UniformNegatives(), PopularNegatives(), HardNegatives(), GENERATED]


def small(**more: Any) -> BprMf:
    return BprMf(size=4, epochs=4, batch_size=100, learning_rate=0.02, **more)


def owned_log(owned: list[set[int]], items: int = 6) -> Dataset:
    return dataset([f"i{n}" for n in range(items)], [sorted(own) for own in owned])


class Backwards:
    """Proposes the last items first, whoever asks, and what the user has among them."""

    def sample(
        self, conditions: Queries, rng: np.random.Generator, *, length: Any = None, keep: Any = None
    ) -> list[Ints]:
        return [np.arange(5, 5 - length, -1, dtype=np.int64) for _ in range(len(conditions))]


def samplers(triples: Triples) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    generated = Proposals.of(triples, Backwards(), rng, most=2)
    counts = triples.data.counts.astype(np.float64)
    return {
        "uniform": Uniform(triples),
        "hard": Uniform(triples, 3),
        "popular": Mixed(triples, Popular(triples, counts), 0.7),
        "generated": Mixed(triples, generated, 0.7),
        "generated-only": Mixed(triples, generated, 1.0),
    }


# Whence they come


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_negative_is_never_the_users_own(owned: list[set[int]], seed: int) -> None:
    """S2-08: for no kind, in no log. Who lacks one item alone gets that one; who lacks none is
    asked nothing."""
    triples = Triples(owned_log(owned))
    users = np.unique(triples.events[0])
    assert set(users.tolist()) == {u for u, own in enumerate(owned) if len(own) < 6}
    if not len(users):
        return
    many = np.repeat(users, 9)
    for sampler in samplers(triples).values():
        drawn = sampler(many, np.random.default_rng(seed))
        assert drawn.shape[0] == len(many) and drawn.dtype == np.int64
        for user, items in zip(many.tolist(), drawn.tolist(), strict=True):
            left = set(range(6)) - owned[user]
            assert set(items) <= left
            assert len(left) > 1 or set(items) == left


@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_batch_has_negatives_that_its_users_lack(owned: list[set[int]], seed: int) -> None:
    """S2-08, with a model that always prefers the user's own items: it may choose, but not
    from those. Each event stands in the epoch once."""
    triples = Triples(owned_log(owned))
    own = torch.zeros(len(owned), 6)
    for user, items in enumerate(owned):
        own[user, sorted(items)] = 1.0

    def scores(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        return own[users].gather(1, items)

    for sampler in samplers(triples).values():
        seen = []
        rng = np.random.default_rng(seed)
        for part in triples.batches(4, rng, candidates=sampler, scores=scores):
            for user, liked, other in zip(part.users, part.liked, part.other, strict=True):
                assert int(other) not in owned[int(user)]
                seen.append((int(user), int(liked)))
        assert len(seen) == len(set(seen)) == len(triples)


def test_popular_ones_come_by_their_odds() -> None:
    """User 0 lacks items 1, 2 and 3, with odds 1, 3 and 0; 2,000 draws have a deviation of
    0.01. Where all that is left has odds 0 it is uniform."""
    triples = Triples(owned_log([{0, 4, 5}, {0, 1, 2, 4, 5}]))
    odds = np.array([9.0, 1.0, 3.0, 0.0, 7.0, 0.0])
    drawn = Popular(triples, odds)(np.zeros(2000, dtype=np.int64), np.random.default_rng(0))
    shares = np.bincount(drawn[:, 0], minlength=6) / 2000
    assert shares[[0, 3, 4, 5]].tolist() == [0, 0, 0, 0]
    assert abs(shares[2] - 0.75) < 0.04
    of_one = Popular(triples, odds)(np.ones(50, dtype=np.int64), np.random.default_rng(0))
    assert set(of_one[:, 0].tolist()) == {3}


def test_popular_ones_read_the_exponent() -> None:
    """An item with 16 events is 8 times as likely as one with a single event at 0.75, and as
    likely at 0; an item nobody has is never drawn."""
    log = owned_log([{0}] * 16 + [{1}] + [{2}])
    for exponent, ratio in ((0.75, 8.0), (0.0, 1.0)):
        spec = PopularNegatives(share=1.0, exponent=exponent)
        sampler = spec.sampler(Triples(log), RUN)
        drawn = sampler(np.full(9000, 17), np.random.default_rng(0))[:, 0]
        count = np.bincount(drawn, minlength=6)
        assert count[2:].tolist() == [0] * 4
        assert count[0] / count[1] == pytest.approx(ratio, rel=0.15)


def test_generated_ones_are_proposals_only() -> None:
    """S2-08: with share 1. User 0 has items 4 and 5: of what is proposed only 3 and 2 are left,
    and no more than two are kept."""
    triples = Triples(owned_log([{4, 5}, {0}]))
    made = Proposals.of(triples, Backwards(), np.random.default_rng(0), most=2)
    drawn = made(np.repeat([0, 1], 300), np.random.default_rng(1))[:, 0]
    assert set(drawn[:300].tolist()) == {3, 2}
    assert set(drawn[300:].tolist()) == {5, 4}


def test_a_low_temperature_takes_the_likeliest() -> None:
    """The first of two halves has 1 / (1 + exp(-1 / (2 T))) of the draws: 0.622 at T = 1."""
    triples = Triples(owned_log([{0}, {1}]))
    for temperature, share in ((0.01, 1.0), (1.0, 0.6225), (1e6, 0.5)):
        made = Proposals.of(
            triples, Backwards(), np.random.default_rng(0), most=2, temperature=temperature
        )
        drawn = made(np.zeros(4000, dtype=np.int64), np.random.default_rng(1))[:, 0]
        assert (drawn == 5).mean() == pytest.approx(share, abs=0.03)


def test_who_gets_no_proposal_gets_a_uniform_item() -> None:
    """A proposer of popular items has none left for user 0, who has all that anybody has."""
    log = owned_log([{0, 1}, {0}, {1}])
    made = Proposals.of(Triples(log), PopularProposer(log.counts), np.random.default_rng(0), most=3)
    drawn = made(np.repeat([0, 1], 200), np.random.default_rng(1))[:, 0]
    assert set(drawn[:200].tolist()) == {2, 3, 4, 5}
    assert set(drawn[200:].tolist()) == {1}


def test_the_share_is_kept() -> None:
    """Of 4,000 comparisons a quarter, within four deviations, and nothing else, is proposed."""
    triples = Triples(dataset([f"i{n}" for n in range(500)], [[0], [1]]))
    special = Popular(triples, np.eye(500)[7])
    drawn = Mixed(triples, special, 0.25)(np.zeros(4000, dtype=np.int64), np.random.default_rng(0))
    assert (drawn == 7).mean() == pytest.approx(0.25 + 0.75 / 499, abs=0.028)
    none = Mixed(triples, special, 0.0)(np.zeros(400, dtype=np.int64), np.random.default_rng(0))
    plain = triples.others(np.zeros(400, dtype=np.int64), np.random.default_rng(0))
    assert np.array_equal(none[:, 0], plain)


# Hard ones


def test_the_hardest_is_the_highest() -> None:
    scores = torch.tensor([[0.0, 3.0, 2.0], [5.0, 1.0, 5.0]])
    users, drawn = torch.tensor([0, 1]), torch.tensor([[2, 1, 0], [1, 2, 1]])
    found = hardest(users, drawn, lambda u, j: scores[u].gather(1, j))
    assert found.tolist() == [1, 2]


def test_hard_ones_score_above_uniform_ones() -> None:
    """S2-08: under the model as it stands, more so the more candidates; one candidate would be
    uniform."""
    triples = Triples(taste_log(users=40, items=30, events=6))
    model = small().fit(triples.data, RUN)

    def scores(users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        factors = torch.from_numpy(model.factors)[items]
        vectors = torch.from_numpy(model.users)[users][:, None]
        return (vectors * factors).sum(2) + torch.from_numpy(model.biases)[items]

    means = []
    for many in (1, 2, 8):
        batches = triples.batches(
            256, np.random.default_rng(0), candidates=Uniform(triples, many), scores=scores
        )
        found = [scores(b.users, b.other[:, None]).mean() for b in batches]
        means.append(float(np.mean(found)))
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize("spec", [small(), LightGcn(size=4, epochs=2, batch_size=200)])
def test_pair_scores_are_those_that_the_model_ranks_by(spec: Any) -> None:
    log = taste_log(users=30, items=20, events=6)
    model = spec.fit(log, RUN)
    users, items = torch.tensor([0, 4, 7]), torch.tensor([[1, 2], [3, 0], [19, 5]])
    found = _network_of(spec, model, log).pair_scores(users, items)
    scores = model.score(log.histories().take(users.numpy()), whole(log.items))
    expected = np.take_along_axis(scores, items.numpy(), axis=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert not found.requires_grad


def _network_of(spec: Any, model: Any, log: Dataset) -> Any:
    tensors = {name: torch.from_numpy(a) for name, a in model.arrays().items() if name != "known"}
    if spec.kind == "bpr-mf":
        return BprNetwork(tensors["users"], tensors["factors"], tensors["biases"], penalty=0.0)
    return GraphNetwork(
        tensors["first_users"], tensors["first_items"], normalised(log), layers=spec.layers,
        penalty=0.0,
    )  # fmt: skip


# Training


def test_uniform_is_the_training_that_it_was() -> None:
    """S2-08: the same bits as an epoch without any sampler, batch by batch."""
    triples = Triples(taste_log())
    for seed in range(3):
        plain = triples.batches(64, np.random.default_rng(seed))
        named = triples.batches(
            64, np.random.default_rng(seed), candidates=UniformNegatives().sampler(triples, RUN)
        )
        for one, two in zip(plain, named, strict=True):
            assert all(torch.equal(getattr(one, n), getattr(two, n)) for n in vars(one))
    assert BprMf() == BprMf(negatives=UniformNegatives())


def test_the_draws_of_uniform_are_the_reference_ones() -> None:
    """Order, then all other items, then those drawn again: a change of the draws changes every
    model that was ever trained, so the first ones are written here."""
    triples = Triples(owned_log([{0, 1}, {2}, {3, 4, 5}]))
    rng = np.random.default_rng(5)
    order = rng.permutation(6)
    users = triples.events[0][order]
    other = rng.integers(6, size=6)
    owned = [{0, 1}, {2}, {3, 4, 5}]
    while wrong := [n for n in range(6) if int(other[n]) in owned[int(users[n])]]:
        other[wrong] = rng.integers(6, size=len(wrong))
    (batch,) = triples.batches(9, np.random.default_rng(5))
    assert batch.users.tolist() == users.tolist() and batch.other.tolist() == other.tolist()


@pytest.mark.parametrize("negatives", KINDS, ids=lambda k: k.kind)
def test_the_same_seed_gives_the_same_weights(negatives: Negatives) -> None:
    spec = small(negatives=negatives)
    log = taste_log(users=40, items=30, events=6)
    one, two = (spec.fit(log, RUN).arrays() for _ in range(2))
    assert all(np.array_equal(one[n], two[n]) for n in one)
    plain = small().fit(log, RUN).arrays()
    same = all(np.array_equal(one[n], plain[n]) for n in one)
    assert same is (negatives.kind == "uniform-items")


@pytest.mark.parametrize("negatives", KINDS[1:], ids=lambda k: k.kind)
def test_a_killed_training_goes_on_to_the_same_weights(
    negatives: Negatives, tmp_path: Path
) -> None:
    """Hard ones are chosen by weights: those of a checkpoint choose as those of one run."""
    spec, log = small(negatives=negatives), taste_log(users=40, items=30, events=6)
    run = replace(RUN, folder=tmp_path)
    with pytest.raises(Died):
        spec.fit(log, run, objective=Dies(2))
    assert list(tmp_path.glob("*/checkpoint.safetensors"))
    resumed = spec.fit(log, run, objective=Dies(99)).arrays()
    whole_run = spec.fit(log, RUN).arrays()
    assert all(np.array_equal(resumed[n], whole_run[n]) for n in resumed)


@pytest.mark.parametrize("negatives", KINDS, ids=lambda k: k.kind)
def test_a_market_where_everybody_has_everything_is_refused(negatives: Negatives) -> None:
    with pytest.raises(DataError, match="no user lacks an item"):
        small(negatives=negatives).fit(dataset(["a", "b"], [[0, 1], [1, 0]]), RUN)


@pytest.mark.parametrize("negatives", KINDS, ids=lambda k: k.kind)
def test_a_graph_learns_from_them_too(negatives: Negatives) -> None:
    log = taste_log(users=40, items=30, events=6)
    made = LightGcn(size=4, epochs=2, batch_size=200, negatives=negatives).fit(log, RUN)
    assert np.isfinite(made.factors).all() and made.users.shape == (40, 4)


def test_a_generator_that_is_there_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder that holds it: `gan augment` and every pairwise model share one."""
    log, run = taste_log(users=40, items=30, events=6), replace(RUN, folder=tmp_path)
    place = run.seeded(derive(RUN.seed, "generator")).at("generators", f"generator-{RUN.seed}")
    before = GAN.fit(log, place)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("hardrank.generators.loop.generator_step", refuse)
    made: Any = GENERATED.sampler(Triples(log), run)
    assert isinstance(made, Mixed)
    rng = np.random.default_rng(derive(RUN.seed, "negatives", "proposals"))
    same = Proposals.of(Triples(log), before, rng, most=8)
    special: Any = made.special
    assert np.array_equal(special.items, same.items)
    assert digest_bytes(special.offsets.tobytes()) == digest_bytes(same.offsets.tobytes())


# Files


def test_an_unknown_kind_lists_those_there_are() -> None:
    raw = {
        "name": "x", "models": [{"kind": "bpr-mf", "negatives": {"kind": "hardest"}}],
        "data": {"kind": "marketplace", "users": 60, "items": 60, "median_events": 6},
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        parse_augmentation(raw)
    said = str(caught.value)
    assert "unknown kind 'hardest'; did you mean 'hard'?" in said
    assert "allowed: uniform-items, popular, hard, generated" in said


@pytest.mark.parametrize("negatives", KINDS, ids=lambda k: k.kind)
def test_the_config_names_the_kind(negatives: Negatives) -> None:
    """S2-08: what a run keeps of its file says whence negatives came."""
    kept = TypeAdapter(BprMf).dump_python(small(negatives=negatives), mode="json")
    assert kept["negatives"]["kind"] == negatives.kind
    assert TypeAdapter(BprMf).validate_python(kept) == small(negatives=negatives)
