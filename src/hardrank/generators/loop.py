"""The training loop of the interest GAN, top to bottom.

A round is `every` steps of the generator. Its five entries, as a hook gets them and as they
stand in `rounds.jsonl`: `prepare` (real users drawn and split), `generate` (what was drawn),
`discriminator`, `generator` (losses and gradients of both) and `recommender` (how far the
attacked recommender moved). All randomness of a step follows from (seed, step), so a run that
was killed and started again in the same folder ends with the same weights to the last bit.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.errors import DataError, Diverged
from hardrank.files import digest_bytes, write_text
from hardrank.generators.bags import Bags, item_vectors, popularity, trainable
from hardrank.generators.drawing import dense
from hardrank.generators.health import looks
from hardrank.generators.interest_gan import Hook, InterestGan
from hardrank.generators.interest_generator import InterestGenerator, columns_of, networks
from hardrank.generators.pressure import Pressure, check_pressure
from hardrank.generators.staleness import Ageing
from hardrank.generators.state import State, kept
from hardrank.generators.steps import (
    Batch,
    Fakes,
    batch_of,
    critic_step,
    fakes_of,
    generator_step,
    pressed,
    step_seed,
)
from hardrank.training.average import Average
from hardrank.types import Floats

__all__ = ["fit"]

_log = logging.getLogger("hardrank")
_CALIBRATED = 512
"""Real profiles that the discriminator's inputs are scaled by."""


def fit(
    spec: InterestGan, train: Dataset, run: RunContext, *, vectors: Floats | None = None,
    pressure: Pressure | None = None, start: InterestGenerator | None = None,
    hook: Hook | None = None,
) -> InterestGenerator:  # fmt: skip
    """See `InterestGan.fit`."""
    bags = trainable(train)
    check_pressure(pressure, train.n_items)
    state = _state(spec, train, bags, run.seed, vectors, start)
    if start is None:
        rows = np.linspace(0, len(bags) - 1, min(_CALIBRATED, len(bags))).astype(np.int64)
        state.critic.calibrate(dense(bags, rows))
    path = run.folder / "checkpoint.safetensors" if run.folder else None
    mark = _fingerprint(spec, train, run.seed, vectors, pressure, start)
    if path:
        state.resume(path, mark, pressure)
    good = _weights(state) if start is not None or state.step else None
    try:
        for weights in _rounds(spec, bags, state, run, path, mark, pressure, hook):
            good = weights
    except Diverged as error:
        if spec.alarms == "raise" or good is None:
            raise
        state.warnings.append(f"{error}; training ended there")
        return _result(spec, state, bags, good)
    return _result(spec, state, bags, state.best or _weights(state))


def _rounds(
    spec: InterestGan, bags: Bags, state: State, run: RunContext, path: Path | None, mark: str,
    pressure: Pressure | None, hook: Hook | None,
) -> Iterator[dict[str, Tensor]]:  # fmt: skip
    """All rounds to come; gives the weights after each that has no symptom."""
    todo = range(state.step, spec.steps)
    before, begun = _copies(state), time.monotonic()
    said_of: list[dict[str, float]] = []
    for step in run.track(todo, "interest-gan", len(todo)):
        if _finished(spec, state):
            break
        for turn in range(spec.critic_steps):
            batch = _batch(spec, bags, run.seed, step, turn)
            draws = step_seed(run.seed, "critic", step, turn)
            with torch.no_grad():
                cut = fakes_of(state.generator, batch, spec, draws)
            said = critic_step(
                state.critic, state.judges, batch, cut, spec, draws,
                step=step * spec.critic_steps + turn,
            )  # fmt: skip
        draws = step_seed(run.seed, "generator", step)
        fakes = fakes_of(state.generator, batch, spec, draws)  # a fresh one, after the D step
        said |= generator_step(
            state.generator, state.critic, state.climbs, batch, fakes, spec, draws,
            adversarial=spec.adversarial if step >= spec.warmup else 0.0, pressure=pressure,
        )  # fmt: skip
        _require_finite(said, step + 1, path, state)
        state.average.update(step + 1)
        said_of.append(said)
        state.step = step + 1
        if state.step % spec.every and state.step < spec.steps:
            continue
        row = _row(said_of, state, before, batch, fakes, time.monotonic() - begun)
        _end_round(row, spec, state, batch, pressure, hook, run.seed)
        _alarm(row, state, path)
        if state.monitor.well:
            _age(spec, state)
            yield _weights(state)
            if path:
                state.save(path, mark, pressure)
        if run.folder:
            lines = (json.dumps(entry) + "\n" for entry in state.log)
            write_text(run.folder / "rounds.jsonl", "".join(lines))
        before, said_of, begun = _copies(state), [], time.monotonic()


