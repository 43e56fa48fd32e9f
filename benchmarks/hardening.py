"""Every defence against every text attack on one dataset: the table behind the default.

    python benchmarks/hardening.py --dataset beauty --out runs/hardening-beauty

Runs `examples/hardening-DATASET.toml` in that folder (it resumes), then trains one epoch of
each arm for its cost, and writes `results/hardening-DATASET.json`.
"""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import common

SHIPPED = "default"
METHOD = """`hardrank run examples/hardening-{dataset}.toml`: {protocol}. Seeds {seeds}: base, \
then every arm goes on from it with the same data, steps and a fresh optimiser; `control` \
differs from the base by these epochs alone. Targets: rare items (2 to 5 training events) and \
new ones, 10 of each and seed (Online Retail: 6), kept out of every training pool. Attacks see \
the arm they attack (white box where they can use it), 3 words or a whole title, 60 queries; \
exposure in the top 10 of all test users. gain: mean exposure after less before; effect: 1 - \
gain / gain of the control, pooled over targets and seeds, bootstrap interval. price: relative \
loss of clean NDCG@10 against the control, pooled over users and seeds. `discrete` met copies, \
appended titles and stuffing in training, of other items; the other arms met no attacked text. \
cost: CPU seconds of one epoch over the control's, first seed; total adds the base's epochs to \
both. The default was developed on test users of Amazon Beauty and Amazon Industrial with seed 0, \
other targets and other hidden items (5 %); then its rule for the strength of popularity was \
mended twice after looking at Industrial (seeds 10 to 12, then 20 and 21) and at clean quality \
on Beauty (seeds 10 to 12), so the tables of these two are not untouched. Online Retail was not \
looked at before its table. The strength itself is chosen on each dataset's validation data."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", choices=("beauty", "industrial", "online-retail"), default="industrial"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    report(asked.dataset, asked.out or Path("runs") / f"hardening-{asked.dataset}")


def report(dataset: str, folder: Path) -> None:
    from hardrank.context import RunContext
    from hardrank.experiment import run_experiment
    from hardrank.experiment.spec import Experiment, load_experiment

    path = common.ROOT / "examples" / f"hardening-{dataset}.toml"
    experiment = load_experiment(path)
    assert isinstance(experiment, Experiment)
    run = RunContext(folder=folder)
    found = run_experiment(experiment, run).findings
    model = experiment.model.kind
    table = Table(found, model)
    arms = ["control", *(arm.name for arm in experiment.hardenings())]
    costs = cost(experiment, run, arms)
    rows = {arm: table.arm(arm) | {"cost": costs[arm]} for arm in arms}
    rows |= {label: table.beside(f"{label}/base") for label in experiment.beside}
    strongest = table.strongest()
    shipped = rows[SHIPPED]
    effect = shipped["effect"][strongest]
    price = shipped["price"]
    common.write_result(
        f"hardening-{dataset}",
        claim=(
            f"{dataset}: the default cuts the exposure gain of the strongest text attack "
            f"({strongest}) by {effect['value']:.1%}, at a price of {price['all']['value']:.1%} of "
            f"clean NDCG@10 ({price['tail']['value']:.1%} in the tail, "
            f"{price['cold']['value']:.1%} of new items) and {costs[SHIPPED]['total']:.2f} times "
            "the cost of plain training"
        ),
        command=shlex.join(["python", "benchmarks/hardening.py", *sys.argv[1:]]),
        ratio=effect["value"],
        ratio_means="defence effect on the strongest text attack",
        aim=0.8,
        ratios={"price": price["all"]["value"], "cost_ratio": costs[SHIPPED]["total"]},
        figures={
            "dataset": dataset,
            "strongest": strongest,
            "defence_effect": shipped["effect"],
            "price": price,
            "cost_ratio": costs[SHIPPED],
            "arms": rows,
            "checks": table.failed(),
        },
        method=METHOD.format(
            dataset=dataset, protocol=table.protocol(), seeds=list(experiment.seeds)
        ),
        seeds=experiment.seeds,
    )


class Table:
    """Findings of a run by arm."""

    def __init__(self, findings: Any, model: str) -> None:
        self.findings, self.model = list(findings), model

    def arm(self, arm: str) -> dict[str, Any]:
        subject = f"{self.model}/{arm}"
        row = self.beside(subject)
        if arm != "control":
            row["price"] = {
                f.group: figure(f) for f in self.of(subject, "utility", "price(ndcg@10)")
            }
            row["effect"] = {
                f.trial: figure(f) for f in self.of(subject, "promotion", "defence_effect")
            }
        row["representation"] = self.curves(subject)
        return row

    def beside(self, subject: str) -> dict[str, Any]:
        return {
            "ndcg@10": {f.group: figure(f) for f in self.of(subject, "utility", "ndcg@10")},
            "hr@10": {f.group: figure(f) for f in self.of(subject, "utility", "hr@10")},
            "exposure_before": {
                f.trial: figure(f) for f in self.of(subject, "promotion", "er_before@10")
            },
            "gain": {f.trial: figure(f) for f in self.of(subject, "promotion", "er_gain@10")},
        }

    def curves(self, subject: str) -> dict[str, Any]:
        return {
            goal: {
                f"{f.trial} {f.radius:g}": figure(f)
                for f in self.of(subject, "curve", metric)
                if f.where.get("goal") == goal
            }
            for goal, metric in (("promote", "er_after@10"), ("degrade", "ndcg@10"))
        }

    def strongest(self) -> str:
        """The trial with the largest gain on the control's rare targets."""
        gains = self.of(f"{self.model}/control", "promotion", "er_gain@10")
        rare = [f for f in gains if "new items" not in f.trial]
        return str(max(rare, key=lambda f: f.value or 0.0).trial)

    def failed(self) -> list[str]:
        gates = [f for f in self.findings if f.audit == "gate" and f.value != 1]
        return [
            f"{f.subject} {f.metric} {f.group} {f.trial}: "
            f"{'failed' if f.value == 0 else 'not settled'}: {f.reason}"
            for f in gates
        ]

    def protocol(self) -> str:
        return next(str(f.protocol) for f in self.findings if f.protocol)

    def of(self, subject: str, audit: str, metric: str) -> list[Any]:
        return [
            f
            for f in self.findings
            if f.subject == subject and f.audit == audit and f.metric == metric
        ]


