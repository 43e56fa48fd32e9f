"""Re-weighting: users and items that are trusted less teach the model less."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from hardrank.data.trust import read_trust, trust_rows
from hardrank.errors import Unsupported
from hardrank.files import digest_bytes, digest_file
from hardrank.hardening.requires import require_predictions
from hardrank.hardening.rows import mean_of_rows
from hardrank.training.objective import Predictions, Step, TrainableNetwork
from hardrank.types import Floats, Share, spec

__all__ = ["Reweighted"]

Trust = Path | dict[str, Share]


@spec
class Reweighted:
    """Mean over rows of w_user * w_item * cross-entropy, with given weights in [0, 1].

    The re-weighting of LoRec (Zhang et al., SIGIR 2024, arXiv:2401.17723) for any detector:
    a user who is a fraudster with probability p can be given the weight 1 - p (see
    `data.trust.trust_of`). A row of weight 0 has no gradient. The mean is over all rows, as
    there: a trusted row counts as much as it would alone. Histories are read whole; weights
    concern what is learned from them.
    """

    kind: Literal["reweighted"] = "reweighted"
    users: Trust | None = None
    """user_id -> weight, or a file of it (.parquet, .csv, .json; see `data.trust`). Users
    that it does not name weigh 1."""
    items: Trust | None = None
    """The same by item_id, for rows in which the item is the right answer."""

    @model_validator(mode="after")
    def _weighs_something(self) -> "Reweighted":
        if self.users is None and self.items is None:
            raise ValueError("give weights of users or of items; without, train plainly")
        return self

    def __repr__(self) -> str:
        """With digests of the files: what a kept model is told apart by."""
        return f"Reweighted(users={_told(self.users)}, items={_told(self.items)})"

    def bound(self, *, users: Sequence[str], items: Sequence[str]) -> "_Bound":
        """With weights by row. Reads the files; raises `DataError` as `data.trust` does."""
        return _Bound(
            users=_weights(self.users, users, "user"), items=_weights(self.items, items, "item")
        )

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported`: a model that knows users and items binds it to them first."""
        require_predictions(network, self.kind)
        raise Unsupported(
            f"'{self.kind}' needs to know whose rows it weighs, and this model does not say; "
            "use a sequence model, or drop rows before training (`data.filtering`)"
        )

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`. Raises `Unsupported`: weights have no rows before `bound`."""
        raise Unsupported(f"'{self.kind}' weighs nothing before it is bound to a dataset")


@dataclass(frozen=True, eq=False)
class _Bound:
    users: Tensor | None
    """(U,)"""
    items: Tensor | None
    """(I,), items with training events."""
    kind: str = "reweighted"

    def __repr__(self) -> str:
        """By value: what a checkpoint is told apart by."""
        marks = (
            "none" if t is None else digest_bytes(t.numpy().tobytes())[:16]
            for t in (self.users, self.items)
        )
        return f"Reweighted({', '.join(marks)})"

    def check(self, network: TrainableNetwork) -> None:
        require_predictions(network, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`. Raises `Unsupported` where rows come without what is weighed."""
        if self.users is None and self.items is None:
            return network.loss(batch)

        def rule(said: Predictions, losses: Tensor) -> Tensor:
            by_user = self._of(self.users, said.users, losses, "user")
            return losses * by_user * self._of(self.items, said.items, losses, "item")

        return mean_of_rows(network, batch, rule)

    def _of(self, table: Tensor | None, rows: Tensor | None, like: Tensor, what: str) -> Tensor:
        """(N,); a row of nobody in particular (-1) weighs 1."""
        if table is None:
            return torch.ones_like(like)
        if rows is None:
            raise Unsupported(
                f"'{self.kind}': this model does not say which {what} a row is of; "
                "use a sequence model, or drop rows before training (`data.filtering`)"
            )
        weights = table.to(like)[rows.clamp_min(0)]
        return torch.where(rows >= 0, weights, 1.0)


def _told(trust: Trust | None) -> str:
    if isinstance(trust, Path):
        return f"{trust} {digest_file(trust) if trust.is_file() else 'missing'}"
    return repr(trust)


def _weights(trust: Trust | None, ids: Sequence[str], what: str) -> Tensor | None:
    """None where all weigh 1."""
    if trust is None:
        return None
    given = read_trust(trust, what=what) if isinstance(trust, Path) else trust
    rows: Floats = trust_rows(given, ids, what=what)
    return None if np.all(rows == 1) else torch.from_numpy(rows)
