"""The training loop of the variational generator, top to bottom.

A round is `every` steps. Its row, as a hook gets it: `step`, the means of `loss_likelihood`
(nats a profile), `loss_kl` (nats a profile), `weight_kl`, `loss_attack` and `gradient_generator`
over the round, and how its last draws look beside the real profiles. All randomness of a step
follows from (seed, step), so a run that was killed and started again in the same folder ends
with the same weights to the last bit.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.errors import DataError, Diverged
from hardrank.files import digest_bytes, write_text
from hardrank.generators.bags import Bags, trainable
from hardrank.generators.drawing import dense
from hardrank.generators.draws import gumbel, top_k
from hardrank.generators.health import Monitor, looks
from hardrank.generators.interest_autoencoder import Autoencoder, InterestAutoencoder, network
from hardrank.generators.interest_gan import Hook
from hardrank.generators.interest_vae import InterestVae
from hardrank.generators.pressure import Pressure, check_pressure
from hardrank.generators.state import kept
from hardrank.generators.steps import combined, gradients, pressed, stepped
from hardrank.training.average import Average
from hardrank.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from hardrank.types import Floats

__all__ = ["fit", "losses"]

_log = logging.getLogger("hardrank")
_SHOWN = 64
"""Real profiles that the draws of a round are compared with."""


@dataclass(eq=False, kw_only=True)
class _State:
    network: Autoencoder
    optimiser: torch.optim.Optimizer
    average: Average
    progress: Progress = field(default_factory=Progress)
    monitor: Monitor = field(default_factory=lambda: Monitor(game="vae"))

    def resume(self, path: Path, mark: str, pressure: Pressure | None) -> None:
        """The monitor has seen what the history tells."""
        found = load_checkpoint(path, mark, self.network, self.optimiser, self.average.means)
        if found is not None:
            recommender, self.progress = found
            if pressure is not None:
                pressure.load(recommender)
            for row in self.progress.history:
                self.monitor.check(row)

    def weights(self) -> dict[str, Tensor]:
        """Copies of the parameters as they would be the result now."""
        chosen = self.average.means or dict(self.network.named_parameters())
        return {k: p.detach().clone() for k, p in chosen.items()}


def fit(
    spec: InterestVae, train: Dataset, run: RunContext, *, pressure: Pressure | None = None,
    start: InterestAutoencoder | None = None, hook: Hook | None = None,
) -> InterestAutoencoder:  # fmt: skip
    """See `InterestVae.fit`."""
    bags = trainable(train)
    check_pressure(pressure, train.n_items)
    state = _state(spec, train, run.seed, start)
    path = run.folder / "checkpoint.safetensors" if run.folder else None
    mark = digest_bytes(
        repr(spec).encode(), str(run.seed).encode(), train.fingerprint.encode(),
        (pressure.label if pressure else "").encode(),
        (start.fingerprint if start else "").encode(),
    )  # fmt: skip
    if path:
        state.resume(path, mark, pressure)
    good = state.weights() if start is not None or state.progress.steps else None
    try:
        for weights in _rounds(spec, bags, state, run, path, mark, pressure, hook):
            good = weights
    except Diverged as error:
        if spec.alarms == "raise" or good is None:
            raise
        return _result(spec, state, bags, good, (f"{error}; training ended there",))
    return _result(spec, state, bags, state.weights(), ())


def _rounds(
    spec: InterestVae, bags: Bags, state: _State, run: RunContext, path: Path | None, mark: str,
    pressure: Pressure | None, hook: Hook | None,
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    """All rounds to come; gives the weights after each that has no symptom."""
    todo = range(state.progress.steps, spec.steps)
    before, begun, said_of = _parameters(state), time.monotonic(), list[dict[str, float]]()
    for step in run.track(todo, spec.kind, len(todo)):
        said = _step(spec, bags, state, run.seed, step, pressure)
        _require_finite(said, step + 1, path, state)
        state.average.update(step + 1)
        state.progress.steps = step + 1
        said_of.append(said)
        if (step + 1) % spec.every and step + 1 < spec.steps:
            continue
        row = {k: float(np.mean([s[k] for s in said_of])) for k in said}
        moved = [p - b for p, b in zip(_parameters(state), before, strict=True)]
        row |= _looks(spec, bags, state, run.seed)
        row |= {"step": step + 1, "seconds": round(time.monotonic() - begun, 4)}
        row["change_generator"] = float(torch.nn.utils.get_total_norm(moved))
        row["change_recommender"] = _learn_along(spec, bags, state, run.seed, pressure)
        state.progress.history.append(row)
        _log.debug("%s, step %d: %s", spec.kind, step + 1, row)
        if hook is not None:
            hook(row)
        for alarm in state.monitor.check(row):
            raise Diverged(f"{spec.kind}, step {step + 1}: {alarm.says}; {kept(path)}")
        if state.monitor.well:
            yield state.weights()
            if path:
                # there are no best weights; their place holds what the recommender learned
                recommender = {} if pressure is None else pressure.state()
                save_checkpoint(path, mark, state.network, state.optimiser, recommender,
                                state.average.means, state.progress)  # fmt: skip
        if run.folder:
            lines = (json.dumps(entry) + "\n" for entry in state.progress.history)
            write_text(run.folder / "rounds.jsonl", "".join(lines))
        before, said_of, begun = _parameters(state), [], time.monotonic()


def losses(
    made: Autoencoder, sets: Tensor, noise: Tensor, left: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B,) minus log-likelihood of all items of each set, and (B,) KL of its code, in nats.

    left: (B, I) what the encoder sees of the sets; None for all. KL(N(m, s^2) || N(0, 1)) =
    (m^2 + s^2 - 1 - log s^2) / 2, summed over the numbers of z.
    """
    mean, spread = made.encode(sets if left is None else left)
    logits = made.decode(mean + torch.exp(spread / 2) * noise)
    likelihood = -(logits.log_softmax(1) * sets).sum(1)
    divergence = (mean.square() + spread.exp() - 1 - spread).sum(1) / 2
    return likelihood, divergence


