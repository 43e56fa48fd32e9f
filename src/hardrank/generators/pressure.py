"""The recommender's term of the generator's loss: who is attacked, and how that is felt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hardrank.errors import DataError
from hardrank.types import Count, Ints, NonNegative

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Pressure", "Promotes", "Promotion", "check_pressure"]


class Promotes(Protocol):
    """What a surrogate recommender has to offer here."""

    def promotion(self, selection: "Tensor", targets: "Tensor") -> "Tensor":
        """A scalar, low where fake users with `selection` (P, I) in [0, 1] bring the targets
        up; differentiable in `selection`."""
        ...


class Pressure(Protocol):
    """An adversarial aim. What it says of itself (`label`) decides whether a checkpoint fits."""

    @property
    def label(self) -> str: ...

    @property
    def beta(self) -> NonNegative:
        """Weight of the term: the length of its gradient as a share of that of all other terms,
        so that it means the same for every recommender. The larger, the stronger the attack
        and the less real the profiles; with 0 the generator learns as without a pressure."""
        ...

    @property
    def targets(self) -> Ints:
        """(T,) item rows that every profile holds and the generator never draws."""
        ...

    @property
    def profiles(self) -> Count:
        """P, how many are judged together."""
        ...

    @property
    def length(self) -> Count:
        """Items of a profile, targets included."""
        ...

    def loss(self, selection: "Tensor") -> "Tensor":
        """A scalar to minimise. selection: (P, I), targets included."""
        ...

    def update(self, selection: "Tensor") -> float:
        """Step five of a round: let the recommender learn from what is drawn now, (P, I).
        Gives how far it moved, in a unit of its own; 0 for one that stays as it is."""
        ...

    def state(self) -> "dict[str, Tensor]":
        """What `update` changes, for the checkpoint."""
        ...

    def load(self, state: "Mapping[str, Tensor]") -> None:
        """The inverse of `state`."""
        ...


@dataclass(eq=False, kw_only=True)
class Promotion:
    """Bring targets up in a surrogate recommender, which learns along if it can."""

    surrogate: Promotes
    """As it was fitted on the clean log."""
    targets: Ints
    profiles: int
    length: int
    beta: NonNegative = 1.0
    adapt: bool = True
    """Whether the surrogate is trained on with each round's profiles, if it knows how
    (`adapted`); always from the clean one on."""
    selection: "Tensor | None" = None
    """What the surrogate last adapted to."""
    current: Promotes | None = None
    """None for the clean one."""

    @property
    def label(self) -> str:
        size = f"{self.profiles} x {self.length}"
        return f"{self.beta} * promote {self.targets.tolist()} by {size}, {self.adapt}"

    def loss(self, selection: "Tensor") -> "Tensor":
        import torch

        return (self.current or self.surrogate).promotion(selection, torch.as_tensor(self.targets))

    def update(self, selection: "Tensor") -> float:
        """Gives by how much the loss of these profiles changed."""
        import torch

        if not self.adapt or not hasattr(self.surrogate, "adapted"):
            return 0.0
        with torch.no_grad():
            before = float(self.loss(selection))
            self.selection = selection
            self.current = self.surrogate.adapted(selection)
            return abs(float(self.loss(selection)) - before)

    def state(self) -> "dict[str, Tensor]":
        return {} if self.selection is None else {"selection": self.selection}

    def load(self, state: "Mapping[str, Tensor]") -> None:
        import torch

        self.selection = state.get("selection")
        if self.selection is not None and hasattr(self.surrogate, "adapted"):
            with torch.no_grad():
                self.current = self.surrogate.adapted(self.selection)


def check_pressure(pressure: Pressure | None, n_items: int) -> None:
    """Raises `DataError` for profiles longer than the catalogue."""
    if pressure is not None and pressure.length > n_items:
        raise DataError(f"profiles of {pressure.length} items from a catalogue of {n_items}")
