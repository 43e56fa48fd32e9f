"""Fifty targets among 12,101 items for 22,363 users stay within 4 GB, victim included."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

RANKER = """
import zlib
import numpy as np

D = 64
def vectors(texts):
    words = {w: n for n, w in enumerate(dict.fromkeys(w for t in texts for w in t.split()))}
    seeds = [zlib.crc32(w.encode()) for w in words]
    place = np.stack([np.random.default_rng(s).standard_normal(D) for s in seeds])
    out = np.zeros((len(texts), D), dtype=np.float32)
    for n, text in enumerate(texts):
        for w in text.split():
            out[n] += place[words[w]]
    return out

OWN = {}
def rank(histories, items):
    found = vectors([i["text"]["title"] for i in items])
    if not OWN:
        titles = [f"w{n % 997} w{n % 101}" for n in range(12101)]
        OWN.update((f"i{n}", v) for n, v in enumerate(vectors(titles)))
    people = np.stack([sum(OWN[i] for i in h) for h in histories])
    return people @ found.T
"""
RUN = """
import json, resource, sys
from pathlib import Path
import numpy as np
from hardrank.context import RunContext
from hardrank.experiment.audit_spec import parse_audit
from hardrank.experiment.audit_victim import run_audit

folder, users, judged, cache = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = np.random.default_rng(0)
items = ["item_id,title"] + [f"i{n},w{n % 997} w{n % 101}" for n in range(12101)]
(folder / "items.csv").write_text("\\n".join(items) + "\\n")
log = ["user_id,item_id,timestamp"]
for u in range(users):
    log += [f"u{u},i{i},{t}" for t, i in enumerate(rng.choice(12101, size=9, replace=False))]
(folder / "log.csv").write_text("\\n".join(log) + "\\n")
audit = parse_audit({
    "data": {"kind": "table", "path": str(folder / "log.csv"), "items": str(folder / "items.csv")},
    "victim": {"kind": "callable", "target": "ranker:rank", "cache": cache == "cache"},
    "panel": 256, "users": judged,
    "trials": [{
        "threat": {"goal": {"kind": "promote", "items": "random:50"},
                   "budget": {"words": 3, "queries": 60, "whole_text": True}},
        "attacks": [{"kind": "copycat", "candidates": 20},
                    {"kind": "greedy-words", "vocabulary": 9}],
    }],
})
result = run_audit(audit, RunContext(folder=folder / "run"), beside=[folder])
samples = {f.metric: f.n for f in result.findings if f.group == "all"}
print(json.dumps({
    "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    "users": samples["ndcg@10"],
    "seconds": json.loads((folder / "run" / "run.json").read_text())["durations"],
    "bytes": (folder / "run" / "answers.bin").stat().st_size if cache == "cache" else 0,
}))
"""


@pytest.mark.slow
def test_memory_of_an_audit(tmp_path: Path) -> None:
    """Judged on every tenth of 22,363 users: memory does not grow with them but for a row of
    text scores each; the answers go to disk."""
    (tmp_path / "ranker.py").write_text(RANKER, "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path), "22363", "2236", "cache"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    assert measured["users"] == 2236
    assert measured["kib"] < 4 * 2**20, measured
