"""The contract of training objectives. Needs torch, so it is imported by its full name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from hardrank.training.objective import Plain, Predictions, Step
from hardrank.types import Site

__all__ = ["ObjectiveContract", "TinyBatch", "TinyNetwork"]


@dataclass(frozen=True)
class TinyBatch:
    queries: Tensor
    """(B, D)."""
    targets: Tensor
    """(B,) item rows."""


class TinyNetwork(nn.Module):
    """Softmax cross-entropy over 6 item vectors of size 4: convex, smooth, all by hand."""

    sites: tuple[Site, ...] = ("item-vectors",)

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(torch.randn(6, 4, generator=generator))
        self.register_buffer("calls", torch.zeros(()))

    def loss(self, batch: TinyBatch, deltas: Mapping[Site, Tensor] | None = None) -> Tensor:
        said = self.predictions(batch, deltas)
        return nn.functional.cross_entropy(said.logits, said.labels)

    def predictions(
        self, batch: TinyBatch, deltas: Mapping[Site, Tensor] | None = None
    ) -> Predictions:
        vectors = self.vectors + (deltas or {}).get("item-vectors", 0.0)
        return Predictions(logits=batch.queries @ vectors.T, labels=batch.targets)

    def clean(self, site: Site, batch: TinyBatch) -> Tensor:
        return self.vectors.detach()

    def writable(self, site: Site, batch: TinyBatch) -> Tensor | None:
        return None


class ObjectiveContract:
    """Subclass it as `class TestMine(ObjectiveContract)` with `objective` and `zero`."""

    objective: ClassVar[Any]
    """The objective at full weight, for the site `item-vectors`."""
    zero: ClassVar[Any] = None
    """The same with the weight of everything it adds at 0; None if it has no such weight."""

    def network(self) -> Any:
        return TinyNetwork()

    def batch(self) -> Any:
        """One that `network` understands."""
        return TinyBatch(torch.eye(4)[:3] * 2, torch.tensor([0, 2, 5]))

    def step(self) -> Step:
        generator = torch.Generator().manual_seed(7)
        return Step(epoch=3, number=2, progress=0.5, generator=generator)

    def test_is_a_finite_scalar_with_gradients(self) -> None:
        network = self.network()
        value = self.objective(network, self.batch(), self.step())
        assert value.shape == () and torch.isfinite(value)
        value.backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())

    def test_weight_zero_is_the_plain_loss(self) -> None:
        """To the last bit, value and gradients."""
        if self.zero is None:
            return
        ours, plain = self._graded(self.zero), self._graded(Plain())
        for name, (mine, theirs) in enumerate(zip(ours, plain, strict=True)):
            assert torch.equal(mine, theirs), f"value or gradient {name} differs"

    def test_leaves_everything_as_it_was(self) -> None:
        """Gradients, parameters, buffers, mode and the global random state."""
        network = self.network()
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 3.0)
        for training in (True, False):
            network.train(training)
            state = {k: v.clone() for k, v in network.state_dict().items()}
            random = torch.get_rng_state()
            self.objective(network, self.batch(), self.step())
            assert network.training == training, "the mode changed"
            assert torch.equal(random, torch.get_rng_state()), "global randomness was drawn"
            for name, value in network.state_dict().items():
                assert torch.equal(value, state[name]), f"'{name}' changed"
            for name, parameter in network.named_parameters():
                assert parameter.requires_grad, f"'{name}' was frozen"
                assert parameter.grad is not None and bool((parameter.grad == 3).all()), name

    def test_same_step_same_value(self) -> None:
        first, second = self._graded(self.objective), self._graded(self.objective)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    def _graded(self, objective: Any) -> list[Tensor]:
        """The value and all gradients."""
        network = self.network()
        value = objective(network, self.batch(), self.step())
        value.backward()
        grads = [p.grad for p in network.parameters()]
        return [value.detach(), *(g for g in grads if g is not None)]
