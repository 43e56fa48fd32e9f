"""The index at the size of a large shop: recall, time, memory, and what changes while it runs.

    python benchmarks/index.py [--items 1000000] [--queries 1000] [--recall 0.98]

Vectors resemble a trained catalogue: SASRec is trained for some epochs on Amazon Beauty, and
its 12,101 item vectors become as many as asked for, each new one between an item and one of its
ten nearest, with noise besides, as variants of a product lie. Queries are the states of real
users; those that recall is measured on are not those that the index chose its cells by.

Side by side on the same vectors and queries, one thread each: our index, a search through all
by numpy, and plain faiss IndexIVFFlat, which is told afterwards the fewest cells that reach the
wanted recall@50. Then a tenth of the catalogue is rewritten, deleted and added anew, and recall
is measured again. `--items 100000 --queries 200 --trial` is a trial.

Writes benchmarks/results/index.json (not with --trial).
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Clock, data_folder, limit_threads, write_result

SEED = 0
K = 50
"""Recall that the index is built for; a list of 10 without 40 seen items asks for 50."""


def main() -> None:
    args = _arguments()
    limit_threads(1)
    figures = measure(args)
    if args.trial:
        print(figures)
        return
    ours, exact, plain = figures["index"], figures["numpy"], figures["faiss"]
    write_result(
        "index",
        claim=f"{args.items:,} items: recall@10 {ours['recall_at_10']:.4f}, recall@50 "
        f"{ours['recall_at_50']:.4f} in {ours['milliseconds']:.2f} ms a query (all by numpy "
        f"{exact['milliseconds']:.1f} ms, plain faiss at recall@10 "
        f"{plain['recall_at_10']:.4f} {plain['milliseconds']:.2f} ms), recall@10 "
        f"{figures['churn']['recall_at_10']:.4f} after a tenth of the items changed, a write found "
        f"after {figures['writes']['visible_ms_most']:.1f} ms at most",
        command=f"python benchmarks/index.py --items {args.items} --queries {args.queries}",
        ratio=ours["recall_at_10"],
        ratio_means="recall@10 of the exact list",
        aim=args.recall,
        ratios={
            "speedup_over_numpy": exact["milliseconds"] / ours["milliseconds"],
            "time_over_faiss": ours["milliseconds"] / plain["milliseconds"],
        },
        figures=figures,
        method=" ".join(str(__doc__).split("\n\n")[2].split())
        + " Queries one by one; milliseconds are CPU time of the thread. Peers: numpy (product "
        "and argpartition) and faiss IndexIVFFlat with as many cells as ours.",
        seeds=[SEED],
        peer_versions=_versions(),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--epochs", type=int, default=4, help="of SASRec, whose vectors these are")
    parser.add_argument("--trial", action="store_true", help="print and write nothing")
    return parser.parse_args()


def measure(args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from hardrank.serve.index import IvfIndex

    rng = np.random.default_rng(SEED)
    seeds, states = _trained(args.epochs)
    order = rng.permutation(len(states))
    sample, asked = states[order[:512]], states[order[512 : 512 + args.queries]]
    vectors = spread(seeds, args.items, rng)
    true, exact = _numpy(vectors, asked)
    before, clock = _resident(), Clock()
    index = IvfIndex(vectors, sample=sample, recall=args.recall, k=K)
    build, memory = clock.cpu, _resident() - before
    ours = {
        "build_cpu_seconds": build, "memory_mib": memory / 2**20,
        "cells": index._made.nlist, "cells_looked_into": index.probes,
        **_recalls(index, asked, true), **_times(lambda q: index.search(q, 10), asked),
    }  # fmt: skip
    plain = _faiss(vectors, asked, true, args.recall)
    writes = _writes(index, spread(seeds, 2_000, rng))
    churn = _churn(index, spread(seeds, args.items // 10, rng), asked, rng)
    figures = {
        "items": args.items, "size": vectors.shape[1], "queries": len(asked),
        "trained_on_items": len(seeds), "index": ours, "numpy": exact, "faiss": plain,
        "writes": writes, "churn": churn,
    }  # fmt: skip
    return {name: _rounded(value) for name, value in figures.items()}


def _trained(epochs: int) -> tuple[Any, Any]:
    """((I, D) item vectors, (U, D) states of users) of SASRec on Amazon Beauty."""
    from hardrank.context import RunContext
    from hardrank.data.sources import Sequences
    from hardrank.data.splits import LeaveOneOut
    from hardrank.models import Sasrec
    from hardrank.serve.vectors import vectors_of
    from hardrank.training import Training

    folder = data_folder() / "amazon-beauty"
    log = Sequences(
        path=folder / "raw/sequential_data.txt", items=folder / "derived/items.jsonl"
    ).load()
    split = LeaveOneOut().split(log)
    model = Sasrec(training=Training(epochs=epochs)).fit(split.train, RunContext())
    vectors = vectors_of(model)
    assert vectors is not None
    return vectors.items, vectors.encode(split.test.queries)


def spread(seeds: Any, n: int, rng: Any) -> Any:
    """(N, D) float32: each between a seed and one of its ten nearest (up to half way), plus
    Gaussian noise of a fifth of the distance between the two. The last two columns, what an
    item earned and its popularity, are the seed's."""
    import numpy as np

    found = np.empty((n, seeds.shape[1]), dtype=np.float32)
    near = _nearest(seeds[:, :-2])
    for start in range(0, n, 100_000):
        size = min(100_000, n - start)
        own = rng.integers(len(seeds), size=size)
        other = near[own, rng.integers(near.shape[1], size=size)]
        way = seeds[other] - seeds[own]
        noise = rng.normal(size=way.shape).astype(np.float32) / np.sqrt(way.shape[1])
        noise *= 0.2 * np.linalg.norm(way[:, :-2], axis=1, keepdims=True)
        share = rng.uniform(0, 0.5, size=(size, 1)).astype(np.float32)
        new = seeds[own] + share * way + noise
        new[:, -2:] = seeds[own, -2:]
        found[start : start + size] = new
    return found