def _step(
    spec: InterestVae, bags: Bags, state: _State, seed: int, step: int, pressure: Pressure | None
) -> dict[str, float]:
    sets, draws = _batch(spec, bags, seed, "step", step)
    seen = (torch.rand(sets.shape, generator=draws) >= spec.dropout) * sets
    noise = torch.randn((len(sets), spec.noise), generator=draws)
    likelihood, divergence = losses(state.network, sets, noise, seen)
    weight = spec.kl * min((step + 1) / spec.anneal, 1.0) if spec.anneal else spec.kl
    scale = len(bags.items) / len(bags)  # of one profile: the gradient of an item, not of all
    loss = (likelihood + weight * divergence).mean() / scale
    parameters = list(state.network.parameters())
    grads = gradients(loss, parameters)
    said = {
        "loss_generator": float(loss.detach()), "weight_kl": weight,
        "loss_likelihood": float(likelihood.detach().mean()),
        "loss_kl": float(divergence.detach().mean()),
    }  # fmt: skip
    if pressure is not None and pressure.beta:
        attack = pressure.loss(pressed(state.network, sets, spec, draws, pressure))
        pull = gradients(attack, parameters)
        grads, said["weight_attack"] = combined(grads, pull, pressure.beta)
        said["loss_attack"] = float(attack.detach())
    said["gradient_generator"] = stepped(state.optimiser, parameters, grads)
    return said


def _batch(
    spec: InterestVae, bags: Bags, seed: int, what: str, step: int
) -> tuple[Tensor, torch.Generator]:
    """Whole profiles (B, I), and where all else that is drawn comes from."""
    rng = np.random.default_rng(derive(seed, spec.kind, what, "batch", step))
    rows = rng.choice(len(bags), size=min(spec.batch_size, len(bags)), replace=False)
    draws = torch.Generator().manual_seed(derive(seed, spec.kind, what, "draws", step))
    return dense(bags, rows), draws


@torch.no_grad()
def _looks(spec: InterestVae, bags: Bags, state: _State, seed: int) -> dict[str, float]:
    """Free draws for the users of a batch of their own, beside the users themselves."""
    sets, draws = _batch(spec, bags, seed, "look", state.progress.steps)
    sets = sets[:_SHOWN]
    logits = state.network(sets, torch.randn((len(sets), spec.noise), generator=draws))
    drawn = top_k(logits + gumbel(tuple(logits.shape), draws), sets.sum(1).long(), 1.0)
    chances = logits.softmax(1)
    known: Floats = np.log1p(np.bincount(bags.items, minlength=bags.n_items)).astype(np.float32)
    return looks(drawn.numpy() > 0.5, sets.numpy() > 0.5, known) | {
        "spread": float((chances - chances.roll(1, 0)).abs().sum(1).mean() / 2)
    }


def _learn_along(
    spec: InterestVae, bags: Bags, state: _State, seed: int, pressure: Pressure | None
) -> float:
    """How far the attacked recommender moved by what is drawn now."""
    if pressure is None or not pressure.beta:
        return 0.0
    with torch.no_grad():
        sets, draws = _batch(spec, bags, seed, "recommender", state.progress.steps)
        return pressure.update(pressed(state.network, sets, spec, draws, pressure))


def _state(
    spec: InterestVae, train: Dataset, seed: int, start: InterestAutoencoder | None
) -> _State:
    made = network(spec, train.n_items, derive(seed, spec.kind, "weights"))
    with torch.no_grad():
        made.says.bias.copy_(torch.log(torch.as_tensor(train.counts, dtype=torch.float32) + 0.1))
    if start is not None:
        try:
            made.load_state_dict(start.network.state_dict())
        except RuntimeError as error:
            raise DataError(
                "the generator to start from has other dimensions",
                remedy="use its own noise and width, and its log",
            ) from error
    return _State(
        network=made, optimiser=torch.optim.Adam(made.parameters(), lr=spec.learning_rate),
        average=Average(dict(made.named_parameters()), spec.average),
    )  # fmt: skip


def _parameters(state: _State) -> list[Tensor]:
    return [p.detach().clone() for p in state.network.parameters()]


def _require_finite(said: Mapping[str, float], step: int, path: Path | None, state: _State) -> None:
    wrong = [name for name, value in said.items() if not np.isfinite(value)]
    if not all(bool(p.isfinite().all()) for p in state.network.parameters()):
        wrong.append("a weight")
    if wrong:
        raise Diverged(
            f"interest-vae, step {step}: {wrong[0]} is not finite; {kept(path)}; "
            "lower learning_rate or beta"
        )


def _result(
    spec: InterestVae, state: _State, bags: Bags, chosen: Mapping[str, Tensor],
    warnings: Sequence[str],
) -> InterestAutoencoder:  # fmt: skip
    with torch.no_grad():
        for name, parameter in state.network.named_parameters():
            parameter.copy_(chosen[name])
    state.network.eval()
    return InterestAutoencoder(
        spec=spec, network=state.network, lengths=np.sort(bags.lengths),
        history=tuple(state.progress.history), warnings=tuple(warnings),
    )  # fmt: skip
