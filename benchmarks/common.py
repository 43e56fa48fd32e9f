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
from typing import Any

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


def one_thread() -> None:
    """Every side of a comparison runs on one thread: CPU seconds then mean the same thing on
    a busy machine. Call it before numpy or torch are imported."""
    os.environ.update(thread_limits())


def thread_limits(threads: int = 1) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), "POLARS_MAX_THREADS": str(threads)}


@dataclass
class Clock:
    """CPU and wall seconds since it was made, of this process and its finished children."""

    cpu_begun: float = field(default_factory=lambda: _cpu())
    wall_begun: float = field(default_factory=time.perf_counter)

    @property
    def cpu(self) -> float:
        return _cpu() - self.cpu_begun

    @property
    def wall(self) -> float:
        return time.perf_counter() - self.wall_begun


def _cpu() -> float:
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in uses)


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
    environment = {**os.environ, **thread_limits(), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


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
    ratio: float,
    ratio_means: str,
    figures: Mapping[str, Any],
    method: str,
    seeds: Sequence[int] = (0,),
    aim: float | None = None,
    peer_versions: Mapping[str, str] | None = None,
) -> Path:
    """`results/<name>.json`. claim: one sentence with the numbers. ratio: ours over the peer
    (or a share of the machine's peak), `ratio_means` says which. figures: all that was
    measured, both sides, with units in the names. method: what was done to whom."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "name": name,
        "claim": claim,
        "command": command,
        "ratio": round(ratio, 3),
        "ratio_means": ratio_means,
        "aim": aim,
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
        aim = "" if row["aim"] is None else f"{row['aim']:g}"
        ratio = f"{row['ratio']:g} ({row['ratio_means']})"
        cells = [row["name"], row["claim"], ratio, aim, row["date"], f"`{row['command']}`"]
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_table()
