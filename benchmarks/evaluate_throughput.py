"""Full-ranking evaluation of a SASRec: users per second beside RecBole's evaluator."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import common

SIZES = {"size": 64, "layers": 2, "heads": 2, "length": 50}
REPEATS = 3
METHOD = """Amazon Beauty (S3-Rec numbering), leave-one-out, {users:,} users x {items:,} items, \
the same held-out events on both sides; SASRec of 2 layers, 2 heads, 64 dims, length 50; best of \
{repeats} evaluations by CPU seconds, {threads} thread(s), one process at a time. Ours: \
`audits.utility` on a model trained for one epoch, everything from histories to exact ranks among \
all unseen items, nothing cached from an earlier evaluation. RecBole: `trainer.evaluate` with its \
default batch of 4,096, untrained weights (the work does not depend on them), top 10 among all \
items: seen items are not removed there, which is less work. Equal definitions: on ml-100k \
RecBole's own scores give the same HR@10 and NDCG@10 in both evaluators when seen items are left \
in. The GEMM bound is the time of the (Q, D) x (D, I) products alone at the float32 rate \
of a square product of 1,024 measured in this run; reading_seconds is what the transformer \
takes to read all histories (the rest is ranking)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    measure(asked.threads)


def measure(threads: int) -> None:
    from hardrank.data.sources import MovieLens, Sequences
    from hardrank.data.splits import LeaveOneOut

    data = common.data_folder()
    small = LeaveOneOut().split(MovieLens(path=data / "ml-100k/raw").load())
    definition = check_definition(small)
    beauty = Sequences(
        path=data / "amazon-beauty/raw/sequential_data.txt",
        items=data / "amazon-beauty/derived/items.jsonl",
    )
    split = LeaveOneOut().split(beauty.load())
    peer = peers_side(split)
    ours = our_side(split)
    ratio = ours["users_per_cpu_second"] / peer["users_per_cpu_second"]
    common.write_result(
        "evaluate_throughput",
        claim=(
            f"full ranking of {len(split.test):,} users x {split.train.n_items:,} items at "
            f"{ours['users_per_cpu_second']:,.0f} users per CPU second, {ratio:.1f} times "
            f"RecBole's {peer['users_per_cpu_second']:,.0f}; "
            f"{ours['share_of_gemm_bound']:.0%} of the GEMM bound with reading the histories, "
            f"{ours['share_of_gemm_bound_ranking_only']:.0%} without"
        ),
        command="python benchmarks/evaluate_throughput.py",
        ratio=ratio,
        ratio_means="users per CPU second, ours over RecBole 1.2.1",
        aim=5,
        figures={"ours": ours, "recbole": peer, "same_scores_ml_100k": definition},
        method=METHOD.format(
            users=len(split.test), items=split.train.n_items, repeats=REPEATS, threads=threads
        ),
        peer_versions=peer.pop("versions"),
    )


def check_definition(split: Any) -> dict[str, Any]:
    """Both evaluators on RecBole's scores; stops the benchmark if they disagree."""
    import numpy as np

    with tempfile.TemporaryDirectory() as name:
        common.write_atomic(Path(name), split.source)
        scores = Path(name) / "scores.npz"
        found = ask_peer(name, "--evaluations", "1", "--scores", str(scores))
        with np.load(scores) as saved:
            ours = common.quality(saved["scores"], saved["users"], split.test, remove_seen=False)
    common.same_definition(ours, found["test"])
    return {"our_evaluator": ours, "recbole_evaluator": found["test"]}


def ask_peer(*arguments: str) -> dict[str, Any]:
    return common.run_peer("recbole", "recbole_sasrec.py", *arguments, "--epochs", "0")


def peers_side(split: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        common.write_atomic(Path(name), split.source)
        found = ask_peer(name, "--evaluations", str(REPEATS))
    best = min(found["evaluations"], key=lambda e: e["cpu"])
    assert found["users"] == len(split.test), "another test set"
    return {
        "users_per_cpu_second": found["users"] / best["cpu"],
        "users_per_wall_second": found["users"] / best["wall"],
        "evaluations": found["evaluations"],
        "versions": found["versions"],
    }


def our_side(split: Any) -> dict[str, Any]:
    import numpy as np

    from hardrank.audits.utility import utility
    from hardrank.context import RunContext
    from hardrank.data import Slate
    from hardrank.metrics.ranking import hit, ndcg
    from hardrank.models.sasrec import Sasrec
    from hardrank.training import Training

    spec = Sasrec(**SIZES, training=Training(epochs=1))
    model = spec.fit(split.train, RunContext())
    runs, ranks = [], None
    for _ in range(REPEATS):
        fresh = model.on(model.items)  # remembers no query
        clock = common.Clock()
        samples = utility(fresh, split.test, subject="sasrec", seed=0)
        runs.append({"cpu": clock.cpu, "wall": clock.wall})
        ranks = samples["rank"].to_numpy()
    best = min(runs, key=lambda r: r["cpu"])
    readings = []
    for _ in range(REPEATS):
        fresh, clock = model.on(model.items), common.Clock()
        fresh.score(split.test.queries, Slate(items=np.zeros(1, dtype=np.int64)))
        readings.append(clock.wall)
    reading, peak = min(readings), common.gemm_peak()
    bound = 2 * len(split.test) * split.train.n_items * SIZES["size"] / 1e9 / peak
    return {
        "users_per_cpu_second": len(split.test) / best["cpu"],
        "users_per_wall_second": len(split.test) / best["wall"],
        "evaluations": runs,
        "reading_seconds": reading,
        "gemm_peak_gflops": peak,
        "gemm_bound_seconds": bound,
        "share_of_gemm_bound": bound / best["wall"],
        "share_of_gemm_bound_ranking_only": bound / (best["wall"] - reading),
        "hr@10": float(hit(ranks, 10).mean()),
        "ndcg@10": float(ndcg(ranks, 10).mean()),
    }


if __name__ == "__main__":
    main()
