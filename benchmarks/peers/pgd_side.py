"""One side of `pgd_vs_art.py`: PGD on the shared victim, in that side's own environment.

FOLDER holds `victim.npz` (arrays `w0`, `b0`, `w1`, ... of a multilayer perceptron, inputs `x`
(N, 1, H, W) in [0, 1], labels `y` (N,)) and `ask.json` (steps, restarts, repeats, and the
radius and step of each norm). Writes the attacked inputs to OUT as npz; the last line of
output is JSON: CPU and wall seconds of each repeat of each norm.
"""

import argparse
import importlib.metadata
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Attack = Callable[[Tensor, Tensor], Tensor]
"""(inputs, labels) -> attacked inputs."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    ask = json.loads((asked.folder / "ask.json").read_text())
    with np.load(asked.folder / "victim.npz", allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in saved.files}
    model = victim(arrays)
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    found, costs = {}, {}
    for norm, size in ask["norms"].items():
        # The first call of an attack loads parts of torch; that is not attacking.
        SIDES[asked.side](model, norm, size, {**ask, "steps": 2, "restarts": 2}, 0)(x, y)
        costs[norm] = []
        for repeat in range(ask["repeats"]):
            attack = SIDES[asked.side](model, norm, size, ask, asked.seed)
            cpu, wall = time.process_time(), time.perf_counter()
            attacked = attack(x, y)
            costs[norm].append(
                {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
            )
            if repeat == 0:
                found[norm] = attacked.numpy()
    np.savez(asked.out, **found)
    packages = ("torch", "numpy", PACKAGES[asked.side])
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({"costs": costs, "versions": versions, "threads": torch.get_num_threads()}))


def victim(arrays: dict[str, np.ndarray]) -> nn.Module:
    """The perceptron of these weights, in evaluation mode."""
    layers: list[nn.Module] = [nn.Flatten()]
    depth = sum(name.startswith("w") for name in arrays)
    for n in range(depth):
        weight, bias = torch.from_numpy(arrays[f"w{n}"]), torch.from_numpy(arrays[f"b{n}"])
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, bias
        layers += [layer, nn.ReLU()] if n + 1 < depth else [layer]
    return nn.Sequential(*layers).eval()


def hardrank(model: nn.Module, norm: str, size: dict, ask: dict, seed: int) -> Attack:
    """The loss is a closure over the batch; step sizes are shares of the radius there."""
    from hardrank.perturbations import PGD

    maximiser = PGD(
        norm=norm, steps=ask["steps"], restarts=ask["restarts"],
        step_size=size["step"] / size["radius"],
    )  # fmt: skip
    return _ours(maximiser, model, size, seed)


def hardrank_apgd(model: nn.Module, norm: str, size: dict, ask: dict, seed: int) -> Attack:
    """One climb that chooses its own step sizes: as many gradients as one restart of PGD."""
    from hardrank.perturbations import APGD

    return _ours(APGD(norm=norm, steps=ask["steps"]), model, size, seed)


def _ours(maximiser: Callable, model: nn.Module, size: dict, seed: int) -> Attack:
    model.requires_grad_(False)  # the weights of a victim never ask for gradients here

    def attack(x: Tensor, y: Tensor) -> Tensor:
        def loss(delta: Tensor) -> Tensor:
            return nn.functional.cross_entropy(model(x + delta), y, reduction="none")

        generator = torch.Generator().manual_seed(seed)
        return x + maximiser(loss, x, radius=size["radius"], generator=generator)

    return attack


def art(model: nn.Module, norm: str, size: dict, ask: dict, seed: int) -> Attack:
    """Restarts are its `num_random_init`: an input keeps the last restart that fooled."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        model, nn.CrossEntropyLoss(), input_shape=ask["shape"], nb_classes=ask["classes"],
        clip_values=None, device_type="cpu",
    )  # fmt: skip
    made = ProjectedGradientDescentPyTorch(
        estimator, norm=np.inf if norm == "linf" else 2, eps=size["radius"],
        eps_step=size["step"], max_iter=ask["steps"], num_random_init=ask["restarts"],
        batch_size=ask["batch"], verbose=False,
    )  # fmt: skip

    def attack(x: Tensor, y: Tensor) -> Tensor:
        np.random.seed(seed)  # noqa: NPY002 - what it draws its starts from
        return torch.from_numpy(made.generate(x.numpy(), y.numpy()))

    return attack


def torchattacks_best(model: nn.Module, norm: str, size: dict, ask: dict, seed: int) -> Attack:
    """It has no restarts that keep the highest loss, so the strongest of several calls is
    taken here, at one forward pass a call."""
    made = _torchattacks(model, norm, size, ask)

    def attack(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(seed)
        best, best_loss = x, torch.full((len(x),), -torch.inf)
        for _ in range(ask["restarts"]):
            moved = made(x, y)
            with torch.no_grad():
                loss = nn.functional.cross_entropy(model(moved), y, reduction="none")
            better = loss > best_loss
            best = torch.where(better.view(-1, 1, 1, 1), moved, best)
            best_loss = torch.where(better, loss, best_loss)
        return best.detach()

    return attack


def torchattacks_multi(model: nn.Module, norm: str, size: dict, ask: dict, seed: int) -> Attack:
    """Its own `MultiAttack`: a restart is spent on the inputs that are not yet fooled."""
    import torchattacks

    attacks = [_torchattacks(model, norm, size, ask) for _ in range(ask["restarts"])]

    def attack(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(seed)
        return torchattacks.MultiAttack(attacks)(x, y).detach()

    return attack


def _torchattacks(model: nn.Module, norm: str, size: dict, ask: dict) -> Callable:
    import torchattacks

    kind = torchattacks.PGD if norm == "linf" else torchattacks.PGDL2
    return kind(model, eps=size["radius"], alpha=size["step"], steps=ask["steps"])


SIDES = {
    "hardrank": hardrank,
    "hardrank-apgd": hardrank_apgd,
    "art": art,
    "torchattacks": torchattacks_best,
    "torchattacks-multi": torchattacks_multi,
}
PACKAGES = {
    "hardrank": "hardrank",
    "hardrank-apgd": "hardrank",
    "art": "adversarial-robustness-toolbox",
    "torchattacks": "torchattacks",
    "torchattacks-multi": "torchattacks",
}


if __name__ == "__main__":
    main()
