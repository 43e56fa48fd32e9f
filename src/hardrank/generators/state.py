"""Where a training stands, and its checkpoint: one file, so that no two parts can disagree."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hardrank.files import atomic
from hardrank.generators.health import Monitor
from hardrank.generators.networks import Critic, Generator
from hardrank.generators.pressure import Pressure
from hardrank.generators.staleness import Ageing
from hardrank.training.average import Average

__all__ = ["State", "kept"]

_AGED = ("steps", "rounds", "told")
"""Of `Ageing`: what is no tensor."""


@dataclass(eq=False, kw_only=True)
class State:
    """Everything that a step reads and changes."""

    generator: Generator
    critic: Critic
    climbs: torch.optim.Optimizer
    """Of the generator."""
    judges: torch.optim.Optimizer
    """Of the critic."""
    average: Average
    ageing: Ageing
    monitor: Monitor = field(default_factory=Monitor)
    best: dict[str, Tensor] = field(default_factory=dict)
    """The generator's parameters in the best round; empty without early stopping."""
    step: int = 0
    """Generator steps done."""
    history: list[dict[str, float]] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    """Five entries a round."""
    warnings: list[str] = field(default_factory=list)

    def save(self, path: Path, fingerprint: str, pressure: Pressure | None) -> None:
        """Atomic."""
        tensors = {f"generator/{k}": v for k, v in self.generator.state_dict().items()}
        tensors |= {f"critic/{k}": v for k, v in self.critic.state_dict().items()}
        tensors |= {f"mean/{k}": v for k, v in self.average.means.items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for name, optimiser in (("climbs", self.climbs), ("judges", self.judges)):
            for number, kept in optimiser.state_dict()["state"].items():
                tensors |= {f"{name}/{number}/{k}": torch.as_tensor(v) for k, v in kept.items()}
        if pressure is not None:
            tensors |= {f"pressure/{k}": v for k, v in pressure.state().items()}
        tensors |= {f"ageing/{k}": v for k, v in self.ageing.state().items()}
        aged = {name: getattr(self.ageing, name) for name in _AGED}
        progress = {
            "ageing": aged, "step": self.step, "history": self.history, "log": self.log,
            "warnings": self.warnings, "monitor": asdict(self.monitor),
        }  # fmt: skip
        text = json.dumps({"fingerprint": fingerprint, "progress": progress})
        ready = {k: v.detach().contiguous().clone() for k, v in tensors.items()}
        with atomic(path) as file:
            file.write(save(ready, {"hardrank": text}))

    def resume(self, path: Path, fingerprint: str, pressure: Pressure | None) -> bool:
        """Bring back what was saved; False, and nothing changed, where there is none or it is
        of another training."""
        if not path.exists():
            return False
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["hardrank"])
            if about["fingerprint"] != fingerprint:
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.generator.load_state_dict(_under("generator", tensors))
        self.critic.load_state_dict(_under("critic", tensors))
        for name, optimiser in (("climbs", self.climbs), ("judges", self.judges)):
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(name, tensors).items():
                number, part = key.split("/", 1)
                states.setdefault(int(number), {})[part] = value
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": states, "param_groups": groups})
        self.average.means |= _under("mean", tensors)
        self.best = _under("best", tensors)
        if pressure is not None:
            pressure.load(_under("pressure", tensors))
        progress = about["progress"]
        self.monitor = Monitor(**progress.pop("monitor"))
        self.ageing.load(_under("ageing", tensors), self.critic)
        for name, value in progress.pop("ageing", {}).items():
            setattr(self.ageing, name, value)
        for name, value in progress.items():
            setattr(self, name, value)
        return True


def kept(path: Path | None) -> str:
    """What a failed training leaves behind, in words. path: of its checkpoint."""
    if path is None or not path.exists():
        return "nothing is kept of this training"
    return f"the last good round is kept in {path}"


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
