"""The int8 encoder beside the fp32 one, in one run: size, speed, quality, robustness.

    python benchmarks/compression.py [--seeds 0 1 2] [--targets 20] [--queries 40]

The victim is the text-sequence model of `text_victim.py` (Amazon Beauty, all-MiniLM-L6-v2).
Its encoder is compressed by `hardrank compress`'s own functions; the catalogue is encoded
anew by the compressed one. Both are asked for the same test events that training never saw,
and attacked by the same black-box attacks, each with patches of its own; the patches that
were made on the original are replayed on the compressed one as well. Speeds are medians of
rounds in turn on one thread, tokenising included.

Writes benchmarks/results/compression.json.
"""

import argparse
from dataclasses import asdict, replace

import common

common.limit_threads(1)

ATTACKS = ("copycat", "greedy-words")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--targets", type=int, default=20)
    options.add_argument("--queries", type=int, default=40)
    options.add_argument("--users", type=int, default=5000)
    args = options.parse_args()

    import numpy as np
    import text_victim

    from hardrank.bundle import load_bundle
    from hardrank.context import RunContext, derive
    from hardrank.experiment.attack_trial import trial_of
    from hardrank.experiment.compress import Limits, measured
    from hardrank.experiment.compress_model import compressed_recommender

    selection = f"random:{args.targets}"
    stage = text_victim.scene(
        text_victim.DEFAULT, selection=selection, k=10, until=1.0, words=3, queries=1, seed=0
    )
    before = load_bundle(text_victim.DEFAULT)
    trial = trial_of(
        ATTACKS, goal="promote", items=selection, k=10, surface="item-text", knowledge="scores",
        field="title", budget={"words": 6, "queries": args.queries, "whole_text": True}, users=1,
    )  # fmt: skip
    order = np.random.default_rng(derive(0, "users")).permutation(len(stage.split.test))
    asked = stage.split.test.take(np.sort(order[: args.users]))
    run = RunContext(seed=0)
    after = replace(before, recommender=compressed_recommender(before, "int8", run))
    found = measured(before, after, trial, run, asked=asked, queries="held out", seeds=args.seeds)
    print("\n".join(found.lines()))
    refusals = found.refusals(Limits())
    speed, worst = found.titles_per_second, max((p.rise or 0.0) for p in found.attacks)
    common.write_result(
        "compression",
        claim=f"int8 encoder: {found.bytes.ratio:.0%} of the size, {speed.after:.0f} titles a"
        f" second on one thread against {speed.before:.0f} in fp32; NDCG@10"
        f" {found.ndcg.before:.4f} -> {found.ndcg.after:.4f}; attacks succeed"
        f" {100 * worst:+.1f} points at worst",
        command="python benchmarks/compression.py --seeds "
        + " ".join(map(str, args.seeds))
        + f" --targets {args.targets} --queries {args.queries}",
        ratio=speed.ratio,
        ratio_means="titles a second, int8 over fp32",
        ratios={
            "size_ratio": found.bytes.ratio,
            "ndcg_loss": found.ndcg.loss or 0.0,
            "asr_rise": worst,
        },
        figures={**asdict(found), "limits": asdict(Limits()), "refusals": refusals},
        method="one process, one thread; text-sequence on Amazon Beauty, all-MiniLM-L6-v2 by torch"
        " fp32 and by onnxruntime int8 (channels evened out, matrices per channel, word table per"
        f" row, one text at a time); NDCG@10 over the whole catalogue of {len(asked)} test users;"
        f" {args.targets} random targets a seed, 6 words, {args.queries} queries a target;"
        " success: in the top 10 of 1 % of all users; rise: the worse of patches crafted on"
        " the compressed model and patches replayed from the original, against the original",
        seeds=args.seeds,
        peer_versions=common.versions(("onnx", "onnxruntime")),
    )


if __name__ == "__main__":
    main()
