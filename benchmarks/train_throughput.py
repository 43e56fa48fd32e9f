"""Training speed and quality of our SASRec beside RecBole's, on ml-100k.

About 13 minutes on two quiet cores, nearly all of it RecBole's three epochs.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import common

SIZES = {"size": 64, "layers": 2, "heads": 2, "length": 50, "dropout": 0.5}
BATCH = 2048
METHOD = """ml-100k, leave-one-out by time, the same held-out events on both sides (RecBole gets \
our order as time stamps). SASRec of 2 layers, 2 heads, 64 dims, inner 256, length 50, dropout \
0.5, cross-entropy over all items, Adam at 0.001, 2,048 targets a batch, float32, {threads} \
thread(s), one process at a time on the same machine. A training position is one next-item \
prediction; both sides make each of the {positions} once per epoch. RecBole: CPU seconds of its \
training epochs alone, {epochs} epochs, best by validation NDCG@10. Ours: CPU seconds of the whole \
`fit` call of 5 epochs without validation, over 5; then, for quality, one `fit` with validation \
and early stopping that may spend what RecBole's `fit` spent. Both models' test scores are ranked \
by our evaluator (all unseen items, ties against); seen_kept is RecBole's protocol, which leaves \
seen items in."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--users", type=int, help="first users only; writes no result")
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    measure(asked.peer_epochs, asked.threads, asked.users)


def measure(peer_epochs: int, threads: int, users: int | None) -> None:
    from hardrank.data.sources import MovieLens
    from hardrank.data.splits import LeaveOneOut

    data = MovieLens(path=common.data_folder() / "ml-100k/raw").load()
    split = LeaveOneOut().split(data if users is None else common.first_users(data, users))
    with tempfile.TemporaryDirectory() as name:
        peer = peers_side(split, Path(name), peer_epochs)
    ours = our_side(split, peer["fit_cpu_seconds"])
    ratio = ours["positions_per_cpu_second"] / peer["positions_per_cpu_second"]
    versions = peer.pop("versions")
    assert ours["positions_per_epoch"] == peer["positions_per_epoch"], "another training set"
    if users is not None:
        print(json.dumps({"ours": ours, "recbole": peer, "ratio": ratio}, indent=1))
        return
    common.write_result(
        "train_throughput",
        claim=(
            f"SASRec trains {ratio:.0f} times as many positions per CPU second as RecBole's "
            f"({ours['positions_per_cpu_second']:,.0f} against "
            f"{peer['positions_per_cpu_second']:,.0f}); for at most equal compute NDCG@10 is "
            f"{ours['ndcg@10']:.4f} against {peer['ndcg@10']:.4f} "
            f"({ours['fit_cpu_seconds']:.0f} and {peer['fit_cpu_seconds']:.0f} CPU seconds)"
        ),
        command="python benchmarks/train_throughput.py"
        f" --threads {threads} --peer-epochs {peer_epochs}",
        ratio=ratio,
        ratio_means="positions per CPU second, ours over RecBole 1.2.1",
        aim=10,
        figures={"ours": ours, "recbole": peer},
        method=METHOD.format(
            threads=threads, positions=f"{ours['positions_per_epoch']:,}", epochs=peer_epochs
        ),
        peer_versions=versions,
    )


def peers_side(split: Any, folder: Path, epochs: int) -> dict[str, Any]:
    import numpy as np

    common.write_atomic(folder, split.source)
    scores = folder / "scores.npz"
    found = common.run_peer(
        "recbole", "recbole_sasrec.py", str(folder), "--epochs", str(epochs),
        "--batch-size", str(BATCH), "--dropout", str(SIZES["dropout"]), "--scores", str(scores),
    )  # fmt: skip
    with np.load(scores) as saved:
        kept = common.quality(saved["scores"], saved["users"], split.test, remove_seen=False)
        removed = common.quality(saved["scores"], saved["users"], split.test, remove_seen=True)
    common.same_definition(kept, found["test"])
    cpu = sum(e["cpu"] for e in found["epochs"]) / epochs
    return {
        "positions_per_epoch": found["training_rows"],
        "positions_per_cpu_second": found["training_rows"] / cpu,
        "cpu_seconds_per_epoch": cpu,
        "wall_seconds_per_epoch": sum(e["wall"] for e in found["epochs"]) / epochs,
        "epochs": epochs,
        "fit_cpu_seconds": found["fit"]["cpu"],
        "valid_ndcg@10_seen_kept": found["valid"]["ndcg@10"],
        "hr@10": removed["hit@10"],
        "ndcg@10": removed["ndcg@10"],
        "hr@10_seen_kept": kept["hit@10"],
        "ndcg@10_seen_kept": kept["ndcg@10"],
        "versions": found["versions"],
    }


def our_side(split: Any, budget: float) -> dict[str, Any]:
    from hardrank.context import RunContext
    from hardrank.models.common import whole

    # The first optimiser step loads parts of torch; that is not training.
    fit(split, RunContext(), epochs=1)
    plain = timed(lambda: fit(split, RunContext(), epochs=5))
    automatic = timed(lambda: fit(split, RunContext(), epochs=5, precision="auto"))
    per_epoch = plain["cpu"] / 5
    epochs = int(min(100, 0.8 * budget / per_epoch))
    clock = common.Clock()
    model = fit(split, RunContext(), epochs=epochs, patience=8, valid=split.valid)
    spent = clock.cpu
    assert spent <= budget, f"took {spent:.0f} CPU seconds, more than the peer's {budget:.0f}"
    scores = model.score(split.test.queries, whole(model.items))
    users = split.test.queries.users
    kept = common.quality(scores, users, split.test, remove_seen=False)
    removed = common.quality(scores, users, split.test, remove_seen=True)
    positions = int((split.train.histories().lengths - 1).clip(0).sum())
    return {
        "positions_per_epoch": positions,
        "positions_per_cpu_second": 5 * positions / plain["cpu"],
        "positions_per_cpu_second_auto_precision": 5 * positions / automatic["cpu"],
        "cpu_seconds_per_epoch": per_epoch,
        "wall_seconds_per_epoch": plain["wall"] / 5,
        "most_epochs": epochs,
        "fit_cpu_seconds": spent,
        "hr@10": removed["hit@10"],
        "ndcg@10": removed["ndcg@10"],
        "hr@10_seen_kept": kept["hit@10"],
        "ndcg@10_seen_kept": kept["ndcg@10"],
    }


def fit(
    split: Any, run: Any, *, epochs: int, patience: int = 0, valid: Any = None,
    precision: Any = "float32",
) -> Any:  # fmt: skip
    from hardrank.models.sasrec import Sasrec
    from hardrank.training import Training

    training = Training(
        epochs=epochs, batch_size=BATCH, learning_rate=1e-3, patience=patience, precision=precision
    )
    spec = Sasrec(**SIZES, negatives=0, training=training)
    return spec.fit(split.train, run, valid=valid)


def timed(work: Any) -> dict[str, float]:
    clock = common.Clock()
    work()
    return {"cpu": clock.cpu, "wall": clock.wall}


if __name__ == "__main__":
    main()
