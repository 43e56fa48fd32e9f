"""The training loop, top to bottom."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.context import RunContext, derive
from hardrank.errors import Unsupported
from hardrank.training.average import Average
from hardrank.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from hardrank.training.finite import Position, gradient_norm
from hardrank.training.objective import Objective, Plain, Step, begins
from hardrank.training.options import Training
from hardrank.training.record import Record
from hardrank.training.stops import StopRule, value_of, why_stop

__all__ = ["Batches", "Trained", "Validate", "train"]

T = TypeVar("T")
Batches = Callable[[np.random.Generator], Iterator[Any]]
"""One epoch of batches, in an order that depends on the generator alone."""
Validate = Callable[[], Mapping[str, float]]
"""Metrics of the network as it stands. Early stopping maximises the first one, or with
`keep = "robust"` minimises `robust_error`."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    progress: Progress
    seconds: float


def train(
    network: nn.Module,
    batches: Batches,
    *,
    steps: int,
    options: Training,
    run: RunContext,
    objective: Objective | None = None,
    validate: Validate | None = None,
    stop: StopRule | None = None,
    paces: Mapping[str, float] | None = None,
    prepare: Callable[[int], None] | None = None,
    fingerprint: str = "",
) -> Trained:
    """Minimise `objective` over `batches`; leave the chosen weights in `network`.

    steps: about how many batches an epoch has (for schedules and the progress bar). paces:
    prefix of parameter names -> their learning rate as a share of `options.learning_rate`.
    prepare: called with the number of each epoch, from 0, before it begins.

    All randomness of a step is seeded from (run.seed, epoch, step), so an objective that
    draws numbers does not change the dropout of later steps, and a run that was killed and
    started again in the same `run.folder` ends with the same weights to the last bit.

    An epoch that began while the objective was still plain training (see
    `hardrank.training.objective.begins`) is never the best one: it would undo the objective.

    Raises `Diverged` at the step that would make a weight infinite or NaN; the folder keeps
    the last good epoch. Raises `Unsupported` for `keep = "robust"` without a robust error and
    for `accumulate` with an objective that replays.
    """
    begun = time.monotonic()
    objective = objective or Plain()
    replays: int = getattr(objective, "replays", 1)
    _check(options, replays, validate)
    learning = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimiser = torch.optim.AdamW(
        _groups(learning, paces or {}), lr=options.learning_rate,
        weight_decay=options.weight_decay, foreach=True,
    )  # fmt: skip
    average = Average(learning, options.average)
    path = run.folder / "checkpoint.safetensors" if run.folder else None
    best, progress = _resume(path, fingerprint, network, optimiser, average)
    planned = max(1, steps * replays * options.epochs)

    with Record(run.folder, progress, options.keep) as record:
        while progress.epoch < options.epochs and not progress.finished:
            epoch, started, total, count = progress.epoch, time.monotonic(), 0.0, 0
            if prepare:
                prepare(epoch)
            network.train()
            order = np.random.default_rng(derive(run.seed, "order", epoch))
            memory: dict[str, Any] = {}
            shown = run.track(
                _replayed(batches(order), replays), f"epoch {epoch + 1}/{options.epochs}",
                steps * replays,
            )  # fmt: skip
            for group in _chunks(shown, options.accumulate):
                optimiser.zero_grad(set_to_none=True)
                for batch in group:
                    torch.manual_seed(derive(run.seed, "step", epoch, count))
                    draws = torch.Generator().manual_seed(
                        derive(run.seed, "objective", epoch, count)
                    )
                    done = min((epoch * steps * replays + count) / planned, 1.0)
                    step = Step(
                        epoch=epoch, number=count, progress=done, generator=draws, memory=memory
                    )
                    loss = objective(network, batch, step)  # type: ignore[arg-type]
                    value, count = float(loss.detach()), count + 1
                    here = Position(
                        epoch=epoch + 1, step=progress.steps + 1, batch=count, path=path
                    )
                    here.require_loss(value)
                    total += value
                    (loss / len(group)).backward()  # type: ignore[no-untyped-call]
                norm = gradient_norm(learning)
                here.require_gradients(norm, learning)
                if options.clip is not None:
                    torch.nn.utils.clip_grads_with_norm_(learning.values(), options.clip, norm)
                _set_rates(optimiser, options, progress.steps)
                optimiser.step()
                average.update(progress.steps)
                progress.steps += 1
            here.require_weights(learning)
            row = {"epoch": epoch + 1.0, "loss": total / count}
            progress.epoch += 1
            if validate and progress.epoch % options.every == 0:
                network.eval()
                with average.installed():
                    row |= validate()
                    value = value_of(row, options)
                    counts = epoch / options.epochs >= begins(objective) - 1e-9
                    if counts and (progress.best_value is None or value > progress.best_value):
                        progress.best_value, progress.best_epoch = value, progress.epoch
                        best = {k: v.detach().clone() for k, v in network.state_dict().items()}
            row["seconds"] = time.monotonic() - started
            progress.history.append(row)
            record.write(row)
            progress.finished = why_stop(progress, options, stop)
            if path:
                save_checkpoint(
                    path, fingerprint, network, optimiser, best, average.means, progress
                )

    average.install()
    if options.keep != "last" and best:
        network.load_state_dict(best)
    network.eval()
    return Trained(progress=progress, seconds=time.monotonic() - begun)


def _check(options: Training, replays: int, validate: Validate | None) -> None:
    if options.accumulate > 1 and replays > 1:
        raise Unsupported(
            f"the objective replays each batch {replays} times and updates after each: "
            "`accumulate` must be 1"
        )
    if options.keep == "robust" and validate is None:
        raise Unsupported('`keep = "robust"` needs validation data: give some, or keep the last')


def _replayed(batches: Iterator[Any], replays: int) -> Iterator[Any]:
    """Each batch `replays` times in a row, as an objective with the attribute asks for."""
    for batch in batches:
        for _ in range(replays):
            yield batch


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """So many in a row together; the last chunk may be shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def _groups(learning: Mapping[str, nn.Parameter], paces: Mapping[str, float]) -> list[Any]:
    """Parameters that learn, by pace."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in learning.items():
        pace = next((p for prefix, p in paces.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(pace, []).append(parameter)
    return [{"params": members, "pace": pace} for pace, members in groups.items()]


def _set_rates(optimiser: torch.optim.Optimizer, options: Training, done: int) -> None:
    """done: steps of the optimiser."""
    warm = min(1.0, (done + 1) / (options.warmup or 1))
    for group in optimiser.param_groups:
        group["lr"] = options.learning_rate * warm * group["pace"]


def _resume(
    path: Path | None,
    fingerprint: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: Average,
) -> tuple[dict[str, Tensor], Progress]:
    if path is None:
        return {}, Progress()
    found = load_checkpoint(path, fingerprint, network, optimiser, average.means)
    return found or ({}, Progress())
