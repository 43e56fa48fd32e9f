"""The training loop, top to bottom."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hardrank.context import RunContext, derive
from hardrank.files import write_json
from hardrank.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from hardrank.training.objective import Objective, Plain, Step
from hardrank.training.options import Training

__all__ = ["Batches", "StopRule", "Trained", "Validate", "train"]

Batches = Callable[[np.random.Generator], Iterator[Any]]
"""One epoch of batches, in an order that depends on the generator alone."""
Validate = Callable[[], Mapping[str, float]]
"""Metrics of the network as it stands; the first one is what early stopping maximises."""


class StopRule(Protocol):
    """Says why training should stop after this epoch, or None to go on."""

    def check(self, history: list[dict[str, float]]) -> str | None: ...


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
    fingerprint: str = "",
) -> Trained:
    """Minimise `objective` over `batches`; leave the chosen weights in `network`.

    steps: about how many batches an epoch has (for schedules and the progress bar). paces:
    prefix of parameter names -> their learning rate as a share of `options.learning_rate`.

    All randomness of a step is seeded from (run.seed, epoch, step), so an objective that
    draws numbers does not change the dropout of later steps, and a run that was killed and
    started again in the same `run.folder` ends with the same weights to the last bit.
    """
    begun = time.monotonic()
    objective = objective or Plain()
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        _groups(network, paces or {}), lr=options.learning_rate,
        weight_decay=options.weight_decay, foreach=True,
    )  # fmt: skip
    path = run.folder / "checkpoint.safetensors" if run.folder else None
    best, progress = _resume(path, fingerprint, network, optimiser)
    log = _Log(run.folder)
    replays: int = getattr(objective, "replays", 1)
    planned = max(1, steps * replays * options.epochs)

    while progress.epoch < options.epochs and not progress.finished:
        epoch, started, total = progress.epoch, time.monotonic(), 0.0
        network.train()
        order = np.random.default_rng(derive(run.seed, "order", epoch))
        memory: dict[str, Any] = {}
        epoch_batches = run.track(
            _replayed(batches(order), replays), f"epoch {epoch + 1}/{options.epochs}",
            steps * replays,
        )  # fmt: skip
        for number, batch in enumerate(epoch_batches):
            done = epoch * steps * replays + number
            torch.manual_seed(derive(run.seed, "step", epoch, number))
            draws = torch.Generator().manual_seed(derive(run.seed, "objective", epoch, number))
            step = Step(
                epoch=epoch, number=number, progress=min(done / planned, 1.0), generator=draws,
                memory=memory,
            )  # fmt: skip
            for group in optimiser.param_groups:
                warm = min(1.0, (done + 1) / (options.warmup or 1))
                group["lr"] = options.learning_rate * warm * group["pace"]
            loss = objective(network, batch, step)  # type: ignore[arg-type]
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            if options.clip is not None:
                torch.nn.utils.clip_grad_norm_(parameters, options.clip)
            optimiser.step()
            total += float(loss.detach())
            progress.steps += 1
        row = {"epoch": epoch + 1.0, "loss": total / (number + 1)}
        progress.epoch += 1
        if validate and progress.epoch % options.every == 0:
            network.eval()
            row |= validate()
            value = next(v for k, v in row.items() if k not in ("epoch", "loss"))
            if progress.best_value is None or value > progress.best_value:
                progress.best_value, progress.best_epoch = value, progress.epoch
                best = {k: v.detach().clone() for k, v in network.state_dict().items()}
        row["seconds"] = time.monotonic() - started
        progress.history.append(row)
        progress.finished = _why_stop(progress, options, stop)
        log.write(row)
        if path:
            save_checkpoint(path, fingerprint, network, optimiser, best, progress)

    log.close()
    if run.folder:
        write_json(run.folder / "training.json", vars(progress))
    if options.keep == "best" and best:
        network.load_state_dict(best)
    network.eval()
    return Trained(progress=progress, seconds=time.monotonic() - begun)


def _replayed(batches: Iterator[Any], replays: int) -> Iterator[Any]:
    """Each batch `replays` times in a row, as an objective with the attribute asks for."""
    for batch in batches:
        for _ in range(replays):
            yield batch


def _groups(network: nn.Module, paces: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters that learn, by pace."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            pace = next((p for prefix, p in paces.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(pace, []).append(parameter)
    return [{"params": members, "pace": pace} for pace, members in groups.items()]


def _resume(
    path: Path | None, fingerprint: str, network: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], Progress]:
    found = load_checkpoint(path, fingerprint, network, optimiser) if path else None
    return found or ({}, Progress())


def _why_stop(progress: Progress, options: Training, stop: StopRule | None) -> str:
    if not np.isfinite(progress.history[-1]["loss"]):
        return "the loss is not finite"
    if stop and (reason := stop.check(progress.history)):
        return reason
    waited = (progress.epoch - progress.best_epoch) // options.every
    if options.patience and progress.best_epoch and waited >= options.patience:
        return f"no better validation value in {options.patience} validations"
    if progress.epoch >= options.epochs:
        return "all epochs done"
    return ""


class _Log:
    """TensorBoard scalars beside the checkpoint; nothing without a folder."""

    def __init__(self, folder: Path | None) -> None:
        self.writer: Any = None
        if folder:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, row: Mapping[str, float]) -> None:
        if self.writer:
            for name, value in row.items():
                self.writer.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        if self.writer:
            self.writer.close()
