"""Our text attacks beside TextAttack's recipes: one trained victim, one goal, one budget.

    python benchmarks/text_attack_vs_textattack.py --attacks deepwordbug pwws textfooler

Each name is one of TextAttack's recipes and the kind of our attack that plays against it;
`deepwordbug=greedy-words` sets another of ours against a recipe, and what follows the `=` may
be JSON: `pwws={"kind": "composed", ...}`. The victim is the bundle that `--bundle` names; by
default runs/text_attack_victim, which is trained first if it is not there (three minutes).
`--dry` prints the figures and writes no result.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
import text_victim

RECIPES = ("deepwordbug", "pwws", "textfooler")
METHOD = """The victim: our text-sequence recommender (frozen MiniLM on title and categories) \
trained on Amazon Beauty, full catalogue of {items:,} items. Targets: {count} items with 2 to 5 \
training events ({selection}, drawn by seed {seed}). The attacker writes the title, sees the \
scores that {panel} users give it and the score it takes to enter each one's top {k}, and wants it \
in the top {k} of at least {until:.1%} of those who have not bought it (a list of {k} has room for \
{room:.1%} of the catalogue, so an average item is in that share of lists); then both sides stop. \
Both climb the same value, the mean sigmoid of score minus bar over the same temperature (ours its \
logarithm). At most {words} words changed and {queries} titles asked for a target; the \
standing title is free on both sides. TextAttack runs in a process and environment of its own on \
the same arrays and encoder weights, re-computed there and compared on {probes} titles before it \
starts (largest difference of a score {difference:.1e}). Its recipes are its own (search, word \
ranking, stop words, character swaps), but for what has to be downloaded: synonyms and neighbours \
of a word are those of our transformation (those of one word, as its own swaps give), and sentence \
encoders and taggers constrain nobody; the stop words are a list of ours. {threads} thread(s) \
each, one after the other, recipe by recipe; time is CPU seconds of the attack alone, ours with \
the referee's checks. What both sides return is counted here: words by the referee, ranks by the \
recommender, similarity by weighted character n-grams, which is neither side's encoder. A target \
that is there already is left out of all sums. Headline ratios are of sums over all recipes; \
query_ratio_at_equal_success caps the queries of a target, on each side, where it has just as many \
successes as the side that has fewer."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attacks", nargs="+", default=["deepwordbug", "pwws", "textfooler"])
    parser.add_argument("--bundle", type=Path, default=text_victim.DEFAULT)
    parser.add_argument("--targets", default="rare:50:2-5")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--until", type=float, default=0.01)
    parser.add_argument("--words", type=int, default=5)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--play", help=argparse.SUPPRESS)  # our side, in a process of its own
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    os.environ.setdefault("HARDRANK_DATA", str(common.data_folder()))
    stage = text_victim.scene(
        asked.bundle, selection=asked.targets, k=asked.k, until=asked.until, words=asked.words,
        queries=asked.queries, seed=asked.seed,
    )  # fmt: skip
    if asked.play:
        print(json.dumps(our_side(stage, asked.play, asked.seed)))
    else:
        measure(stage, [pair(name) for name in asked.attacks], asked)


def pair(name: str) -> tuple[str, str]:
    """(recipe of TextAttack, our attack as JSON)."""
    recipe, _, ours = name.partition("=")
    if recipe not in RECIPES:
        sys.exit(f"no recipe '{recipe}'; there are: {', '.join(RECIPES)}")
    ours = ours or recipe
    return recipe, ours if ours.startswith("{") else json.dumps({"kind": ours})


