"""What the benchmarks share: data, peers, CPU time, and results that explain themselves.

`python benchmarks/common.py` writes the table of `README.md` from `results/*.json`.
"""

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hardrank.data import Dataset, Holdout
    from hardrank.types import Ints, Scores

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
PEERS = ROOT / ".peers"
OURS = ("hardrank", "torch", "transformers", "numpy", "polars", "scipy")
_BEGIN, _END = "<!-- table: begin -->", "<!-- table: end -->"


def data_folder() -> Path:
    """Real datasets: `HARDRANK_DATA`, else `shared/data` beside the project."""
    folder = Path(os.environ.get("HARDRANK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        sys.exit(f"no data folder at {folder}; set HARDRANK_DATA")
    return folder


def limit_threads(threads: int) -> None:
    """Equal threads for every side of a comparison. Call it before numpy or torch are
    imported; a peer inherits it."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
    os.environ.update(dict.fromkeys(names, str(threads)))


def cpu_seconds() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in uses)


@dataclass
class Clock:
    """CPU and wall seconds since it was made, of this process and its finished children."""

    cpu_begun: float = field(default_factory=cpu_seconds)
    wall_begun: float = field(default_factory=time.perf_counter)

    @property
    def cpu(self) -> float:
        return cpu_seconds() - self.cpu_begun

    @property
    def wall(self) -> float:
        return time.perf_counter() - self.wall_begun


def gemm_peak(size: int = 1024, repeats: int = 8) -> float:
    """GFLOP/s of a square float32 matrix product in torch, best of `repeats`, as threads are
    set: the roof under which scoring runs on this machine."""
    import torch

    a, b = torch.rand(size, size), torch.rand(size, size)
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best / 1e9


def peer(name: str) -> Path:
    """The Python of a peer's own virtual environment, made on first use."""
    ready = PEERS / name / ".ready"
    if not ready.exists():
        print(f"making the environment of {name} under {PEERS}", file=sys.stderr)
        subprocess.run(["make", "-C", str(HERE), f"../.peers/{name}/.ready"], check=True)
    return PEERS / name / "bin" / "python"


def run_peer(name: str, script: str, *arguments: str) -> dict[str, Any]:
    """Run `peers/<script>` in the peer's environment; its last line of output is JSON."""
    command = [str(peer(name)), str(HERE / "peers" / script), *arguments]
    # RecBole keeps its settings as a pickle in its own checkpoint, which torch >= 2.6 refuses.
    environment = {**os.environ, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def quality(
    scores: "Scores", users: "Ints", test: "Holdout", *, remove_seen: bool
) -> dict[str, float]:
    """HR@10 and NDCG@10 of (Q, I) scores whose rows are `users`, by our evaluator."""
    from hardrank.metrics.ranking import hit, ndcg, ranks_of_targets
    from hardrank.recommender import mask_seen

    row = {user: n for n, user in enumerate(test.queries.users.tolist())}
    part = test.take([row[user] for user in users.tolist()])
    shown = mask_seen(scores.copy(), part.queries) if remove_seen else scores
    ranks = ranks_of_targets(shown, part.targets)
    return {"hit@10": float(hit(ranks, 10).mean()), "ndcg@10": float(ndcg(ranks, 10).mean())}


def same_definition(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    """Both evaluators on the same scores. Stops the benchmark when they disagree."""
    for name, value in ours.items():
        if abs(value - theirs[name]) > 1e-5:
            sys.exit(f"{name} of the same scores: {value} by ours, {theirs[name]} by the peer's")


def first_users(dataset: "Dataset", users: int) -> "Dataset":
    """For a trial of a benchmark: the same items, fewer events."""
    import polars as pl

    return dataset.where(pl.col("user") < users)


def write_atomic(folder: Path, dataset: "Dataset") -> None:
    """`folder/bench/bench.inter`, RecBole's format: row numbers as tokens, the position in our
    order as time. RecBole keeps times as float32, which holds unix seconds to about a minute
    only and reorders what is closer; positions hold exactly, so both sides hold out the same
    events."""
    path = folder / "bench" / "bench.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(dataset.events["user"].to_list(), dataset.events["item"].to_list(), strict=True)
    lines = [f"{u}\t{i}\t{n}" for n, (u, i) in enumerate(rows)]
    head = "user_id:token\titem_id:token\ttimestamp:float"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def versions(packages: Sequence[str] = OURS) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found | {"python": platform.python_version()}


def machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    load = [round(x, 2) for x in os.getloadavg()]
    return {"cpu": model, "cores": os.cpu_count(), "load_average": load}


def write_result(
    name: str,
    *,
    claim: str,
    command: str,
    ratio: float | None,
    ratio_means: str,
    figures: Mapping[str, Any],
    method: str,
    seeds: Sequence[int] = (0,),
    aim: float | None = None,
    ratios: Mapping[str, float | None] | None = None,
    peer_versions: Mapping[str, str] | None = None,
) -> Path:
    """`results/<name>.json`. claim: one sentence with the numbers. ratio: ours over the peer
    (or a share of the machine's peak), `ratio_means` says which; further named ones go into
    `ratios`. figures: all that was
    measured, both sides, with units in the names. method: what was done to whom."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "claim": claim,
        "command": command,
        "ratio": None if ratio is None else round(ratio, 3),
        "ratio_means": ratio_means,
        "aim": aim,
        **{name: round(v, 4) for name, v in (ratios or {}).items() if v is not None},
        "figures": figures,
        "method": method,
        "seeds": list(seeds),
        "versions": versions(),
        "peer_versions": dict(peer_versions or {}),
        "machine": machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_table()
    print(f"{claim}\n{path.relative_to(ROOT)}")
    return path


def write_table() -> None:
    """Replace the generated part of `README.md`."""
    path = HERE / "README.md"
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    path.write_text(f"{head}{_BEGIN}\n{table()}\n{_END}{tail}", encoding="utf-8")


def table() -> str:
    """One Markdown row per result, in the order of names."""
    lines = [
        "| benchmark | result | ratio | aim | measured | made by |",
        "|---|---|---|---|---|---|",
    ]
    for file in sorted(RESULTS.glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        aim = "" if row.get("aim") is None else f"{row['aim']:g}"
        means = f" ({row['ratio_means']})" if row.get("ratio_means") else ""
        ratio = "–" if row["ratio"] is None else f"{row['ratio']:.3g}{means}"
        cells = [file.stem, row["claim"], ratio, aim, row["date"], f"`{row['command']}`"]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_table()
