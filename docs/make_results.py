"""Write docs/results.md from finished runs: python docs/make_results.py RUN [RUN ...]

Every number is read from a run's findings.json; nothing is typed by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

HEAD = """# Results on real data

Made by `python docs/make_results.py RUN [RUN ...]` from the findings of the runs named below;
`hardrank report verify RUN` recomputes each number from the run's samples. Values are means
over seeds; brackets are 95 % bootstrap intervals over users or targets and seeds; ± is half the
range between seeds. Protocol: leave-one-out, full ranking of all items the user has not seen,
ties against the model. *Warm* and *cold*: the model trained once more with 5 % of the items
and all their events hidden; cold targets are hidden items, ranked in the whole catalogue.
"""
QUALITY = ("hr@10", "ndcg@10")
LEFT_OUT = {"ml-100k": "This run was made without the file's `[cold]` part."}
"""What a run did not do of its example file."""


def main(folders: list[str]) -> None:
    parts = [HEAD, *(section(Path(f)) for f in folders)]
    Path(__file__).with_name("results.md").write_text("\n".join(parts), "utf-8")


def section(folder: Path) -> str:
    findings = json.loads((folder / "findings.json").read_text("utf-8"))
    run = json.loads((folder / "run.json").read_text("utf-8"))
    seconds = sum(run["durations"].values())
    lines = [
        f"## {run['name']}",
        "",
        f"`hardrank run examples/{run['name']}.toml`; seeds {run['seeds']}; {run['protocol']}.",
        "",
        *quality(findings),
        "",
        *attacks(findings, run["model"]),
        "",
        LEFT_OUT.get(run["name"], ""),
        f"Last pass of the run: {seconds:.0f} s, resumed stages not counted.",
        "",
    ]
    return "\n".join(lines)


def quality(findings: list[dict[str, Any]]) -> list[str]:
    found = {
        (f["subject"], f["metric"], f["group"]): f for f in findings if f["audit"] == "utility"
    }
    names = list(dict.fromkeys(s for s, _, _ in found if s.endswith("/base")))
    names.sort(key=lambda s: -(found[s, "ndcg@10", "all"]["value"] or 0))
    lines = [
        "| model | HR@10 | NDCG@10 | warm HR@10 / NDCG@10 | cold HR@10 / NDCG@10 |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        label = name.removesuffix("/base")
        cells = [full(found[name, metric, "all"]) for metric in QUALITY]
        for group in ("warm", "cold"):
            twin = [found.get((f"{label}/hidden", metric, group)) for metric in QUALITY]
            cells.append(" / ".join(short(f) for f in twin if f) or "")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def attacks(findings: list[dict[str, Any]], model: str) -> list[str]:
    lines = [
        f"Control and hardened `{model}` (same base, data, steps, optimiser restarts, seeds):",
        "",
        "| | control | hardened | change |",
        "|---|---|---|---|",
    ]
    for group in ("all", "head", "mid", "tail"):
        pair = [pick(findings, f"{model}/{arm}", "ndcg@10", group=group) for arm in ARMS]
        price = pick(findings, f"{model}/hardened", "price(ndcg@10)", group=group)
        if all(pair) and price:
            change = percent(price, sign=-1)
            row = " | ".join(full(f) for f in pair if f)
            lines.append(f"| clean NDCG@10, {group} | {row} | {change} |")
    trials = dict.fromkeys(f["trial"] for f in findings if f["audit"] == "promotion")
    for trial in trials:
        for metric, name in (("er_before@10", "ER@10 before"), ("er_after@10", "ER@10 after")):
            pair = [pick(findings, f"{model}/{arm}", metric, trial=trial) for arm in ARMS]
            effect = pick(findings, f"{model}/hardened", "defence_effect", trial=trial)
            shown = ""
            if metric == "er_after@10" and effect and effect["value"] is not None:
                shown = f"{percent(effect)} of the gain removed"
            row = " | ".join(full(f) for f in pair if f)
            lines.append(f"| {trial}: {name} | {row} | {shown} |")
    lines += curve_rows(findings, model)
    failed = [
        f"{f['metric'].replace('_', ' ')} ({f['group']}): {f['reason']}"
        for f in findings
        if f["audit"] == "gate" and f["subject"] == f"{model}/hardened" and f["value"] != 1
    ]
    lines += [
        "",
        "Gates that did not pass on the hardened arm: " + ("; ".join(failed) or "none") + ".",
    ]
    return lines


def curve_rows(findings: list[dict[str, Any]], model: str) -> list[str]:
    lines = []
    strong = [f for f in findings if f["audit"] == "curve" and f["trial"] == "pgd"]
    keys = dict.fromkeys(
        (f["where"]["goal"], f["where"]["site"], f["metric"], f["radius"])
        for f in strong
        if f["metric"] in ("er_after@10", "ndcg@10")
    )
    for goal, site, metric, radius in keys:
        pair = [
            next(
                f
                for f in strong
                if f["subject"] == f"{model}/{arm}"
                and (f["where"]["goal"], f["where"]["site"], f["metric"], f["radius"])
                == (goal, site, metric, radius)
            )
            for arm in ARMS
        ]
        row = " | ".join(full(f) for f in pair)
        lines.append(f"| PGD {goal}, {site}, radius {radius:g}: {metric} | {row} | |")
    return lines


ARMS = ("control", "hardened")


def pick(
    findings: list[dict[str, Any]], subject: str, metric: str, **wanted: str
) -> dict[str, Any] | None:
    want = {"subject": subject, "metric": metric, "group": "all", **wanted}
    return next((f for f in findings if all(f[k] == v for k, v in want.items())), None)


def short(finding: dict[str, Any]) -> str:
    return "-" if finding["value"] is None else f"{finding['value']:.4f}{spread(finding)}"


def full(finding: dict[str, Any]) -> str:
    if finding["value"] is None:
        return "-"
    if finding["low"] is None or finding["high"] is None:
        return short(finding)
    return f"{short(finding)} [{finding['low']:.4f}, {finding['high']:.4f}]"


def spread(finding: dict[str, Any]) -> str:
    values = finding["per_seed"]
    return f" ±{(max(values) - min(values)) / 2:.4f}" if len(values) > 1 else ""


def percent(finding: dict[str, Any], sign: int = 1) -> str:
    if finding["value"] is None:
        return "-"
    if finding["low"] is None or finding["high"] is None:
        return f"{100 * sign * finding['value']:+.1f} % (no interval)"
    low, high = sorted(100 * sign * finding[k] for k in ("low", "high"))
    return f"{100 * sign * finding['value']:+.1f} % [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    main(sys.argv[1:])