def measure(stage: text_victim.Scene, pairs: list[tuple[str, str]], asked: Any) -> None:
    compared, versions, difference = {}, dict[str, str](), 0.0
    before, judged = standing(stage), judge(stage)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = {recipe: table(stage, recipe) for recipe, _ in pairs}
        text_victim.write_exchange(folder, stage, {"tables": tables})
        os.environ |= {
            "NLTK_DATA": str(common.HERE / "peers" / "nltk_data"),
            "TA_CACHE_DIR": str(common.PEERS / "textattack" / "cache"),
            "HF_HUB_OFFLINE": "1",
        }
        for recipe, ours in pairs:
            theirs = common.run_peer(
                "textattack", "textattack_side.py", str(folder), recipe, "--seed", str(asked.seed)
            )
            played = run_ours(ours, asked)
            assert theirs["threads"] == played["threads"] == asked.threads
            versions, difference = theirs["versions"], theirs["largest_difference"]
            sides = {"textattack": theirs["rows"], "hardrank": played["rows"]}
            rows = {s: [judged(row) for row in found] for s, found in sides.items()}
            label = recipe if played["label"] == recipe else f"{recipe} / {played['label']}"
            compared[label] = comparison(rows, before)
    ratios = over(
        {k: [c["sums"][k] for c in compared.values()] for k in ("hardrank", "textattack")}
    )
    figures = {"standing": before, "attacks": compared}
    ratios = {name: x for name, x in ratios.items() if x is not None}
    if asked.dry:
        short = {k: {n: v for n, v in c.items() if n != "rows"} for k, c in compared.items()}
        print(json.dumps({"ratios": ratios, "attacks": short}, indent=1))
        return
    common.write_result(
        "text_attack_vs_textattack",
        claim=claim(ratios, compared),
        command=shlex.join(["python", "benchmarks/text_attack_vs_textattack.py", *sys.argv[1:]]),
        ratio=ratios["time_ratio"],
        ratio_means="CPU seconds, ours over TextAttack 0.3.11",
        aim=0.1,
        ratios=ratios,
        figures=figures,
        method=METHOD.format(
            count=len(stage.targets), selection=asked.targets, seed=asked.seed,
            items=stage.model.items.height, room=asked.k / stage.model.items.height, k=asked.k,
            panel=text_victim.PANEL, until=asked.until, words=asked.words, queries=asked.queries,
            probes=text_victim.PROBES, difference=difference, threads=asked.threads,
        ),
        seeds=(asked.seed,),
        peer_versions=versions,
    )  # fmt: skip


def table(stage: text_victim.Scene, recipe: str) -> Any:
    """What may stand in place of a word, for recipes that need to be told."""
    if recipe == "deepwordbug":
        return None
    return text_victim.candidates(stage, parsed(json.dumps({"kind": recipe})).words)