def _weights(state: State) -> dict[str, Tensor]:
    """Copies of the generator's parameters as they would be the result now."""
    return {k: p.detach().clone() for k, p in _chosen(state).items()}


def _state(
    spec: InterestGan, train: Dataset, bags: Bags, seed: int, vectors: Floats | None,
    start: InterestGenerator | None,
) -> State:  # fmt: skip
    features = torch.as_tensor(
        columns_of(start.critic.features) if start else item_vectors(train, spec.size, vectors)
    )
    prior = torch.as_tensor(popularity(train.counts))
    generator, critic = networks(spec, features, prior, derive(seed, "interest-gan", "weights"))
    if start is not None:
        try:
            generator.load_state_dict(start.generator.state_dict())
            critic.load_state_dict(start.critic.state_dict())
        except RuntimeError as error:
            raise DataError(
                "the generator to start from has other dimensions",
                remedy="use its own size, noise, width, depth, slim and spectral, and its log",
            ) from error
    return State(
        generator=generator, critic=critic,
        climbs=torch.optim.Adam(generator.parameters(), lr=spec.learning_rate, betas=(0.5, 0.99)),
        judges=torch.optim.Adam(
            critic.parameters(), lr=spec.critic_learning_rate, betas=(0.5, 0.99)
        ),
        average=Average(dict(generator.named_parameters()), spec.average),
        ageing=Ageing.of(bags, spec.noise, seed),
    )  # fmt: skip


def _fingerprint(
    spec: InterestGan, train: Dataset, seed: int, vectors: Floats | None,
    pressure: Pressure | None, start: InterestGenerator | None,
) -> str:  # fmt: skip
    parts = (
        repr(spec), str(seed), train.fingerprint, pressure.label if pressure else "",
        start.fingerprint if start else "",
    )  # fmt: skip
    texts = b"" if vectors is None else np.ascontiguousarray(vectors).tobytes()
    return digest_bytes(*(p.encode() for p in parts), texts)


def _batch(spec: InterestGan, bags: Bags, seed: int, step: int, turn: int) -> Batch:
    rng = np.random.default_rng(derive(seed, "interest-gan", "batch", step, turn))
    rows = rng.choice(len(bags), size=min(spec.batch_size, len(bags)), replace=False)
    return batch_of(bags, rows, rng)


def _copies(state: State) -> tuple[list[Tensor], list[Tensor]]:
    def of(network: nn.Module) -> list[Tensor]:
        return [p.detach().clone() for p in network.parameters()]

    return of(state.generator), of(state.critic)


def _moved(network: nn.Module, before: Sequence[Tensor]) -> float:
    pairs = zip(network.parameters(), before, strict=True)
    return float(torch.nn.utils.get_total_norm([p.detach() - b for p, b in pairs]))


def _row(
    rows: Sequence[Mapping[str, float]], state: State, before: tuple[list[Tensor], list[Tensor]],
    batch: Batch, fakes: Fakes, seconds: float,
) -> dict[str, float]:  # fmt: skip
    """The round's means, and how its last draws look beside the real profiles."""
    names = dict.fromkeys(name for row in rows for name in row)
    means = {n: float(np.mean([row[n] for row in rows if n in row])) for n in names}
    half = (len(fakes.noise) + 1) // 2
    drawn, real = (t[:half].detach().numpy() > 0.5 for t in (fakes.whole, batch.whole))
    known = state.generator.popularity.numpy()
    chances = fakes.logits.detach().softmax(1)
    return means | {
        "step": state.step, "seconds": round(seconds, 4),
        "drawn": sum(1 for _ in rows) * len(fakes.noise),
        "change_generator": _moved(state.generator, before[0]),
        "change_critic": _moved(state.critic, before[1]),
        "spread": float((chances - chances.roll(1, 0)).abs().sum(1).mean() / 2),
    } | looks(drawn, real, known)  # fmt: skip


