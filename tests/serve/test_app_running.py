"""The real process: `hardrank serve` under uvicorn, `hardrank keys`, and the documented client."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hardrank.models import Tfidf
from hardrank.testing.service import toy_bundle

pytestmark = pytest.mark.slow
_README = Path(__file__).resolve().parents[2] / "README.md"


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hardrank.cli.main", *arguments]


@contextmanager
def _running(folder: Path) -> Iterator[tuple[str, str, "subprocess.Popen[str]"]]:
    """(address, an admin key, the process)."""
    bundle = toy_bundle(folder / "bundle", Tfidf())
    around = {**os.environ, "HARDRANK_SERVE_STORE": f"sqlite:///{folder / 'store.db'}"}
    key = subprocess.check_output(
        _command("keys", "add", "test", "--role", "admin"), env=around, text=True
    ).strip()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            _command("serve", str(bundle), "--port", str(port)), env=around, stderr=log, text=True
        )
        try:
            yield f"http://127.0.0.1:{port}", key, process
        finally:
            process.kill()
            process.wait()


def _call(address: str, key: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(address + path, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _ready(address: str) -> float:
    begun = time.monotonic()
    while time.monotonic() - begun < 240:
        try:
            with urllib.request.urlopen(f"{address}/v1/health/ready", timeout=5):
                return time.monotonic() - begun
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError


def test_it_starts_within_ten_seconds_and_the_documented_client_works(tmp_path: Path) -> None:
    with _running(tmp_path) as (address, key, _):
        begun = os.times()
        waited = _ready(address)
        if os.getloadavg()[0] < (os.cpu_count() or 1):
            assert waited < 10, begun
        found = _call(address, key, "/v1/recommend", {"user_id": "u1", "k": 3})
        assert found["source"] == "model" and len(found["items"]) == 3
        scripts = re.findall(r"```python\n(.*?)```", _README.read_text("utf-8"), re.DOTALL)
        (script,) = [found for found in scripts if "HARDRANK_URL" in found]
        around = {**os.environ, "HARDRANK_URL": address, "HARDRANK_KEY": key}
        said = subprocess.check_output([sys.executable, "-c", script], env=around, text=True)
        assert said.splitlines()[:2] == ["live", "1 event kept"] and len(said.splitlines()) == 7
        assert key not in (tmp_path / "log").read_text()
        assert "anna" not in (tmp_path / "log").read_text()


def test_a_folder_that_is_no_bundle_ends_it_at_once(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        done = subprocess.run(
            _command("serve", str(folder), "--store", f"sqlite:///{tmp_path / 's.db'}"),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1 and "is no bundle: it has no spec.json" in done.stderr
    assert not (tmp_path / "s.db").exists()


def test_sigterm_ends_it_after_the_requests_in_flight(tmp_path: Path) -> None:
    with _running(tmp_path) as (address, key, process):
        _ready(address)
        host, port = address.removeprefix("http://").split(":")
        body = json.dumps({"user_id": "u1", "k": 3}).encode()
        head = (
            f"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        answers = list[bytes]()

        def slowly() -> None:
            with socket.create_connection((host, int(port))) as s:
                s.sendall(head + body[:5])
                time.sleep(1.5)  # SIGTERM comes meanwhile
                s.sendall(body[5:])
                answers.append(s.recv(65_536))

        threads = [threading.Thread(target=slowly) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert len(answers) == 4 and all(a.startswith(b"HTTP/1.1 200") for a in answers)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_keys_are_listed_without_secrets_and_revoked(tmp_path: Path) -> None:
    store = ("--store", f"sqlite:///{tmp_path / 'k.db'}")
    key = subprocess.check_output(
        _command("keys", "add", "shop", "--quota", "5", *store), text=True
    ).strip()
    listed = subprocess.check_output(_command("keys", "list", *store), text=True)
    id = key.split("_")[1]
    assert id in listed and "shop" in listed and key not in listed and "open" in listed
    subprocess.check_call(_command("keys", "revoke", id, *store))
    assert "revoked" in subprocess.check_output(_command("keys", "list", *store), text=True)
    wrong = subprocess.run(_command("keys", "add", "x", "--role", "king", *store), check=False)
    assert wrong.returncode == 2
