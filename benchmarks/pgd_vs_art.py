"""PGD through our closures beside ART's and torchattacks' on one shared victim.

    python benchmarks/pgd_vs_art.py [--seeds 0 1 2] [--threads 1]

About two minutes on a quiet core, most of it imports of the peers.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import common

PEERS = {"art": "art", "torchattacks": "torchattacks", "torchattacks-multi": "torchattacks"}
"""Side -> environment."""
OURS = {"PGD": "hardrank", "APGD": "hardrank-apgd"}
EQUAL = ("art", "torchattacks")
"""Sides that take as many steps for every image as ours does."""
SHAPE, CLASSES, BATCH, HIDDEN = (1, 8, 8), 10, 512, 512
STEPS, RESTARTS, REPEATS = 20, 5, 5
RADIUS = {"l2": 0.06, "linf": 0.008}
STEP = 2.5 / STEPS
"""Share of the radius."""
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""For all sides: glibc gives a megabyte back as soon as it is free and asks for it again, which
costs 5 to 15 % of a step, more or less by accident of where the memory lies."""
Ratios = dict[str, dict[str, dict[str, Any]]]
"""Peer -> norm -> ratio."""
METHOD = """The victim: a perceptron of two hidden layers of {hidden} units with ReLU, trained by \
Adam (seed 0) on generated 8 x 8 images of 10 smooth classes whose pixels lie in [0.3, 0.7], so \
that a clamp to [0, 1] can never bind; weights, inputs and labels go to each side as npz. The \
attack: raise the cross-entropy of {batch} held-out images in one batch, {steps} steps, \
{restarts} restarts, L2 radius {l2} and L-infinity radius {linf}, step 2.5 / {steps} of the \
radius, float32, {threads} thread(s), an allocator that keeps freed memory on all sides. Each \
side runs in a process and environment of its own, one at a time, the sides in turn for each seed \
of the noise; a small attack goes first and is not counted, then the best of {repeats}. Each \
keeps its own rules. ART: all starts at random in the ball; each image keeps the last restart \
that fools the victim. torchattacks has no restarts that keep the highest loss, so its side takes \
the strongest of {restarts} calls; `torchattacks-multi` is its MultiAttack, which spends a \
restart only on images not yet fooled: less work for less loss, so it stands beside the others \
but in no headline ratio. Ours: the first climb starts at zero, and the highest loss of all \
points passed is kept. `hardrank-apgd` is our APGD with {steps} steps and no restarts, a fifth of \
the gradients. Losses and success are computed here on the images that came back, after checking \
that they are inside the ball."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    os.environ |= KEEP_MEMORY
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), tuple(asked.seeds), asked.threads)


def measure(folder: Path, seeds: tuple[int, ...], threads: int) -> None:
    clean = write_victim(folder)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in (*OURS.values(), *PEERS)}
    for turn, seed in enumerate(seeds):
        order = list(runs)
        for side in order[turn % len(order) :] + order[: turn % len(order)]:
            runs[side].append(attack(folder, side, seed))
    sides = {side: {n: figures(found, n) for n in RADIUS} for side, found in runs.items()}
    compared = {
        kind: {peer: {n: against(runs[side], runs[peer], n) for n in RADIUS} for peer in PEERS}
        for kind, side in OURS.items()
    }
    headline, apgd = worst(compared["PGD"]), worst(compared["APGD"])
    versions: dict[str, str] = {}
    for peer in PEERS:
        versions |= runs[peer][0]["versions"]
    common.write_result(
        "pgd_vs_art",
        claim=claim(compared),
        command=f"python benchmarks/pgd_vs_art.py --seeds {' '.join(map(str, seeds))}"
        f" --threads {threads}",
        ratio=headline["time_ratio"],
        ratio_means="CPU seconds, ours over the peer's: the worst of two peers and two norms",
        aim=1,
        ratios=headline | {f"apgd_{name}": x for name, x in apgd.items()},
        figures={"clean": clean, "sides": sides, "ours_over_theirs": compared},
        method=METHOD.format(
            hidden=HIDDEN, batch=BATCH, steps=STEPS, restarts=RESTARTS, repeats=REPEATS,
            threads=threads, **RADIUS,
        ),
        seeds=seeds,
        peer_versions=versions,
    )  # fmt: skip


def write_victim(folder: Path) -> dict[str, float]:
    """`victim.npz` and `ask.json`, as `peers/pgd_side.py` reads them; the clean figures."""
    import numpy as np

    (x, y), model = trained()
    layers = [m for m in model if hasattr(m, "weight")]
    arrays = {f"w{n}": m.weight.detach().numpy() for n, m in enumerate(layers)}
    arrays |= {f"b{n}": m.bias.detach().numpy() for n, m in enumerate(layers)}
    np.savez(folder / "victim.npz", **arrays, x=x.numpy(), y=y.numpy())
    ask = {
        "steps": STEPS, "restarts": RESTARTS, "repeats": REPEATS, "batch": BATCH,
        "shape": SHAPE, "classes": CLASSES,
        "norms": {n: {"radius": r, "step": STEP * r} for n, r in RADIUS.items()},
    }  # fmt: skip
    (folder / "ask.json").write_text(json.dumps(ask))
    loss, fooled = outcome(folder, x.numpy())
    return {"mean_loss": float(loss.mean()), "accuracy": 1 - float(fooled.mean())}


def trained() -> tuple[Any, Any]:
    """((x, y) held out, the victim)."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    x, y = images(8 * BATCH)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, CLASSES),
    )  # fmt: skip
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    return images(BATCH), model