def _end_round(
    row: dict[str, float], spec: InterestGan, state: State, batch: Batch,
    pressure: Pressure | None, hook: Hook | None, seed: int,
) -> None:  # fmt: skip
    """The fifth step, and the log of all five."""
    row["change_recommender"] = 0.0
    if pressure is not None and pressure.beta:
        with torch.no_grad():
            draws = step_seed(seed, "recommender", state.step)
            drawn = pressed(state.generator, batch.whole, spec, draws, pressure)
        row["change_recommender"] = pressure.update(drawn)
    state.history.append(row)
    number = len(state.history)
    told: dict[str, tuple[str, ...]] = {
        "prepare": ("overlap_real",),
        "generate": ("drawn", "unique", "overlap", "spread", "popularity_ks"),
        "discriminator": ("loss_critic", "loss_pair", "accuracy_real", "accuracy_fake",
                          "accuracy_pair", "gradient_critic", "change_critic"),
        "generator": ("loss_generator", "loss_deceive", "loss_deceive_pair", "loss_likelihood",
                      "loss_diversity", "loss_closeness", "loss_attack", "through",
                      "gradient_generator", "change_generator"),
        "recommender": ("change_recommender",),
    }  # fmt: skip
    for place, (name, keys) in enumerate(told.items(), 1):
        entry: dict[str, Any] = {"round": number, "number": place, "name": name}
        entry |= {k: row[k] for k in keys if k in row}
        state.log.append(entry)
        _log.debug("interest-gan round %d: %s", number, entry)
        if hook is not None:
            hook(entry)
    if spec.patience and _score(row) <= min(map(_score, state.history)):
        state.best = _weights(state)


def _score(row: Mapping[str, float]) -> float:
    """Lower is better: how far popularity and overlap are from the real ones."""
    return row["popularity_ks"] + abs(row["overlap"] - row["overlap_real"])


def _finished(spec: InterestGan, state: State) -> bool:
    scores = [_score(row) for row in state.history]
    return bool(
        spec.patience and scores and state.step > spec.warmup
        and len(scores) - 1 - int(np.argmin(scores)) >= spec.patience
    )  # fmt: skip


def _alarm(row: Mapping[str, float], state: State, path: Path | None) -> None:
    for alarm in state.monitor.check(row):
        if alarm.fatal:
            raise Diverged(f"interest-gan, step {state.step}: {alarm.says}; {kept(path)}")
        state.warnings.append(alarm.says)
        _log.warning("interest-gan, step %d: %s", state.step, alarm.says)


def _age(spec: InterestGan, state: State) -> None:
    """Every so many rounds: do the draws of before still deceive?"""
    if not state.ageing.due(state.step, first=spec.warmup, last=spec.steps):
        return
    found = state.ageing.look(
        state.generator, _chosen(state), state.critic, step=state.step, number=len(state.history)
    )
    if found is not None:
        state.warnings.append(found.says)
        _log.warning("interest-gan, step %d: %s", state.step, found.says)


def _require_finite(said: Mapping[str, float], step: int, path: Path | None, state: State) -> None:
    wrong = [name for name, value in said.items() if not np.isfinite(value)]
    for name, network in (("generator", state.generator), ("discriminator", state.critic)):
        wrong += [f"a weight of the {name}" for p in network.parameters()
                  if not bool(p.isfinite().all())][:1]  # fmt: skip
    if wrong:
        raise Diverged(
            f"interest-gan, step {step}: {wrong[0]} is not finite; {kept(path)}; "
            "lower learning_rate or beta"
        )


def _chosen(state: State) -> dict[str, Tensor]:
    return state.average.means or dict(state.generator.named_parameters())


def _result(
    spec: InterestGan, state: State, bags: Bags, chosen: Mapping[str, Tensor]
) -> InterestGenerator:
    with torch.no_grad():
        for name, parameter in state.generator.named_parameters():
            parameter.copy_(chosen[name])
    state.generator.eval()
    state.critic.eval()
    return InterestGenerator(
        spec=spec, generator=state.generator, critic=state.critic,
        lengths=np.sort(bags.lengths), history=tuple(state.history),
        warnings=tuple(state.warnings), transfer=state.ageing.matrix(),
    )  # fmt: skip
