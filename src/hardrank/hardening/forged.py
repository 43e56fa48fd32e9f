"""An objective on rewritten texts, together with the attacks that write them."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from hardrank.errors import Unsupported
from hardrank.hardening.stopping import Stop
from hardrank.training.forge import Forge
from hardrank.training.objective import Step, TrainableNetwork

__all__ = ["Forged", "Rewriting", "require_forge", "require_pool"]


class Rewriting(Protocol):
    """What `Forged` goes around: a spec that draws from the texts in `network.attacked`."""

    @property
    def kind(self) -> str: ...

    @property
    def stop(self) -> tuple[Stop, ...]: ...

    def require(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network that it cannot train, forge or not."""
        ...

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor: ...


@dataclass(frozen=True)
class Forged:
    """`discrete`, `text-augmentation` or `recognition` with the attacks that write its texts."""

    objective: Rewriting
    forge: Forge

    @property
    def kind(self) -> str:
        return self.objective.kind

    @property
    def stop(self) -> tuple[Stop, ...]:
        return self.objective.stop

    @property
    def recognises(self) -> bool:
        """Whether the network has to have a head that tells attacked texts."""
        return bool(getattr(self.objective, "recognises", False))

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network that reads no texts."""
        self.objective.require(network)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        return self.objective(network, batch, step)


def require_pool(network: TrainableNetwork, kind: str) -> None:
    """Raises `Unsupported` for a network that reads no item texts."""
    if "text-vectors" not in network.sites or not hasattr(network, "loss_beside"):
        raise Unsupported(
            f"'{kind}' trains on rewritten item texts, and this model reads none; "
            "use 'adversarial' or 'apr', or a 'text-sequence' model"
        )


def require_forge(kind: str) -> None:
    """Raises `Unsupported`: the attacks that write the texts come with `Forged`."""
    raise Unsupported(
        f"'{kind}' trains on texts that attacks write: give its arm a [forge] with attacks, "
        "or use 'adversarial', which needs none"
    )
