"""Checkpoints that a kill at any moment cannot spoil: safetensors plus JSON, written atomically."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hardrank.files import atomic

__all__ = ["Progress", "load_checkpoint", "save_checkpoint"]


@dataclass(kw_only=True)
class Progress:
    """Where training stands between two epochs."""

    epoch: int = 0
    """Epochs done."""
    steps: int = 0
    """Optimiser steps done."""
    best_epoch: int = 0
    """Epochs done when the best validation value was seen; 0 for none yet."""
    best_value: float | None = None
    """The validation metric, or with `keep = "robust"` the robust error with its sign turned."""
    finished: str = ""
    """Why training ended; empty while it goes on."""
    warning: str = ""
    """What the history gives reason to doubt; empty for nothing."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row an epoch: loss, validation metrics, seconds."""


def save_checkpoint(
    path: Path,
    fingerprint: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    means: dict[str, Tensor],
    progress: Progress,
) -> None:
    """One file holds weights, optimiser state, best and mean weights and progress, so that
    they can never disagree."""
    tensors = {f"network/{k}": v.detach() for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    tensors |= {f"mean/{k}": v for k, v in means.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{number}/{k}": torch.as_tensor(v) for k, v in state.items()}
    text = json.dumps({"fingerprint": fingerprint, "progress": vars(progress)})
    payload = save({k: v.contiguous().clone() for k, v in tensors.items()}, {"hardrank": text})
    with atomic(path) as file:
        file.write(payload)


def load_checkpoint(
    path: Path,
    fingerprint: str,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    means: dict[str, Tensor],
) -> tuple[dict[str, Tensor], Progress] | None:
    """Restore in place and give (best weights, progress); None if there is no checkpoint or
    it belongs to another spec, dataset or seed (`fingerprint`)."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        about: dict[str, Any] = json.loads(file.metadata()["hardrank"])
        if about["fingerprint"] != fingerprint:
            return None
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.load_state_dict(_under("network", tensors))
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser", tensors).items():
        number, key = name.split("/", 1)
        states.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": states, "param_groups": groups})
    means |= _under("mean", tensors)
    return _under("best", tensors), Progress(**about["progress"])


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
