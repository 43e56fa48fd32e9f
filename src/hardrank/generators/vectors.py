"""Amortised perturbations of item vectors: one forward pass in place of K gradient steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as render_arrays
from torch import Tensor

from hardrank.context import RunContext, derive
from hardrank.data import Queries
from hardrank.errors import BundleError, DataError, Diverged
from hardrank.files import atomic
from hardrank.generators.dense import Dense, weights_of
from hardrank.recommender import Differentiable, LossSurface
from hardrank.types import Count, Floats, Ints, Positive, RankingLoss, spec

__all__ = ["AmortisedGenerator", "AmortisedVectors", "distil"]

_INSIDE = 1 - 1e-6
"""Share of the radius that is used: rounding must not carry a point out of the ball."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AmortisedGenerator:
    """A network that turns an item's vector into a perturbation of it.

        delta = radius * g(v / scale) / max(1, ||g(v / scale)||)

    So delta lies in the ball whatever the weights. Which users it aims at is in the weights:
    it serves the victim and the queries that it was trained against.
    """

    network: Dense
    radius: float
    """L2, in the units of the vectors."""
    scale: float
    """Mean L2 norm of the vectors it was trained on."""
    losses: tuple[float, ...] = field(default=())
    """What was maximised (or, of a distilled one, minimised), a value for each step."""

    def __call__(self, vectors: Tensor) -> Tensor:
        """(B, D) clean vectors -> (B, D) perturbations, each of L2 norm at most `radius`.

        Row by row: the same vector gets the same perturbation in any company. Raises
        `DataError` for vectors of another size or that are not finite.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.size:
            raise DataError(f"expected vectors (B, {self.size}), got {tuple(vectors.shape)}")
        if not bool(vectors.isfinite().all()):
            raise DataError("a vector to perturb is not finite", remedy="check the victim")
        with torch.no_grad():
            return _deltas(self.network, vectors, self.radius, self.scale)

    @cached_property
    def size(self) -> int:
        """D"""
        return int(next(self.network.parameters()).shape[1])

    @property
    def weights(self) -> int:
        """How many numbers it has learned."""
        return weights_of(self.network)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything: `from_arrays` gives the same generator, to the last bit."""
        learned = {n: t.detach().cpu().numpy().copy() for n, t in self.network.state_dict().items()}
        extent = {"radius": self.radius, "scale": self.scale}
        return learned | {name: np.asarray([value]) for name, value in extent.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Raises `BundleError` where they are not those of a generator."""
        learned = {n: torch.from_numpy(a.copy()) for n, a in arrays.items() if "layers." in n}
        depth = len(learned) // 2
        try:
            shapes = [learned[f"layers.{n}.weight"].shape for n in range(depth)]
            sizes = [int(shapes[0][1]), *(int(shape[0]) for shape in shapes)]
            network = Dense(sizes, torch.Generator())
            network.load_state_dict(learned)
            radius, scale = (float(arrays[name][0]) for name in ("radius", "scale"))
        except (KeyError, IndexError, RuntimeError) as error:
            raise BundleError(f"these are not the arrays of a vector generator: {error}") from error
        return cls(network=network, radius=radius, scale=scale)

    def save(self, path: Path) -> None:
        """Safetensors, atomic. `losses` are not kept."""
        with atomic(path) as file:
            file.write(render_arrays(self.arrays()))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `BundleError` for a file that is no generator, `OSError` for none."""
        try:
            arrays = parse_arrays(path.read_bytes())
        except SafetensorError as error:
            raise BundleError(f"{path} is not a safetensors file: {error}") from error
        return cls.from_arrays(arrays)


@spec
class AmortisedVectors:
    """Train g to raise a victim's loss over many items at once.

    max_g mean_v loss(v, delta(v)), delta(v) in the L2 ball: the generator of AdvGAN (Xiao et
    al., IJCAI 2018, arXiv:1801.02610, section 3) without its discriminator, as a ball bounds
    what it does, and on the vectors of items in place of images. What an iterative attack
    finds anew for each item the network has learned once.
    """

    kind: Literal["amortised-vectors"] = "amortised-vectors"
    goal: Literal["promote", "demote"] = "promote"
    """What the loss stands for."""
    loss: RankingLoss | None = None
    """What is climbed; None for the first of the goal."""
    width: Count = 256
    """Of each hidden layer."""
    depth: Count = 2
    """Hidden layers."""
    steps: Count = 400
    """Of Adam, each on one batch of items: forward and backward passes through the victim."""
    batch: Count = 256
    """Items of a step. Each batch keeps its surface, so that the victim reads the queries
    once for each."""
    learning_rate: Positive = 2e-3
    """Of Adam, falling to 0 along a half cosine."""

    def fit(
        self, victim: Differentiable, queries: Queries, items: Ints, radius: float, run: RunContext
    ) -> AmortisedGenerator:
        """A generator for items like `items`, before the users of `queries`.

        items: (N,) item rows to train on. radius: above 0, a share of the mean L2 norm of
        their vectors. Raises `DataError` for no items or a radius that is not above 0,
        `Unsupported` for a victim without item vectors, `Diverged` for a loss that is not a
        number.
        """
        if not len(items) or not 0 < radius < math.inf:
            raise DataError(f"expected items and a radius above 0 (is {radius})", field="radius")
        generator = torch.Generator().manual_seed(derive(run.seed, self.kind, "fit"))
        surfaces = self._surfaces(victim, queries, items, generator)
        scale = float(
            np.average([s.scale for s in surfaces], weights=[len(s.like) for s in surfaces])
        )
        size = surfaces[0].like.shape[1]
        network = Dense([size, *[self.width] * self.depth, size], generator)
        losses = self._climb(network, surfaces, radius * scale, scale=scale, run=run)
        return AmortisedGenerator(
            network=network, radius=radius * scale, scale=scale, losses=losses
        )

    def _surfaces(
        self, victim: Differentiable, queries: Queries, items: Ints, generator: torch.Generator
    ) -> list[LossSurface]:
        mixed = np.asarray(items)[torch.randperm(len(items), generator=generator).numpy()]
        parts = np.array_split(mixed, -(-len(mixed) // self.batch))
        return [
            victim.surface("item-vectors", self.goal, queries, part, loss=self.loss)
            for part in parts
        ]

    def _climb(
        self, network: Dense, surfaces: list[LossSurface], radius: float, *, scale: float,
        run: RunContext,
    ) -> tuple[float, ...]:  # fmt: skip
        optimiser, schedule = _adam(network, self.learning_rate, self.steps)
        losses = []
        for step in run.track(range(self.steps), "vector generator", self.steps):
            surface = surfaces[step % len(surfaces)]
            values = surface.loss(_deltas(network, surface.like, radius, scale))
            mean = values[values.isfinite()].mean()  # no row at all: NaN, refused below
            _descend(optimiser, -mean, step)
            schedule.step()
            losses.append(float(mean.detach()))
        return tuple(losses)


def distil(
    generator: AmortisedGenerator, vectors: Floats, *, width: int, depth: int = 1,
    steps: int = 600, learning_rate: float = 3e-3, run: RunContext | None = None,
) -> AmortisedGenerator:  # fmt: skip
    """A smaller generator that gives the perturbations of a larger one, without the victim.

    min mean ||delta_small(v) - delta_large(v)||^2 / radius^2 over the vectors, each moved by
    Gaussian noise of a tenth of their mean norm, so that it follows between them as well
    (Hinton et al., 2015, arXiv:1503.02531, with the output in place of soft labels).

    vectors: (N, D) such as it will meet. width, depth, steps: at least 1. Raises `DataError`
    for no vectors or the wrong shape, `Diverged` for a loss that is not a number.
    """
    known = torch.from_numpy(np.array(vectors, dtype=np.float32))
    if not len(known) or min(width, depth, steps) < 1:
        raise DataError("distilling needs vectors, and width, depth and steps of at least 1")
    seeded = torch.Generator().manual_seed(derive((run or RunContext()).seed, "distil"))
    size, radius, scale = generator.size, generator.radius, generator.scale
    network = Dense([size, *[width] * depth, size], seeded)
    optimiser, schedule = _adam(network, learning_rate, steps)
    losses = []
    for step in range(steps):
        rows = torch.randint(len(known), (min(256, len(known)),), generator=seeded)
        drawn = torch.randn(len(rows), known.shape[1], generator=seeded)
        met = known[rows] + drawn * (0.1 * scale / math.sqrt(known.shape[1]))
        apart = _deltas(network, met, radius, scale) - generator(met)
        loss = apart.square().sum(1).mean() / radius**2
        _descend(optimiser, loss, step)
        schedule.step()
        losses.append(float(loss.detach()))
    return AmortisedGenerator(network=network, radius=radius, scale=scale, losses=tuple(losses))


def _deltas(network: Dense, vectors: Tensor, radius: float, scale: float) -> Tensor:
    raw: Tensor = network(vectors / scale)
    size = torch.linalg.vector_norm(raw, dim=1, keepdim=True)
    inside: Tensor = raw * (radius * _INSIDE / size.clamp_min(1.0))
    return inside


def _adam(
    network: Dense, learning_rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    return optimiser, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> None:
    if not bool(loss.isfinite()):
        raise Diverged(
            f"the loss of the vector generator is {float(loss.detach())} at step {step + 1}; "
            "lower learning_rate or the radius"
        )
    torch.autograd.backward(loss)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
