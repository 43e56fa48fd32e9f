"""Share of items that a smoothed model certifies against promotion by 1, 2 and 3 words.

    python benchmarks/certificates.py --dataset beauty --keep 0.1 0.2 0.3 0.5

The base is the bundle that `--bundle` names, or is trained first (`--model` spells another
spec as JSON). `--dry` prints the figures and writes no result.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import common

METHOD = """{dataset}, leave-one-out, {items:,} items. The base: {base}. Smoothed over the words \
of the title alone; other fields stand (place {place}, softness {softness}, {masks} masks served). \
Certified: {count} items ({selection}, drawn by seed {seed}), for {users:,} test users, with \
{draws} fresh masks an item, against any rewrite of 1, 2 or 3 words of the title, out of the \
top {k} of the served ranking in the mean over masks, all bounds together at confidence \
{confidence:.3%}. `users` is the mean share of the users who have not seen the item for whom it \
is certified, `items` the share of the items (not on 1 % of lists already) that no such rewrite \
brings onto 1 % of the lists. Clean NDCG@10 on the same users, full ranking of unseen items; no \
model was told of the masks in training."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=("beauty", "industrial"), default="beauty")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--model", type=json.loads)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--masks", type=int, default=32)
    parser.add_argument("--place", type=int, default=100)
    parser.add_argument("--softness", type=float, default=0.25)
    parser.add_argument("--targets", default="rare:100:2-5")
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--alpha", type=float, default=0.001)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dry", action="store_true")
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    measure(asked)


def measure(asked: argparse.Namespace) -> None:
    import numpy as np

    from hardrank.context import derive
    from hardrank.data.splits import LeaveOneOut
    from hardrank.threats.select import draw, parse

    split = LeaveOneOut().split(source(asked.dataset).load())
    spec, base = victim(asked, split)
    rng = np.random.default_rng(derive(asked.seed, "certificates"))
    items = draw(parse(asked.targets), split.train, rng)
    users = min(asked.users, len(split.test))
    test = split.test.take(np.sort(rng.choice(len(split.test), size=users, replace=False)))
    plain = quality(base, test)
    print(f"base: NDCG@10 {plain:.4f}", file=sys.stderr)
    rows = [certified(asked, spec, base, test, items, keep) for keep in asked.keep]
    if asked.dry:
        print(json.dumps({"base_ndcg@10": plain, "smoothed": rows}, indent=1))
        return
    best = max(rows, key=lambda row: (row["items"]["1"], row["ndcg@10"]))
    shares = ", ".join(f"{best['items'][r]:.0%}" for r in ("1", "2", "3"))
    common.write_result(
        f"certificates_{asked.dataset}",
        claim=(
            f"{shares} of rare items certified against promotion by 1, 2, 3 words with keep "
            f"{best['keep']:g}, at NDCG@10 {best['ndcg@10']:.4f} against {plain:.4f} unsmoothed"
        ),
        command=shlex.join(["python", "benchmarks/certificates.py", *sys.argv[1:]]),
        ratio=best["items"]["1"],
        ratio_means="share of items certified at one word, best keep",
        figures={"base_ndcg@10": plain, "smoothed": rows},
        method=METHOD.format(
            dataset=asked.dataset, items=split.train.n_items, base=spec, place=asked.place,
            softness=asked.softness, masks=asked.masks, count=len(items), users=users,
            selection=asked.targets, seed=asked.seed, draws=asked.draws, k=asked.k,
            confidence=1 - asked.alpha,
        ),
        seeds=(asked.seed,),
    )  # fmt: skip


def certified(
    asked: argparse.Namespace, spec: Any, base: Any, test: Any, items: Any, keep: float
) -> dict[str, Any]:
    """One row: quality and certificates at one probability of keeping a word."""
    from hardrank.audits.certificate import certificate_findings, certify
    from hardrank.models.smoothed import Smoothed

    model = Smoothed(
        base=spec, keep=keep, masks=asked.masks, place=asked.place, softness=asked.softness
    ).around(base)
    clock = common.Clock()
    ndcg = quality(model, test)
    print(f"keep {keep:g}: NDCG@10 {ndcg:.4f}, {clock.wall:.0f} s", file=sys.stderr)
    table = certify(
        model, test.queries, items, subject="smoothed", seed=asked.seed, draws=asked.draws,
        alpha=asked.alpha, k=asked.k,
    )  # fmt: skip
    found = {f.metric: f for f in certificate_findings(table, subject="smoothed")}
    print(f"keep {keep:g}: certified, {clock.wall:.0f} s", file=sys.stderr)

    def by_words(name: str) -> dict[str, float]:
        return {str(r): found[f"{name}@{r}"].value or 0.0 for r in (1, 2, 3)}

    return {
        "keep": keep,
        "ndcg@10": ndcg,
        "users": by_words("certified"),
        "items": by_words("items_certified"),
        "exposure_bound": by_words("er_bound"),
        "cpu_seconds": clock.cpu,
    }


def quality(model: Any, test: Any) -> float:
    from hardrank.audits.catalogue import full_ranks
    from hardrank.metrics.ranking import ndcg

    return float(ndcg(full_ranks(model, test), 10).mean())


def source(dataset: str) -> Any:
    from hardrank.data.sources import Sequences

    folder = common.data_folder()
    if dataset == "beauty":
        folder = folder / "amazon-beauty"
        return Sequences(
            path=folder / "raw/sequential_data.txt", items=folder / "derived/items.jsonl"
        )
    folder = folder / "amazon-industrial-office/derived"
    name = "Industrial_and_Scientific"
    return Sequences(path=folder / f"{name}.sequences.tsv", items=folder / f"{name}.items.jsonl")


def victim(asked: argparse.Namespace, split: Any) -> tuple[Any, Any]:
    """(spec, recommender) of the bundle, or trained here."""
    from pydantic import TypeAdapter

    from hardrank.bundle import load_bundle
    from hardrank.context import RunContext
    from hardrank.models import Model
    from hardrank.models.text_sequence import TextSequence
    from hardrank.training import Training

    if asked.bundle is not None:
        loaded = load_bundle(asked.bundle)
        if not loaded.recommender.items["item_id"].equals(split.train.items["item_id"]):
            sys.exit(f"{asked.bundle}: was trained on another catalogue than {asked.dataset}")
        return loaded.spec, loaded.recommender
    spec: Any
    if asked.model is not None:
        spec = TypeAdapter(Model).validate_python(asked.model)
    else:
        beauty = asked.dataset == "beauty"
        spec = TextSequence(
            fields=("title", "categories") if beauty else ("title", "brand", "description"),
            training=Training(epochs=18, batch_size=1500 if beauty else 500, patience=2, every=3),
        )
    run = RunContext(seed=asked.seed, progress=True)
    return spec, spec.fit(split.train, run, valid=split.valid)


if __name__ == "__main__":
    main()