def _nearest(points: Any) -> Any:
    """(N, 10) by distance, without the point itself."""
    import numpy as np

    squares = (points**2).sum(axis=1)
    out = np.empty((len(points), 10), dtype=np.int64)
    for start in range(0, len(points), 1000):
        rows = np.arange(start, min(start + 1000, len(points)))
        far = squares[None] - 2 * points[rows] @ points.T
        far[rows - start, rows] = np.inf
        out[rows] = np.argpartition(far, 10, axis=1)[:, :10]
    return out


def _numpy(vectors: Any, asked: Any) -> tuple[Any, dict[str, float]]:
    """((Q, 50) the true best, best first; what it costs)."""
    import numpy as np

    def top(query: Any) -> Any:
        scores = vectors @ query[0]
        rows = np.argpartition(scores, -K)[-K:]
        return rows[np.argsort(-scores[rows], kind="stable")]

    few = asked[:: max(1, len(asked) // 30)]
    cost = _times(top, few)
    true = np.empty((len(asked), K), dtype=np.int64)
    for start in range(0, len(asked), 8):
        scores = vectors @ asked[start : start + 8].T
        for n, line in enumerate(scores.T):
            rows = np.argpartition(line, -K)[-K:]
            true[start + n] = rows[np.argsort(-line[rows], kind="stable")]
    return true, cost


def _faiss(vectors: Any, asked: Any, true: Any, recall: float) -> dict[str, float]:
    """Plain IndexIVFFlat, with the fewest cells that reach the recall on these very queries."""
    import faiss

    faiss.omp_set_num_threads(1)
    cells, clock = min(int(2 * len(vectors) ** 0.5), len(vectors) // 40), Clock()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(flat, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = 64
    index.train(vectors)
    index.add(vectors)
    build, probes = clock.cpu, 1
    while probes < cells:
        index.nprobe = probes
        if _overlap(true, index.search(asked, K)[1]) >= recall:
            break
        probes = -(-probes * 5 // 4)
    found = index.search(asked, K)[1]
    return {
        "build_cpu_seconds": build, "cells": cells, "cells_looked_into": probes,
        "recall_at_10": _overlap(true[:, :10], index.search(asked, 10)[1]),
        "recall_at_50": _overlap(true, found), **_times(lambda q: index.search(q, 10), asked),
    }  # fmt: skip


def _writes(index: Any, vectors: Any) -> dict[str, float]:
    """One row at a time: added, found at once by its own vector, rewritten, removed."""
    import numpy as np

    first, n = len(index), len(vectors)
    lengths, visible = np.linalg.norm(vectors, axis=1, keepdims=True), list[float]()
    longest = 1.5 * lengths.max() / np.maximum(lengths, 1e-6)  # so that each finds itself
    vectors = (longest * (vectors + 1e-3)).astype(np.float32)
    added = _per(n, lambda k: index.put(first + k, vectors[k]))
    table = index._table
    for k in range(100):
        true = table.top(vectors[k : k + 1], 10, None, table.eligible(None))[0]
        if first + k not in true:
            continue  # hidden by others that are as near: an exact search misses it, too
        index.remove(first + k)
        began = time.perf_counter()
        index.put(first + k, vectors[k])
        found = index.search(vectors[k : k + 1], 10)[0]
        while first + k not in found and time.perf_counter() - began < 10:
            found = index.search(vectors[k : k + 1], 10)[0]
        visible.append(time.perf_counter() - began)
    rewritten = _per(n, lambda k: index.put(first + k, vectors[n - 1 - k]))
    removed = _per(n, lambda k: index.remove(first + k))
    return {
        "add_microseconds": added, "rewrite_microseconds": rewritten,
        "remove_microseconds": removed, "visible_ms_most": 1000 * max(visible),
    }  # fmt: skip


def _churn(index: Any, fresh: Any, asked: Any, rng: Any) -> dict[str, float]:
    """A tenth of the items: half of that rewritten, a quarter removed, a quarter new."""
    import numpy as np

    old, n, clock = len(index), len(fresh), Clock()
    chosen = rng.permutation(old)[: 3 * n // 4]
    rewritten, removed = chosen[: n // 2], chosen[n // 2 :]
    rows = np.concatenate([rewritten, np.arange(old, old + n - len(chosen))])
    for start in range(0, len(rows), 1000):
        index.put_many(rows[start : start + 1000], fresh[start : start + 1000][: len(rows) - start])
    for row in removed.tolist():
        index.remove(row)
    cpu, table = clock.cpu, index._table
    true, _ = table.top(asked, K, None, table.eligible(None))
    gone = set(removed.tolist())
    lists = index.search(asked, K)[0]
    return {
        "rewritten": len(rewritten), "removed": len(removed), "added": n - len(chosen),
        "cpu_seconds": cpu, "removed_items_listed": sum(r in gone for r in lists.ravel().tolist()),
        **_recalls(index, asked, true),
    }  # fmt: skip


def _recalls(index: Any, asked: Any, true: Any) -> dict[str, float]:
    return {f"recall_at_{k}": _overlap(true[:, :k], index.search(asked, k)[0]) for k in (10, K)}


def _overlap(true: Any, found: Any) -> float:
    hits = sum(len(set(a) & set(b)) for a, b in zip(true.tolist(), found.tolist(), strict=True))
    return hits / true.size


def _times(work: Callable[[Any], object], asked: Any) -> dict[str, float]:
    """CPU milliseconds of each query alone, on this thread."""
    import numpy as np

    took = []
    for n in range(len(asked)):
        began = time.thread_time()
        work(asked[n : n + 1])
        took.append(1000 * (time.thread_time() - began))
    return {
        "milliseconds": float(np.mean(took)),
        "p99_milliseconds": float(np.quantile(took, 0.99)),
    }


def _per(times: int, work: Callable[[int], object]) -> float:
    """CPU microseconds each."""
    began = time.thread_time()
    for n in range(times):
        work(n)
    return 1e6 * (time.thread_time() - began) / times


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(v) for name, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _versions() -> dict[str, str]:
    from importlib import metadata

    return {name: metadata.version(name) for name in ("faiss-cpu", "numpy")}


if __name__ == "__main__":
    main()
