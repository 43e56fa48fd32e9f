"""Toy worlds with planted answers, and the contracts that every part has to pass.

Subclass a contract in a test file and run pytest: that is all a third party needs to know
whether an attack, a model or a reader will work here. `hardrank.testing.objectives` holds
the contract of training objectives apart, because it needs torch.
"""

from hardrank.testing.attacks import AttackContract, overlap
from hardrank.testing.profiles import ProfileAttackContract
from hardrank.testing.readers import ReaderContract
from hardrank.testing.recommenders import RecommenderContract, toy_market
from hardrank.testing.worlds import (
    WordTaste,
    WordTasteModel,
    World,
    dataset,
    odd_world,
    planted_world,
    random_world,
)

__all__ = [
    "AttackContract",
    "ProfileAttackContract",
    "ReaderContract",
    "RecommenderContract",
    "WordTaste",
    "WordTasteModel",
    "World",
    "dataset",
    "odd_world",
    "overlap",
    "planted_world",
    "random_world",
    "toy_market",
]
