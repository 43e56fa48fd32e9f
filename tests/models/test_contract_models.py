"""Every member of the registry keeps the contract of recommenders, and the network behind the
sequence models that of what objectives train."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from hardrank.data import Dataset
from hardrank.hardening import Adversarial
from hardrank.models import (
    MODELS,
    Blend,
    BprMf,
    Ease,
    Hybrid,
    ItemKnn,
    KnnTfidf,
    LightGcn,
    Popularity,
    RatingMf,
    Sasrec,
    Smoothed,
    TextSequence,
    Tfidf,
    Trusted,
    Wmf,
)
from hardrank.models.sequence.batches import SequenceBatch
from hardrank.models.sequence.network import ItemTower, SequenceNetwork
from hardrank.models.sequence.transformer import CausalTransformer
from hardrank.perturbations import FGM
from hardrank.testing import RecommenderContract
from hardrank.testing.logs import taste_log
from hardrank.testing.objectives import ObjectiveContract
from hardrank.training import Plain, Training
from hardrank.types import Site

TRAINING = Training(epochs=2, batch_size=32, patience=0)
SMALL: dict[str, Any] = {"size": 8, "length": 6, "training": TRAINING}
TEXT: dict[str, Any] = {**SMALL, "whiten": 8, "max_tokens": 16}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class TestPopularity(RecommenderContract):
    spec = Popularity()
    tolerance = 0.0


class TestItemKnn(RecommenderContract):
    spec = ItemKnn()
    tolerance = 0.0


class TestTfidf(RecommenderContract):
    spec = Tfidf()
    tolerance = 0.0


class TestKnnTfidf(RecommenderContract):
    spec = KnnTfidf()
    tolerance = 0.0


class TestBprMf(RecommenderContract):
    spec = BprMf(size=8, epochs=2, batch_size=32)


class TestLightGcn(RecommenderContract):
    spec = LightGcn(size=8, epochs=2, batch_size=32)


class TestEase(RecommenderContract):
    spec = Ease()
    tolerance = 0.0


class TestWmf(RecommenderContract):
    spec = Wmf(factors=8, sweeps=3)
    tolerance = 0.0


class TestRatingMf(RecommenderContract):
    spec = RatingMf(factors=4, sweeps=3)
    tolerance = 0.0

    def train(self) -> Dataset:
        return taste_log(users=40, items=24, events=6)


class TestSasrec(RecommenderContract):
    spec = Sasrec(**SMALL)


class TestSampledSasrec(RecommenderContract):
    spec = Sasrec(**SMALL, negatives=5)


class TestTextSequence(RecommenderContract):
    spec = TextSequence(**TEXT)


class TestHybrid(RecommenderContract):
    spec = Hybrid(**TEXT)


class TestBlend(RecommenderContract):
    spec = Blend(first=Sasrec(**SMALL), second=Tfidf(), weight=0.5)


class TestSmoothed(RecommenderContract):
    spec = Smoothed(base=Hybrid(**TEXT), keep=0.6, masks=5, place=6)


class TestTrusted(RecommenderContract):
    spec = Trusted(base=Tfidf(), column="item_id", trust={"d": 0.0, "e": 0.4}, otherwise=0.9)


def test_every_member_of_the_registry_is_here() -> None:
    here = {
        type(made.spec)
        for name, made in globals().items()
        if name.startswith("Test") and issubclass(made, RecommenderContract)
    }
    assert here == set(MODELS)


@pytest.mark.parametrize("site", ["item-vectors", "history-vectors"])
@pytest.mark.parametrize("ids", [True, False], ids=["ids", "text"])
class TestSequenceNetwork(ObjectiveContract):
    """Without dropout and a second head, whose draws are the model's own business."""

    heads = id_dropout = 0.0

    @pytest.fixture(autouse=True)
    def _choose(self, site: Site, ids: bool) -> None:
        self.ids = ids
        self.objective = Adversarial(inner=FGM(), radius=0.1, site=site)
        self.zero = Adversarial(inner=FGM(), radius=0.1, site=site, weight=0.0)

    def network(self) -> SequenceNetwork:
        torch.manual_seed(0)
        made = SequenceNetwork(
            tower=ItemTower(items=9, size=8, text_size=5, ids=self.ids, dropout=0.0, scale=0.5),
            transformer=CausalTransformer(size=8, layers=1, heads=2, length=4, dropout=0.0),
            text_weight=self.heads,
            id_dropout=self.id_dropout,
        )
        made.texts = torch.randn(9, 5)
        return made

    def batch(self) -> SequenceBatch:
        real = torch.tensor([[True, True, True], [True, False, False]])
        inputs = torch.tensor([[1, 2, 8], [4, 0, 0]])
        return SequenceBatch(inputs, torch.tensor([2, 8, 3, 7]), real)


class TestTwoHeads(TestSequenceNetwork):
    """The network itself draws here: the objective leaves exactly what the plain loss leaves,
    so that both arms see the same numbers ever after."""

    heads, id_dropout = 0.5, 0.3

    def test_leaves_everything_as_it_was(self) -> None:
        for training in (True, False):
            after = []
            for objective in (Plain(), self.objective, self.zero):
                network = self.network().train(training)
                torch.manual_seed(1)
                objective(network, self.batch(), self.step())
                assert network.training == training
                after.append(torch.get_rng_state())
            assert torch.equal(after[0], after[1]) and torch.equal(after[0], after[2])

    def _graded(self, objective: Any) -> list[Tensor]:
        torch.manual_seed(1)
        return super()._graded(objective)
