"""The page on victims: its service runs, its callable is one, its tables are complete."""

import re
import subprocess
import sys
import threading
import tomllib
from dataclasses import fields
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from hardrank.experiment.audit_spec import PROMOTION, QUALITY, Audit, load_audit, parse_audit
from hardrank.testing.recommenders import toy_market
from hardrank.victims import BundleVictim, CallableVictim, HttpVictim, connect

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "victims.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.M | re.S)
DATA = toy_market()


def python(word: str) -> str:
    (found,) = (text for language, text in BLOCKS if language == "python" and word in text)
    return found


def asked(victim: Any, beside: Path) -> tuple[int, ...]:
    users = DATA.users["user_id"].to_list()
    with connect(victim, DATA.items, users, queries=DATA.histories(), beside=(beside,)) as there:
        assert there.victim.grants == "scores" and there.seen.reads_text
        return there.victim.top(DATA.histories(), 3).shape


def test_the_callable_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "callable_of_the_page.py").write_text(python("def rank"), "utf-8")
    assert asked(CallableVictim(target="callable_of_the_page:rank"), tmp_path) == (30, 3)


def test_the_service_of_the_page(tmp_path: Path) -> None:
    text = python("BaseHTTPRequestHandler").replace('("127.0.0.1", 8000)', '("127.0.0.1", 0)')
    assert len(text.splitlines()) < 35
    scope: dict[str, Any] = {"__name__": "service"}
    exec(compile(text, "service", "exec"), scope)
    scope["Ranker"].log_message = lambda *_: None
    server = scope["ThreadingHTTPServer"](("127.0.0.1", 0), scope["Ranker"])
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/rank"
        assert asked(HttpVictim(url=url), tmp_path) == (30, 3)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
def test_the_service_of_the_page_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(
        python("BaseHTTPRequestHandler").replace("8000", "0").replace(
            ").serve_forever()", ")"
        ).replace("    ThreadingHTTPServer(", "    made = ThreadingHTTPServer(")
        + "    print(made.server_address[1], flush=True)\n    made.serve_forever()\n",
        "utf-8",
    )  # fmt: skip
    running = subprocess.Popen(
        [sys.executable, str(tmp_path / "service.py")], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert running.stdout is not None
        port = int(running.stdout.readline())
        line = HTTPConnection("127.0.0.1", port, timeout=10)
        line.request("GET", "/rank/contract")
        assert line.getresponse().status == 200
        line.close()
        url = f"http://127.0.0.1:{port}/rank"
        done = subprocess.run(
            [sys.executable, "-m", "hardrank.cli.main", "audit",
             str(ROOT / "examples/audit/audit.toml"), "--victim", url, "--quiet",
             "--out", str(tmp_path / "mine")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        assert "report: " in done.stdout
    finally:
        running.terminate()
        running.communicate()


def test_the_file_of_the_page_is_right() -> None:
    (text,) = (text for language, text in BLOCKS if language == "toml")
    audit = parse_audit(tomllib.loads(text))
    assert audit.victim.kind == "http" and len(audit.thresholds) == 2
    assert load_audit(ROOT / "examples" / "audit" / "audit.toml").victim.kind == "callable"


@pytest.mark.parametrize("made", [Audit, CallableVictim, HttpVictim], ids=lambda m: m.__name__)
def test_every_key_is_in_a_table_with_its_default(made: Any) -> None:
    for f in fields(made):
        if f.name == "kind":
            continue
        (row,) = set(re.findall(rf"^\| `{f.name}` \|.*$", PAGE, re.M))
        default = made.__pydantic_fields__[f.name].default
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert re.search(rf"\b{default:g}\b", row.split("|")[2]), row
    assert "`path`, the bundle's folder" in PAGE and len(fields(BundleVictim)) == 2


def test_every_metric_of_thresholds_is_named() -> None:
    (row,) = re.findall(r"^\| `METRIC` \|(.*)\|$", PAGE, re.M)
    for name in (*PROMOTION, *QUALITY):
        assert f"`{name}`" in row or f"`{name}@k`" in row, name
