"""What an objective costs and needs, found by trying it on a network of eighteen numbers."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hardrank.errors import Unsupported
from hardrank.hardening import Adversarial, Discrete, Forged, Part, Recognition, TextAugmentation
from hardrank.perturbations import FGM, PGD
from hardrank.training.objective import Predictions, Step
from hardrank.types import Site

__all__ = ["Passes", "needs_rows", "passes"]


@dataclass(frozen=True)
class Passes:
    """Of one call of an objective."""

    forward: int
    backward: int
    """Forward passes that are gone back through; one that is gone through twice counts twice."""

    @property
    def factor(self) -> float:
        """Work as a multiple of plain training's one and one, a backward pass being two."""
        return (self.forward + 2 * self.backward) / 3


def passes(made: Any, *, steps: int) -> Passes:
    """made: an objective's class. steps: of its search, where it has one; 1 is `fgm`."""
    objective = _bound(_smallest(made, steps))
    network = _Counted()
    draws = torch.Generator().manual_seed(0)
    value = objective(network, _Batch(), Step(epoch=0, number=0, progress=0.9, generator=draws))
    value.backward()
    return Passes(network.forwards, network.backwards)


def needs_rows(made: Any) -> bool:
    """Whether it is refused on a model that scores pairs only."""
    objective = _bound(_smallest(made, 1))
    check = getattr(objective, "check", lambda network: None)
    try:
        check(_Pairs())
    except Unsupported:
        return True
    return False


class _Batch:
    """Three rows."""

    def __init__(self) -> None:
        self.users = torch.tensor([0, 1, 2])
        self.targets = torch.tensor([0, 2, 5])


class _Pairs(nn.Module):
    """Three users, six items, every site that an objective is tried at."""

    sites: tuple[Site, ...] = ("item-vectors", "user-vectors", "text-vectors")

    def __init__(self) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(0)
        self.users = nn.Parameter(torch.randn(3, 2, generator=draws))
        self.items = nn.Parameter(torch.randn(6, 2, generator=draws))
        self.drop = nn.Dropout(0.5)  # what `r-drop` compares two draws of
        self.encoded = self.texts = torch.zeros(6, 2)
        self.attacked = _Pool()
        self.forwards = self.backwards = 0

    def loss(self, batch: _Batch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        return F.cross_entropy(self.logits(batch, deltas), batch.targets)

    def loss_beside(self, batch: _Batch, rows: Tensor, added: float) -> Tensor:
        return self.loss(batch)

    def suspicion(self, texts: Tensor) -> Tensor:
        return texts @ self.items[0]

    def user_losses(self, batch: _Batch) -> Tensor:
        return F.cross_entropy(self.logits(batch), batch.targets, reduction="none").detach()

    def logits(self, batch: _Batch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        moved = deltas or {}
        users = self.users + moved.get("user-vectors", 0.0)
        items = self.items + moved.get("item-vectors", 0.0) + moved.get("text-vectors", 0.0)
        logits: Tensor = users[batch.users] @ items.T
        self.forwards += 1
        if logits.requires_grad:
            logits.register_hook(self._went_back)  # type: ignore[no-untyped-call]
        return logits

    def clean(self, site: Site, batch: _Batch) -> Tensor:
        return (self.users if site == "user-vectors" else self.items).detach()

    def writable(self, site: Site, batch: _Batch) -> Tensor | None:
        return None

    def _went_back(self, _: Tensor) -> None:
        self.backwards += 1


class _Counted(_Pairs):
    """The same with rows of logits."""

    def predictions(
        self, batch: _Batch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        logits = self.logits(batch, deltas)
        return Predictions(
            logits=logits, labels=batch.targets, users=batch.users, items=batch.targets
        )


class _Pool(SimpleNamespace):
    def __init__(self) -> None:
        super().__init__(
            owners=torch.tensor([0, 1]), encoded=torch.ones(2, 2), texts=torch.ones(2, 2)
        )

    def __len__(self) -> int:
        return len(self.owners)


def _smallest(made: Any, steps: int) -> Any:
    """With a search of so many steps, at item vectors where there is a choice."""
    inner = FGM() if steps == 1 else PGD(steps=steps)
    attack = Adversarial(inner=inner, radius=0.1)
    wanted: dict[str, Any] = {
        "inner": inner,
        "radius": 0.1,
        "steps": steps,
        "iterations": steps,
        "parts": (Part(share=1.0, objective=attack),),
        "users": {"b": 0.5},
    }
    has = {f.name: f for f in fields(made)}
    given = {name: value for name, value in wanted.items() if name in has}
    if "site" in has and (has["site"].default is MISSING or "token" in str(has["site"].default)):
        given["site"] = "item-vectors"
    return made(**given)


def _bound(objective: Any) -> Any:
    """To the users and items there are, and to attacks where it needs some."""
    if isinstance(objective, Discrete | Recognition | TextAugmentation):
        return Forged(replace(objective, per_step=2), _write_nothing)  # type: ignore[arg-type]
    if hasattr(objective, "bound"):
        return objective.bound(users=("a", "b", "c"), items=tuple("defghi"))
    return objective


def _write_nothing(model: Any, epoch: int) -> tuple[()]:
    return ()