def run_ours(attack: str, asked: Any) -> dict[str, Any]:
    """Our side in a new process: nothing that an earlier attack encoded is remembered."""
    command = [
        sys.executable, __file__, "--play", attack, "--bundle", str(asked.bundle),
        "--targets", asked.targets, "--k", str(asked.k), "--until", str(asked.until),
        "--words", str(asked.words), "--queries", str(asked.queries), "--seed", str(asked.seed),
        "--threads", str(asked.threads),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def parsed(attack: str) -> Any:
    """Our attack, from JSON."""
    from pydantic import TypeAdapter

    from hardrank.attacks import TextAttack

    return TypeAdapter(TextAttack).validate_json(attack)


def our_side(stage: text_victim.Scene, attack: str, seed: int) -> dict[str, Any]:
    import torch

    from hardrank.threats import ListingCourt, label

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    spec = parsed(attack)
    court = ListingCourt.of(stage.model, stage.split.train, stage.panel, None)
    title = {t: stage.split.train.items["title"][stage.split.train.item_rows[t]] or ""
             for t in stage.targets}  # fmt: skip
    stage.model.source.encoder.encode(["the first text loads parts of torch"], keep=False)
    rows = []
    for target in stage.targets:
        cpu, wall = time.process_time(), time.perf_counter()
        match = court.play(spec, stage.threat, target, seed)
        rewrite = match.patch.rewrites().get(target)
        rows.append(
            {
                "target": target,
                "text": rewrite.text if rewrite else title[target],
                "queries": match.queries,
                "cpu_seconds": time.process_time() - cpu,
                "wall_seconds": time.perf_counter() - wall,
            }
        )
    return {"rows": rows, "label": label(spec), "threads": torch.get_num_threads()}


def standing(stage: text_victim.Scene) -> dict[str, Any]:
    """Of the targets as they stand."""
    lists = text_victim.lists(stage)
    out = {}
    for target in stage.targets:
        row = stage.split.train.item_rows[target]
        ranks = lists.ranks(row, lists.standing[lists.eligible(row), row][:, None])[:, 0]
        out[target] = {
            "title": stage.split.train.items["title"][row],
            "mean_rank": float(ranks.mean()),
            "exposure": (exposure := float((ranks <= stage.threat.goal.k).mean())),
            "there": exposure >= stage.threat.goal.until,
        }
    return out


def judge(stage: text_victim.Scene) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Rows of either side -> the same with what we count of their texts."""
    import numpy as np

    from hardrank.audits.judge import CharacterJudge
    from hardrank.data import Slate
    from hardrank.threats import count_edit

    lists, similar = text_victim.lists(stage), CharacterJudge.fit(text_victim.texts_of(stage))
    train, goal = stage.split.train, stage.threat.goal

    def judged(row: dict[str, Any]) -> dict[str, Any]:
        item = train.item_rows[row["target"]]
        title = train.items["title"][item] or ""
        panel = stage.panel.take(lists.eligible(item))
        slate = Slate(items=np.array([item]), texts=(row["text"],))
        ranks = lists.ranks(item, stage.model.score(panel, slate))[:, 0]
        words = count_edit(title, row["text"]).words
        exposure = float((ranks <= goal.k).mean())
        return row | {
            "mean_rank": float(ranks.mean()),
            "exposure": exposure,
            "words": words,
            "similarity": float(similar(title, [row["text"]])[0]),
            "success": exposure >= goal.until and words <= stage.threat.budget.words,
        }

    return judged


def comparison(rows: dict[str, list[dict[str, Any]]], before: dict[str, Any]) -> dict[str, Any]:
    """Both sides' sums and means over the targets that were not there already, their ratios,
    and the rows."""
    open_ = {target for target, b in before.items() if not b["there"]}
    sums, means = {}, {}
    for side, found in rows.items():
        found = [r for r in found if r["target"] in open_]
        gain = [before[r["target"]]["mean_rank"] - r["mean_rank"] for r in found]
        changed = [r for r in found if r["words"]]
        sums[side] = {
            "targets": len(found),
            "success": sum(r["success"] for r in found),
            "rank_gain": sum(gain),
        } | {k: sum(r[k] for r in found) for k in ("queries", "cpu_seconds", "wall_seconds")}
        means[side] = {k: s / len(found) for k, s in sums[side].items() if k != "targets"} | {
            "exposure_gain": mean([r["exposure"] - before[r["target"]]["exposure"] for r in found]),
            "words_of_changed": mean([r["words"] for r in changed]),
            "similarity_of_changed": mean([r["similarity"] for r in changed]),
        }
    equal = min(s["success"] for s in sums.values())
    for side, found in rows.items():
        sums[side]["queries_at_equal"] = queries_for(
            equal, [r for r in found if r["target"] in open_]
        )
    ratios = over({side: [s] for side, s in sums.items()})
    short = {
        side: [{k: round(v, 4) if isinstance(v, float) else v for k, v in r.items()} for r in found]
        for side, found in rows.items()
    }
    return {"means": means, "ratios": ratios, "sums": sums, "rows": short}


def queries_for(successes: int, rows: list[dict[str, Any]]) -> int:
    """What the targets together cost under the lowest cap on a target's queries that still
    gives so many successes: sides that try longer are compared at equal success."""
    costs = sorted(r["queries"] for r in rows if r["success"])
    cap = costs[successes - 1] if successes else 0
    return sum(min(r["queries"], cap) for r in rows)


def over(sums: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    names = {
        "success_ratio": "success", "query_ratio": "queries", "time_ratio": "cpu_seconds",
        "wall_ratio": "wall_seconds", "rank_gain_ratio": "rank_gain",
        "query_ratio_at_equal_success": "queries_at_equal",
    }  # fmt: skip
    return {
        name: ratio(sum(s[k] for s in sums["hardrank"]), sum(s[k] for s in sums["textattack"]))
        for name, k in names.items()
    }


def ratio(ours: float, theirs: float) -> float | None:
    """None where the peer has nothing to be compared with."""
    return ours / theirs if theirs else None


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def claim(ratios: dict[str, Any], compared: dict[str, Any]) -> str:
    each = "; ".join(
        f"{name}: {m['hardrank']['success']:.0%} against {m['textattack']['success']:.0%} of"
        f" targets with {m['hardrank']['queries']:.0f} against {m['textattack']['queries']:.0f}"
        " queries each"
        for name, m in ((name, c["means"]) for name, c in compared.items())
    )
    return (
        f"promotion by rewriting titles, ours against TextAttack's recipes: {each}; all"
        f" together {ratios['query_ratio']:.2f} of its queries and {ratios['time_ratio']:.2f} of"
        " its CPU time"
    )


if __name__ == "__main__":
    main()
