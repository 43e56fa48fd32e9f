"""Faults of the running service: what became of every request, event and listing meanwhile.

Each row is one fault of a real `hardrank serve` with a small bundle, under load: killed with
-9, its database crashed, no room on the disk, bundles swapped, altered, a user erased, and
10,000 hostile requests over bare sockets.

python benchmarks/serve_faults.py
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

REQUESTS = 10_000
"""Hostile ones."""
_Work = Callable[[Any, Path], Any]


def fault_rows(requests: int = REQUESTS) -> list[dict[str, Any]]:
    """One dict a fault: name, did, requests, errors, lost, doubled, recovered_after_s,
    slowest_s (longest time to any answer), notes. About three minutes."""
    return [row for _, row in _rows(requests, ())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS, help="hostile ones")
    parser.add_argument("--only", nargs="*", default=(), help="names of faults; all by default")
    args = parser.parse_args()
    bad = 0
    for name, row in _rows(args.requests, args.only):
        print(json.dumps(row), flush=True)
        wrong = row["errors"] + row["lost"] + row["doubled"]
        bad += wrong
        print(f"{name}: {'NOT ok' if wrong else 'ok'}", file=sys.stderr)
    sys.exit(bool(bad))


def _rows(requests: int, only: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    from hardrank.models import Popularity, Tfidf
    from hardrank.testing import faults
    from hardrank.testing.postgres import postgres_server
    from hardrank.testing.service import toy_bundle

    with tempfile.TemporaryDirectory() as made, postgres_server() as postgres:
        folder = Path(made)
        toy_bundle(folder / "bundles" / "live", Tfidf())
        toy_bundle(folder / "bundles" / "other", Popularity(), seed=1)
        whole, short = folder / "bundles" / "other", {"key_seconds": 0.5, "history_seconds": 0.5}
        user = "user-to-be-forgotten"
        patient = {"arrival": 2.0, "refusals": 10**6}
        swaps = ("other", "live", "other")

        cases: dict[str, tuple[_Work, str, dict[str, Any]]] = {
            "kill-sqlite": (lambda p, _: faults.killed(p, "kill -9, SQLite", 3), "", {}),
            "kill-postgresql": (
                lambda p, _: faults.killed(p, "kill -9, PostgreSQL", 3), postgres.new_database(),
                {},
            ),
            "database": (
                lambda p, _: faults.crashed_database(p, postgres, 10.0), postgres.new_database(),
                short,
            ),
            "disk": (lambda p, at: faults.full_disk(p, at / "shop.db"), "", {}),
            "swap": (lambda p, _: faults.swapped(p, swaps), "", {}),
            "altered": (lambda p, _: faults.tampered_bundle(p, whole), "", {}),
            "erasure": (lambda p, _: faults.erased_meanwhile(p, "other", user), "", {}),
            "hostile": (lambda p, _: _Hostile(p, requests), "", patient),
        }  # fmt: skip
        for name, (work, store, settings) in cases.items():
            if not only or name in only:
                yield name, _one(folder, name, work, store, settings)


def _one(
    folder: Path, name: str, work: _Work, store: str, settings: dict[str, Any]
) -> dict[str, Any]:
    from hardrank.testing.process import Process

    own = folder / name
    own.mkdir()
    url = store or f"sqlite:///{own / 'shop.db'}"
    with Process(folder / "bundles" / "live", url, own, **settings) as process:
        return dict(work(process, own).as_dict())


class _Hostile:
    """A row of 10,000 requests that nobody sends by accident."""

    def __init__(self, process: Any, requests: int) -> None:
        from hardrank.testing.hostile import attack

        process.start()
        attack(process, 200, seed=1)  # what it needs once, it has now
        before, began = process.memory(), time.monotonic()
        found = attack(process, requests)
        took, grown = time.monotonic() - began, process.memory() - before
        after = process.ask("read", "POST", "/v1/recommend", {"user_id": "u1", "k": 5})
        notes = [] if after.status == 200 else [f"then {after.status}"]
        notes += [f"grew by {grown:.0f} MB"] if grown > 100 else []
        self._row = {
            "name": "hostile requests",
            "did": "malformed, oversized, smuggled and cut requests, one connection each",
            "requests": found.sent, "errors": len(found.bad) + len(notes),
            "lost": 0, "doubled": 0, "recovered_after_s": 0.0,
            "slowest_s": round(found.slowest, 2), "notes": [*notes, *found.bad[:20]],
            "grown_mb": round(grown, 1),
            "seconds": round(took, 1),
            "codes": {str(code): n for code, n in sorted(found.codes.items())},
        }  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        return self._row


if __name__ == "__main__":
    main()
