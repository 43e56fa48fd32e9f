"""`hardrank guard fit` and `scan` from a shell (S0-29)."""

import json
from pathlib import Path

from typer.testing import CliRunner

from hardrank.cli.main import app

FILE = """
name = "small"
guards = [{{ kind = "normaliser" }}, {{ kind = "stuffing" }}, {{ kind = "copycat" }}]
[data]
kind = "table"
path = "{folder}/events.csv"
items = "{folder}/items.csv"
"""


def test_fit_then_scan(tmp_path: Path) -> None:
    kinds = ("cream", "soap", "wax", "balm")
    rows = "".join(f"i{n},Alba {kinds[n % 4]} no {n} fine\n" for n in range(80))
    (tmp_path / "items.csv").write_text("item_id,title\n" + rows)
    events = "".join(f"u{n % 7},i{n},{n}\n" for n in range(80))
    (tmp_path / "events.csv").write_text("user_id,item_id,time\n" + events)
    (tmp_path / "g.toml").write_text(FILE.format(folder=tmp_path))
    run, out = CliRunner(), tmp_path / "out"
    checked = run.invoke(app, ["guard", "fit", str(tmp_path / "g.toml"), "--check"])
    assert checked.exit_code == 0
    assert "fine" in checked.output
    done = run.invoke(app, ["guard", "fit", str(tmp_path / "g.toml"), "-o", str(out), "-q"])
    assert done.exit_code == 0, done.output
    assert "held-out listings" in done.output
    (tmp_path / "new.csv").write_text("item_id,title\na,Alba so\u200bap no 5\nb,Alba wax no 9\n")
    told = tmp_path / "verdicts.jsonl"
    scanned = run.invoke(
        app, ["guard", "scan", str(out), str(tmp_path / "new.csv"), "-o", str(told)]
    )
    assert scanned.exit_code == 0, scanned.output
    assert "of 2 listings" in scanned.output
    first, second = (json.loads(line) for line in told.read_text().splitlines())
    assert first["item_id"] == "a"
    assert first["fields"] == {"title": "Alba soap no 5"}
    assert second["fields"] is None


def test_another_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("item_id,title\na,soap\n")
    arguments = ["guard", "scan", str(tmp_path), str(tmp_path / "a.csv"), "-o", str(tmp_path / "o")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