def figure(finding: Any) -> dict[str, Any]:
    return {
        "value": rounded(finding.value),
        "low": rounded(finding.low),
        "high": rounded(finding.high),
        "n": finding.n,
        "per_seed": [rounded(v) for v in finding.per_seed],
        **({} if finding.reliable else {"unreliable": finding.reason}),
    }


def rounded(value: float | None) -> float | None:
    return None if value is None or value != value else round(float(value), 6)


def cost(experiment: Any, run: Any, arms: list[str]) -> dict[str, dict[str, float]]:
    """CPU seconds of one epoch of each arm on the first seed, forging and all, as a multiple
    of the control's; `total`: base and fine-tuning together, as a multiple of the same."""
    from hardrank.experiment.arms import bases, ways_of
    from hardrank.experiment.reading import dataset_of, split_of

    split = split_of(experiment, dataset_of(experiment, run.folder))
    base = next(iter(bases(experiment, split, run)))
    one = replace(experiment.finetune, epochs=1, every=1)
    spent: dict[str, float] = {}
    for name, objective, spec in ways_of(experiment, base, split, run):
        clock = common.Clock()
        replace(spec, training=one).fit(
            split.train, replace(run, seed=base.seed, folder=None), objective=objective,
            start=base.model,
        )  # fmt: skip
        spent[name] = clock.cpu
    epochs, tuned = epochs_of(run.folder / "models" / "training"), experiment.finetune.epochs
    plain = spent["control"]
    return {
        name: {
            "epoch_cpu_seconds": round(spent[name], 2),
            "epoch": round(spent[name] / plain, 3),
            "total": round((epochs * plain + tuned * spent[name]) / ((epochs + tuned) * plain), 3),
        }
        for name in arms
    }


def epochs_of(folder: Path) -> float:
    """Epochs that a base was trained for, on average."""
    done = [json.loads(p.read_text("utf-8"))["epoch"] for p in folder.glob("*/training.json")]
    return sum(done) / len(done)


if __name__ == "__main__":
    main()
