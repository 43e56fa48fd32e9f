"""Generated events for sparse users of Amazon Beauty: do they gain?

    python benchmarks/augmentation.py

Runs `examples/augmentation/amazon-beauty.toml` in a run folder (it resumes) and writes
`results/augmentation.json`.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

import common

METHOD = """`hardrank gan augment {file}`: {protocol}. A sparse user has fewer than {few} training \
events; {add} generated ones stand before the last real one. Each model is trained anew for each \
arm and seed; the generator reads the training log alone. `augmented-at-random` gives the same \
users as many events by popularity. Intervals resample users and seeds in pairs. Verdict `gain`: \
at least 3 % above `control`, with intervals above 0 to it and to the random arm."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs") / "augment-beauty")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    report(asked.out)


def report(folder: Path) -> None:
    from hardrank.context import RunContext
    from hardrank.experiment.augment import run_augmentation
    from hardrank.experiment.augment_spec import load_augmentation

    file = Path("examples") / "augmentation" / "amazon-beauty.toml"
    experiment = load_augmentation(common.ROOT / file)
    made = run_augmentation(experiment, RunContext(folder=folder))
    rows = {(f.subject, f.group, f.metric): f for f in made.findings}
    changes = {m: relative(rows, m) for m in experiment.labelled()}
    best = max(changes, key=lambda m: changes[m])
    common.write_result(
        "augmentation",
        claim="sparse users of Amazon Beauty, three seeds: "
        + "; ".join(v.line() for v in made.verdicts),
        command=shlex.join(["python", "benchmarks/augmentation.py", *sys.argv[1:]]),
        ratio=1 + changes[best],
        ratio_means=f"NDCG@10 of sparse users with generated events over without, {best}",
        aim=1.03,
        figures={
            f"{subject} {group} {metric}": figure(f)
            for (subject, group, metric), f in rows.items()
            if "ndcg@10" in metric
        },
        method=METHOD.format(
            file=file, protocol=made.findings[0].protocol, few=experiment.fewer_than,
            add=experiment.add,
        ),
        seeds=experiment.seeds,
    )  # fmt: skip


def relative(rows: dict[tuple[str, str, str], Any], model: str) -> float:
    """Change of NDCG@10 of sparse users, as a share of the control's."""
    control, augmented = (
        rows[f"{model}/{arm}", "sparse", "ndcg@10"].value for arm in ("control", "augmented")
    )
    return float(augmented / control - 1)


def figure(f: Any) -> dict[str, Any]:
    return {"value": round(f.value, 4), "low": round(f.low, 4), "high": round(f.high, 4),
            "per_seed": [round(v, 4) for v in f.per_seed], "users": f.n}  # fmt: skip


if __name__ == "__main__":
    main()
