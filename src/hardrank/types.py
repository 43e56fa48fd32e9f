"""Units, ids and the `@spec` decorator.

Shape letters used in docstrings everywhere:

Q queries, I items, U users, L history length, T tokens or words, D vector size,
K list length, N samples, S seeds, C classes, B batch.
"""

from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as _pydantic_dataclass

__all__ = [
    "Count",
    "Floats",
    "GoalKind",
    "Index",
    "Ints",
    "Knowledge",
    "LogKnowledge",
    "Natural",
    "NonNegative",
    "Positive",
    "RankingLoss",
    "Ranks",
    "Scores",
    "Share",
    "Site",
    "Surface",
    "spec",
]

Ints = NDArray[np.int64]
"""Row numbers: of items in `Dataset.items`, of users in `Dataset.users`."""
Floats = NDArray[np.float32]
Scores = NDArray[np.float32]
"""(Q, I), higher is better."""
Ranks = NDArray[np.int64]
"""(Q, K), item rows, best first."""
Index = int

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Dropout = Annotated[float, Ge(0), Lt(1)]
Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]

Knowledge = Literal["ranks", "scores", "gradients"]
"""What an attacker sees, from least to most."""
LogKnowledge = Literal["catalogue", "statistics", "log"]
"""What an attacker who writes fake profiles knows of the training log, from least to most."""
Surface = Literal[
    "item-text", "query-text", "history", "profiles", "reviews", "features", "representation"
]
"""Where an attacker can write."""
GoalKind = Literal["promote", "demote", "degrade", "flip"]
Site = Literal[
    "token-embeddings",
    "item-vectors",
    "history-vectors",
    "text-vectors",
    "user-vectors",
    "hidden-states",
]
"""Where in a differentiable victim a bounded perturbation is added. `hidden-states`: what
enters the lowest encoder layer that learns; in training only."""

RankingLoss = Literal["exposure", "margin", "rank", "listwise"]
"""What an attacker with gradients climbs; see `hardrank.recommender.Differentiable.surface`."""

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def spec(cls: type[T]) -> type[T]:
    """A frozen, keyword-only, validated bag of hyperparameters: what TOML can spell.

    Unknown keys are refused, values are checked at construction, equal specs are equal.
    Raises `pydantic.ValidationError` when a value is out of range.
    """
    config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_default=True)
    made: Any = _pydantic_dataclass(cls, frozen=True, kw_only=True, config=config)
    for name, field in made.__pydantic_fields__.items():  # pydantic drops those of inherited ones
        above = (getattr(base, "__pydantic_fields__", {}).get(name) for base in made.__mro__[1:])
        said = next((f.description for f in above if f and f.description), None)
        field.description = field.description or said
    return made  # type: ignore[no-any-return]
