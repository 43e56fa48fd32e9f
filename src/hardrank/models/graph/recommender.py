"""Graph vectors as they rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.recommender import LossSurface
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Scores, Site

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LightGcnRecommender"]

_SURFACES = (("item-vectors", "promote"), ("item-vectors", "demote"), ("user-vectors", "degrade"))


@dataclass(frozen=True, eq=False, kw_only=True)
class LightGcnRecommender(BprMfRecommender):
    """See `LightGcn`. It ranks as factors do, with `users` and `factors` the vectors after
    propagation over the training graph and all biases 0: a query of a user of that graph is
    answered from the user's own vector, whatever its history says, any other query from the
    mean vector of its history's items. White-box sites are the vectors after propagation."""

    first_users: Floats
    """(U, D) before propagation: what another training can begin from."""
    first_items: Floats
    """(I, D)"""

    def arrays(self) -> dict[str, NDArray[Any]]:
        learned = {name: a for name, a in super().arrays().items() if name != "biases"}
        return {**learned, "first_users": self.first_users, "first_items": self.first_items}

    def surface(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        texts: Sequence[str] = (),
        *,
        loss: RankingLoss | None = None,
    ) -> LossSurface:
        """`promote` and `demote` at `item-vectors`, `degrade` at `user-vectors`."""
        _check(site, goal)
        return super().surface(site, goal, queries, items, texts, loss=loss)

    def perturbed_scores(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, delta: "Tensor"
    ) -> Scores:
        _check(site, goal)
        return super().perturbed_scores(site, goal, queries, items, delta)


def _check(site: Site, goal: GoalKind) -> None:
    if (site, goal) not in _SURFACES:
        raise Unsupported(
            f"light-gcn has no surface for goal '{goal}' at '{site}'; it has 'promote' and "
            "'demote' at 'item-vectors' and 'degrade' at 'user-vectors'"
        )
