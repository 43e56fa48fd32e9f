"""Fake reviews: what the best writer gains with models that read reviews, and who finds it.

    python benchmarks/fake_reviews.py

Runs `examples/reviews/fake-reviews.toml` (or another file) as `hardrank attack reviews` does and
keeps its figures.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import common

METHOD = """{data} ({reviews:,} reviews): leave-one-out; of each seed {targets} targets \
('{items}'), at most 500 test users, and models trained anew; each target alone gets {budget} \
reviews of at most {words} words. Gain: share of eligible users with the target in their top 10, \
after less before; 'over_control' less the gain of as many real reviews moved to the target. \
Intervals draw seeds and targets. `item-knn` reads no text and must not move. Detectors: fake \
against held-out real reviews of the same opinion about other items; 'left-out' never saw the \
writer, 'known' was trained on all plain writers, 'adaptive' is known to the writer, who publishes \
one of twenty reviews, 'retrained' then learned from his reviews, too; intervals draw seeds and \
items. 'deceptive': real deceptive reviews of hotels (Ott et al., 2011 and 2013)."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    example = common.ROOT / "examples" / "reviews" / "fake-reviews.toml"
    parser.add_argument("--file", type=Path, default=example)
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the file")
    parser.add_argument("--out", type=Path, help="run folder: the report of each target and test")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    import os

    os.environ.setdefault("HARDRANK_DATA", str(common.data_folder()))
    from hardrank.context import RunContext
    from hardrank.experiment.fake_reviews_spec import load_fake_reviews, run_file

    loaded = load_fake_reviews(asked.file)
    if asked.seeds:
        loaded = replace(loaded, seeds=tuple(asked.seeds))
    clock = common.Clock()
    found = run_file(loaded, RunContext(folder=asked.out)).to_json()
    if any(not c["unmoved"] for c in found["controls"]):
        sys.exit(f"a model that reads no reviews has moved: {found['controls']}")
    report(loaded, found, clock)


def report(loaded: Any, found: dict[str, Any], clock: common.Clock) -> None:
    read = [e for e in found["effects"] if e["reads"]]
    best = {m: strongest([e for e in read if e["model"] == m]) for m in names(read)}
    worst = max(best.values(), key=lambda e: e["over_control"][0])
    caught = {
        how: found_best(found, worst["attack"], how) for how in ("known", "left-out", "adaptive")
    }
    told = "; ".join(
        f"{m}: {e['attack']} gains {e['gain'][0]:.4f} ER@10 ({e['gain'][1]:.4f} to "
        f"{e['gain'][2]:.4f}), {e['over_control'][0]:.4f} ({e['over_control'][1]:.4f} to "
        f"{e['over_control'][2]:.4f}) beyond moved real reviews"
        for m, e in best.items()
    )
    spoken = ", ".join(
        f"{100 * j['recall_at_1_percent_fpr'][0]:.0f}% of it {how} ({j['detector']}, AUROC "
        f"{j['auroc'][0]:.3f})"
        for how, j in caught.items() if j
    )  # fmt: skip
    still = ", ".join(c["model"] for c in found["controls"])
    common.write_result(
        "fake_reviews",
        claim=f"{told}; {still}: not moved at all; at 1% false alarms the best detector finds "
        f"{spoken}",
        command=shlex.join(["python", "benchmarks/fake_reviews.py", *sys.argv[1:]]),
        ratio=worst["over_control"][0],
        ratio_means="gain in ER@10 of the strongest writer beyond that of moved real reviews, "
        f"{worst['model']}",
        figures={"seconds": {"cpu": round(clock.cpu), "wall": round(clock.wall)}, **found},
        method=method(loaded),
        seeds=loaded.seeds,
    )


def names(effects: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(e["model"] for e in effects))


def strongest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The first row is the control."""
    return max(rows[1:], key=lambda e: e["over_control"][0])


def found_best(found: dict[str, Any], attack: str, how: str) -> dict[str, Any] | None:
    """The detector that finds most at 1 % false alarms."""
    rows = [j for j in found["generated"] if (j["generator"], j["trained"]) == (attack, how)]
    return max(rows, key=lambda j: j["recall_at_1_percent_fpr"][0], default=None)


def method(loaded: Any) -> str:
    threat, data = loaded.threat, loaded.data.load()
    return METHOD.format(
        data=data.name, reviews=data.reviews.height, targets=threat.goal.items.split(":")[-1],
        items=threat.goal.items, budget=threat.budget.reviews, words=threat.budget.words,
    )  # fmt: skip


if __name__ == "__main__":
    main()
