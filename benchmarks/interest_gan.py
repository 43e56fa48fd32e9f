"""The interest GAN: how real its samples are on ML-100K, what it costs on Amazon Beauty.

    python benchmarks/interest_gan.py --seeds 0 1 2

Beauty is trained on a quarter, half and all of its users, each in a process of its own, for the
same number of passes, so that seconds can be compared with events.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from typing import Any

import common

METHOD = """ML-100K: training part of a leave-one-out split, a tenth of the users held out; \
{steps} steps with default settings; `hardrank.generators.quality.measure` on {samples} free \
draws: `auroc` of a discriminator that was fitted afterwards on other profiles (the better of \
logistic regression and boosted trees), Kolmogorov-Smirnov distances of profile length and of \
item popularity, share of different draws; `pair_auroc` of the pair head, true against exchanged \
halves of held-out users. Beauty: {passes:g} passes over the users of a random quarter, half and \
all of the training part, one process each: CPU seconds of `fit`, peak resident memory."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--passes", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--share", type=float, help="one share of Beauty alone, as JSON")
    asked = parser.parse_args()
    common.limit_threads(asked.threads)
    if asked.share:
        print(json.dumps(beauty(asked.share, asked.passes)))
        return
    samples = [ml_100k(seed, asked.steps, asked.samples) for seed in asked.seeds]
    shares = [spawned(share, asked) for share in (0.25, 0.5, 1.0)]
    report(asked, samples, shares)


def ml_100k(seed: int, steps: int, samples: int) -> dict[str, float]:
    import numpy as np
    import polars as pl

    from hardrank.context import RunContext
    from hardrank.data.sources import MovieLens
    from hardrank.data.splits import LeaveOneOut
    from hardrank.generators.interest_gan import InterestGan
    from hardrank.generators.quality import measure, pair_auroc

    data = MovieLens(path=common.data_folder() / "ml-100k" / "raw").load()
    train = LeaveOneOut().split(data).train
    rng = np.random.default_rng(seed)
    held = np.sort(rng.choice(train.n_users, size=train.n_users // 10, replace=False))
    known = train.where(~pl.col("user").is_in(held.tolist()))
    begun = time.process_time()
    model = InterestGan(steps=steps).fit(known, RunContext(seed=seed))
    seconds = time.process_time() - begun
    found: dict[str, float] = measure(model, known, rng, samples=samples).to_json()
    found["pair_auroc"] = pair_auroc(model, train.histories().take(held), rng)
    found["cpu_seconds"] = round(seconds, 1)
    print(json.dumps(found), flush=True)
    return found


def beauty(share: float, passes: float) -> dict[str, float]:
    import resource

    import numpy as np
    import polars as pl

    from hardrank.context import RunContext
    from hardrank.data.sources import Sequences
    from hardrank.data.splits import LeaveOneOut
    from hardrank.generators.interest_gan import InterestGan

    folder = common.data_folder() / "amazon-beauty"
    data = Sequences(
        path=folder / "raw" / "sequential_data.txt", items=folder / "derived" / "items.jsonl"
    ).load()
    train = LeaveOneOut().split(data).train
    kept = np.random.default_rng(0).random(train.n_users) < share
    log = train.where(pl.Series(kept[train.events["user"].to_numpy()]))
    steps = max(1, int(passes * kept.sum() / InterestGan().batch_size))
    begun, wall = time.process_time(), time.perf_counter()
    InterestGan(steps=steps, warmup=steps // 5, every=max(1, steps // 4)).fit(log, RunContext())
    return {
        "share": share, "users": int(kept.sum()), "events": log.n_events, "items": log.n_items,
        "steps": steps, "cpu_seconds": round(time.process_time() - begun, 1),
        "wall_seconds": round(time.perf_counter() - wall, 1),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }  # fmt: skip


def spawned(share: float, asked: Any) -> dict[str, float]:
    command = [sys.executable, __file__, "--share", str(share), "--passes", str(asked.passes),
               "--threads", str(asked.threads)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found), flush=True)
    return found


def report(asked: Any, samples: list[dict[str, float]], shares: list[dict[str, float]]) -> None:
    def mean(name: str) -> float:
        return float(sum(s[name] for s in samples) / len(samples))

    first, last = shares[0], shares[-1]
    growth = (last["cpu_seconds"] / first["cpu_seconds"]) / (last["events"] / first["events"])
    thousand = 1000 * last["cpu_seconds"] / last["steps"]
    common.write_result(
        "interest_gan",
        claim=(
            f"ML-100K: a fresh discriminator tells samples from real profiles with AUROC "
            f"{mean('auroc'):.2f} (KS of length {mean('length_ks'):.3f}, of popularity "
            f"{mean('popularity_ks'):.3f}, {mean('unique'):.0%} different, pair head "
            f"{mean('pair_auroc'):.2f}); Beauty ({last['users']:,} users, {last['items']:,} "
            f"items): {thousand / 60:.1f} CPU minutes for 1,000 steps, "
            f"{last['peak_mebibytes'] / 1024:.1f} GiB, cost per event {growth:.2f} times that "
            "on a quarter of the users"
        ),
        command=shlex.join(["python", "benchmarks/interest_gan.py", *sys.argv[1:]]),
        ratio=growth,
        ratio_means="CPU seconds per event, all of Beauty over a quarter of its users",
        aim=1.0,
        figures={"ml_100k": samples, "beauty": shares},
        method=METHOD.format(steps=asked.steps, samples=asked.samples, passes=asked.passes),
        seeds=asked.seeds,
    )


if __name__ == "__main__":
    main()
