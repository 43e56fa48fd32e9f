"""Build time, queries per second and recall of the index for large catalogues.

    python benchmarks/index.py [--items 1000000] [--size 64] [--queries 1000] [--recall 0.98]

Vectors are random but clustered, as item vectors are: centres from a Gaussian, items around
them with half the spread, lengths that differ. Queries come from the same centres. Recall@10
is measured on queries that the choice of cells did not see, against a search through all.
`--items 200000 --queries 200` is a trial that takes less than a minute.

Writes benchmarks/results/index.json (not with --trial).
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from common import limit_threads, write_result

SEED = 0
CENTRES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--trial", action="store_true", help="print and write nothing")
    args = parser.parse_args()
    limit_threads(1)
    figures = measure(args)
    for name, value in figures.items():
        print(f"{name}: {value:.6g}")
    if args.trial:
        return
    write_result(
        "index",
        claim=f"{args.items:,} items: recall@{args.k} {figures['recall']:.4f}, "
        f"{figures['queries_per_second']:.0f} queries/s on one thread, "
        f"{figures['speedup']:.1f} times a search through all",
        command=f"python benchmarks/index.py --items {args.items} --size {args.size}",
        ratio=figures["recall"],
        ratio_means=f"recall@{args.k}",
        aim=args.recall,
        figures=figures,
        method="random clustered vectors and queries of the same centres; queries one by one; "
        "one thread; recall on queries that the choice of cells did not see",
        seeds=[SEED],
    )


def measure(args: argparse.Namespace) -> dict[str, float]:
    import numpy as np

    from hardrank.serve.index import IvfIndex

    rng = np.random.default_rng(SEED)
    centres = rng.normal(size=(CENTRES, args.size)).astype(np.float32)

    def drawn(n: int) -> Any:
        lengths = rng.gamma(8.0, 1 / 8.0, size=(n, 1)).astype(np.float32)
        noise = 0.5 * rng.normal(size=(n, args.size)).astype(np.float32)
        return lengths * (centres[rng.integers(CENTRES, size=n)] + noise)

    vectors, sample, asked = drawn(args.items), drawn(512), drawn(args.queries)
    begun = time.perf_counter()
    index = IvfIndex(vectors, sample=sample, recall=args.recall, k=args.k)
    build = time.perf_counter() - begun
    single = per_second(lambda q: index.search(asked[q : q + 1], args.k), args.queries)
    few = max(5, args.queries // 50)
    table = index._table
    live = table.eligible(None)
    scan = per_second(lambda q: table.top(asked[q : q + 1], args.k, None, live), few)
    writes = per_second(lambda n: index.put(args.items + n, vectors[n]), 500)
    lock = per_second(lambda _: _locked(index), 5000)
    return {
        "items": args.items,
        "size": args.size,
        "build_seconds": build,
        "cells": index._made.nlist,
        "cells_looked_into": index.probes,
        "recall": index.recall(asked, args.k),
        "queries_per_second": single,
        "exact_queries_per_second": scan,
        "speedup": single / scan,
        "puts_per_second": writes,
        "lock_microseconds": 1e6 / lock,
    }


def _locked(index: Any) -> None:
    with index._lock.read():
        pass


def per_second(work: Callable[[int], object], times: int) -> float:
    begun = time.perf_counter()
    for n in range(times):
        work(n)
    return times / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
