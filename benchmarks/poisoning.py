"""Fake users: every profile attack, detector and defence of a poisoning experiment in one table.

    python benchmarks/poisoning.py
    python benchmarks/poisoning.py --experiment demotion

Runs `examples/poisoning/<experiment>.toml` in a run folder (it resumes) and writes
`results/poisoning.json` for `ml-100k`, the protocol of AUSH and Leg-UP, and
`results/poisoning_<experiment>.json` for any other. Two processes may share the work: start one
with `--seeds 0` and one with `--seeds 1 2` in the same folder first; what they made is kept.
"""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import common

MAIN = "ml-100k"
OWN = "interest-gan"
BLIND = "interest-gan(beta=0.0)"
METHOD = """`hardrank attack poison {file}`: {protocol}. {profiles} fake \
users of at most {events} events each, one target at a time ({targets}), seeds {seeds}. T-HR@k: \
share of real users who never touched the target whose top k holds it; gain: after less before, \
mean over targets and seeds with a bootstrap interval. Victims are trained anew on each log. \
Learned attacks see the log, never the victim: they climb a surrogate of their own. Detectors \
that learn are trained on logs of the other families of attacks, for other targets, and figures \
are of fake users and of the half of the real users whose labels they did not learn. A defended \
arm with a detector uses one that did not meet the family that attacks it; its threshold flags \
1 % of the users of the log before the attack. An arm with `growth` caps what users who are not \
in the earlier log give an item. The adaptive attacker has the detector that met every family, \
or knows of the cap, and picks, for each target, the best of all attacks and the adaptive ones: \
`defence_effect` compares that with the best attack on the undefended victim. price: relative \
loss of clean NDCG@10, real users."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment", default=MAIN, help="a file of examples/poisoning")
    parser.add_argument("--out", type=Path, help="run folder; default runs/poisoning-<experiment>")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", help="only make these seeds' cells")
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    report(
        asked.experiment, asked.out or Path("runs") / f"poisoning-{asked.experiment}", asked.seeds
    )


def report(name: str, folder: Path, seeds: list[int] | None) -> None:
    from hardrank.context import RunContext
    from hardrank.experiment.poison import run_poisoning
    from hardrank.experiment.poison_spec import load_poisoning

    file = Path("examples") / "poisoning" / f"{name}.toml"
    experiment = load_poisoning(common.ROOT / file)
    if seeds:
        run_poisoning(replace(experiment, seeds=tuple(seeds)), RunContext(folder=folder))
        return
    found = run_poisoning(experiment, RunContext(folder=folder)).findings
    goal = experiment.threat.goal.kind
    table = Table(found, k=experiment.ks[-1], demotes=goal == "demote")
    figures = table.figures()
    victims = [s for s in figures["exposure"] if s.endswith("/control")]
    best = table.best_defence()
    budget = experiment.threat.budget
    targets = json.loads((folder / "run.json").read_text("utf-8"))["targets"]
    common.write_result(
        "poisoning" if name == MAIN else f"poisoning_{name.replace('-', '_')}",
        claim=table.claim(best, victims),
        command=shlex.join(["python", "benchmarks/poisoning.py", *sys.argv[1:]]),
        ratio=best["effect"]["value"] if best else None,
        ratio_means="gain in T-HR@50 of the strongest attack that the defence takes away, "
        "attackers who know it among them; the least protected victim",
        aim=0.5,
        ratios={
            "beta_zero_loses_gain": table.lost_share("ease/control"),
            "defence_effect": best["effect"]["value"] if best else None,
            "price": best["price"]["value"] if best else None,
        },
        figures=figures,
        method=METHOD.format(
            file=file, protocol=found[0].protocol, profiles=budget.profiles,
            events=budget.profile_events, targets=", ".join(targets),
            seeds=list(experiment.seeds),
        ),
        seeds=experiment.seeds,
    )  # fmt: skip


class Table:
    """Findings of a run by victim and attack."""

    def __init__(self, findings: Any, k: int, *, demotes: bool = False) -> None:
        self.findings, self.k, self.demotes = list(findings), k, demotes

    def of(self, **wanted: Any) -> list[Any]:
        return [f for f in self.findings if all(getattr(f, n) == v for n, v in wanted.items())]

    def figures(self) -> dict[str, Any]:
        subjects = dict.fromkeys(f.subject for f in self.of(audit="utility"))
        return {
            "exposure": {s: self.exposure(s) for s in subjects},
            "ndcg@10": {s: self.group(s, "ndcg@10") for s in subjects},
            "price": {s: self.group(s, "price(ndcg@10)") for s in subjects
                      if not s.endswith("/control")},
            "worst": {s: self.worst(s) for s in subjects},
            "beyond_simple": self.beyond(),
            "beta_zero_loses_gain": self.lost_without_term(),
            "detectors": {n: self.detectors(n) for n in ("auroc", "ap", "recall")},
            "disguise": self.disguise(),
            "checks_failed": sorted({f"{f.subject}: {f.metric}: {f.reason}"
                                     for f in self.of(audit="gate") if f.value == 0}),
        }  # fmt: skip

    def exposure(self, subject: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for f in self.of(subject=subject, audit="promotion"):
            row = out.setdefault(f.trial, {})
            if f.metric.startswith(("er_after", "shift", "defence_effect", "er_gain@50")):
                row[f.metric] = figure(f)
        for f in self.of(subject=subject, metric=f"target_ndcg@{self.k}"):
            out[f.trial][f.metric] = figure(f)
        for f in self.of(subject=subject, audit="poisoned"):
            out[f.trial][f.metric] = figure(f)
        return out

    def group(self, subject: str, metric: str) -> dict[str, Any]:
        return {
            f.group: figure(f) for f in self.of(subject=subject, audit="utility", metric=metric)
        }

    def worst(self, subject: str) -> dict[str, Any]:
        return {
            f"{f.trial}: {f.metric}": figure(f)
            for f in self.of(subject=subject, audit="worst-case")
        }

    def beyond(self) -> dict[str, Any]:
        return {
            f"{f.subject}: {f.trial} {f.metric}": figure(f)
            for f in self.findings
            if f.metric.startswith("difference@")
        }

    def gain(self, subject: str, trial: str) -> float | None:
        found = self.of(subject=subject, trial=trial, metric=f"er_gain@{self.k}")
        return found[0].value if found else None

    def lost_without_term(self) -> dict[str, Any]:
        """Victim -> gain of our generator with and without the recommender's term, and of
        random profiles."""
        controls = [f.subject for f in self.of(audit="utility", metric="ndcg@10", group="all")
                    if f.subject.endswith("/control")]  # fmt: skip
        return {
            s: {"with": self.gain(s, OWN), "without": self.gain(s, BLIND),
                "random": self.gain(s, "random-profiles")}
            for s in controls
        }  # fmt: skip

    def lost_share(self, subject: str) -> float | None:
        """Of our generator's gain on one victim: how much is gone without the term."""
        ours, blind = self.gain(subject, OWN), self.gain(subject, BLIND)
        return None if not ours or blind is None else 1 - blind / ours

    def detectors(self, figure_name: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for f in self.of(audit=f"detection-{figure_name}"):
            out.setdefault(f.subject, {})[f.trial] = figure(f)
        return out

    def disguise(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for f in self.findings:
            if f.audit.startswith("disguise-"):
                out.setdefault(f.trial, {})[f.metric] = figure(f)
        return out

    def best_defence(self) -> dict[str, Any] | None:
        """The defence with the largest effect on its least protected victim, the adaptive attacker
        included, among those that cost no victim 2 % of clean NDCG@10 or more."""
        arms = self.defences()
        cheap = {n: rows for n, rows in arms.items() if all(p.value < 0.02 for _, _, p in rows)}
        if not cheap:
            return None
        name = max(cheap, key=lambda n: min(row[0] for row in cheap[n]))
        rows = cheap[name]
        least, dearest = min(rows, key=lambda r: r[0]), max(rows, key=lambda r: r[2].value)
        return {
            "arm": name, "victims": [f.subject for _, f, _ in rows],
            "effect": figure(least[1]), "price": figure(dearest[2]),
        }  # fmt: skip

    def weaker(self, best: str) -> dict[str, float]:
        """Every other defence -> its effect on its least protected victim."""
        arms = self.defences()
        return {name: min(row[0] for row in rows) for name, rows in arms.items() if name != best}

    def defences(self) -> dict[str, list[tuple[float, Any, Any]]]:
        """Arm -> (effect, its finding, price) of each victim, adaptive attackers included."""
        arms: dict[str, list[tuple[float, Any, Any]]] = {}
        for f in self.of(audit="worst-case", metric=f"defence_effect@{self.k}"):
            adaptive = self.of(subject=f.subject, audit="worst-case",
                               trial="all attacks and adaptive")  # fmt: skip
            if f.value is None or (adaptive and f.trial == "all attacks"):
                continue
            (price,) = self.of(subject=f.subject, audit="utility", metric="price(ndcg@10)",
                               group="all")  # fmt: skip
            arms.setdefault(f.subject.partition("/")[2], []).append((f.value, f, price))
        return arms

    def claim(self, best: dict[str, Any] | None, victims: list[str]) -> str:
        parts = []
        for victim in victims:
            rows = [f for f in self.of(subject=victim, metric=f"er_after@{self.k}",
                                       audit="promotion") if f.value is not None]  # fmt: skip
            top = (min if self.demotes else max)(rows, key=lambda f: f.value)
            parts.append(f"{victim.partition('/')[0]} {top.trial} {top.value:.1%}")
        said = f"strongest attack by victim, T-HR@{self.k}: " + ", ".join(parts)
        adapted = any(f.trial == "all attacks and adaptive" for f in self.findings)
        knows = ", the adaptive ones included" if adapted else ", no attacker knowing it"
        if best:
            said += (
                f"; the defence '{best['arm']}' takes away at least {best['effect']['value']:.0%} "
                f"of the strongest attack's gain{knows}, for at most "
                f"{best['price']['value']:.1%} of clean NDCG@10"
            )
            for name, least in self.weaker(best["arm"]).items():
                said += f"; '{name}' at least {least:.0%}"
            return said
        for name, found in self.defences().items():
            effect, price = min(r[0] for r in found), max(r[2].value for r in found)
            said += (
                f"; '{name}' takes away {effect:.0%}{knows}, for {price:.1%} of clean NDCG@10: "
                "too dear to count"
            )
        return said


def figure(f: Any) -> dict[str, Any]:
    """Four decimals tell a user in ten thousand."""
    made = {"value": _round(f.value), "low": _round(f.low), "high": _round(f.high),
            "per_seed": [_round(v) for v in f.per_seed]}  # fmt: skip
    return made if f.reliable else made | {"reliable": False}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


if __name__ == "__main__":
    main()