def images(count: int) -> tuple[Any, Any]:
    """(N, 1, 8, 8) in [0.3, 0.7] and (N,) classes: a smooth pattern of the class, shifted by
    up to a pixel, and noise."""
    import torch
    from torch.nn.functional import interpolate

    patterns = torch.randn(CLASSES, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    patterns = interpolate(patterns, size=(8, 8), mode="bilinear", align_corners=True)
    y = torch.randint(CLASSES, (count,))
    shifts = torch.randint(-1, 2, (count, 2)).tolist()
    x = torch.stack(
        [patterns[c].roll(s, dims=(1, 2)) for c, s in zip(y.tolist(), shifts, strict=True)]
    )
    x = 0.5 + 0.07 * (x + 0.4 * torch.randn(x.shape))
    return x.clamp(0.3, 0.7), y


def attack(folder: Path, side: str, seed: int) -> dict[str, Any]:
    """One side in a process of its own: losses and success of what it made, and its cost."""
    out = folder / f"{side}-{seed}.npz"
    arguments = [side, str(folder), str(out), "--seed", str(seed)]
    if side in PEERS:
        ran = common.run_peer(PEERS[side], "pgd_side.py", *arguments)
    else:
        script = str(common.HERE / "peers" / "pgd_side.py")
        done = subprocess.run(
            [sys.executable, script, *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        ran = json.loads(done.stdout.strip().splitlines()[-1])
    assert ran["threads"] == int(os.environ["OMP_NUM_THREADS"])
    found: dict[str, Any] = {"versions": ran["versions"]}
    for norm, costs in ran["costs"].items():
        loss, fooled = checked(folder, out, norm)
        found[norm] = {
            "mean_loss": float(loss.mean()),
            "success_rate": float(fooled.mean()),
            "cpu_seconds": min(c["cpu"] for c in costs),
            "wall_seconds": min(c["wall"] for c in costs),
        }
    return found


def checked(folder: Path, out: Path, norm: str) -> tuple[Any, Any]:
    """(N,) losses and whether fooled; stops the benchmark when a ball was left."""
    import numpy as np

    with np.load(folder / "victim.npz") as saved, np.load(out) as made:
        x, attacked = saved["x"], made[norm]
    delta = (attacked.astype(np.float64) - x).reshape(len(x), -1)
    size = np.abs(delta).max(1) if norm == "linf" else np.sqrt((delta**2).sum(1))
    if size.max() > RADIUS[norm] * (1 + 1e-4):
        sys.exit(f"{out.stem}: moved an input by {size.max()}, more than {RADIUS[norm]}")
    return outcome(folder, attacked)


def outcome(folder: Path, inputs: Any) -> tuple[Any, Any]:
    import numpy as np
    import torch

    sys.path.insert(0, str(common.HERE / "peers"))
    from pgd_side import victim

    with np.load(folder / "victim.npz") as saved:
        arrays = {name: saved[name] for name in saved.files}
    y = torch.from_numpy(arrays["y"])
    with torch.no_grad():
        logits = victim(arrays)(torch.from_numpy(inputs))
    loss = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    return loss.numpy(), (logits.argmax(1) != y).numpy()


def figures(runs: list[dict[str, Any]], norm: str) -> dict[str, Any]:
    """Mean and all values over the seeds."""
    names = runs[0][norm]
    return {
        name: {
            "mean": statistics.mean(r[norm][name] for r in runs),
            "each": [r[norm][name] for r in runs],
        }
        for name in names
    }


def against(ours: list[dict[str, Any]], theirs: list[dict[str, Any]], norm: str) -> dict[str, Any]:
    """Ratios of the means, and of each seed."""
    out: dict[str, Any] = {}
    for ratio, name in (
        ("time_ratio", "cpu_seconds"), ("wall_ratio", "wall_seconds"), ("loss_ratio", "mean_loss"),
        ("success_ratio", "success_rate"),
    ):  # fmt: skip
        each = [a[norm][name] / b[norm][name] for a, b in zip(ours, theirs, strict=True)]
        out[ratio] = sum(a[norm][name] for a in ours) / sum(b[norm][name] for b in theirs)
        out[f"{ratio}_each"] = [round(x, 4) for x in each]
    return out


def worst(ratios: Ratios) -> dict[str, float]:
    """The least favourable of the peers that do equal work, over both norms."""
    flat = [norm for peer in EQUAL for norm in ratios[peer].values()]
    return {
        "time_ratio": max(r["time_ratio"] for r in flat),
        "loss_ratio": min(r["loss_ratio"] for r in flat),
    }


def claim(compared: dict[str, Ratios]) -> str:
    names = {
        "PGD": f"PGD-{STEPS} with {RESTARTS} restarts, ours over the peer's",
        "APGD": f"our APGD-{STEPS} without restarts over the same",
    }
    parts = []
    for kind, ratios in compared.items():
        rows = [
            f"{peer} {norm} {r['time_ratio']:.2f} of the CPU time for {r['loss_ratio']:.3f} of"
            " the loss"
            for peer in EQUAL
            for norm, r in ratios[peer].items()
        ]
        parts.append(f"{names[kind]}: {', '.join(rows)}")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
