"""`hardrank data`: bad files are named by file, line, field and remedy; exit code 3."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]
LOG = [f"u{n % 4},i{n % 5},{n % 5 + 1},{1_600_000_000 + n}" for n in range(40)]


def csv(folder: Path, rows: list[str], head: str = "user_id,item_id,rating,timestamp") -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    return path


def test_a_good_file_passes(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("data", "check", csv(tmp_path, LOG))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "log: 4 users, 5 items, 40 events; 0 bad rows\n"


@pytest.mark.parametrize(
    ("row", "field", "said"),
    [
        ("u1,i1,great,1600000000", "rating", "'great' is not a number"),
        ("u1,i1,NaN,1600000000", "rating", "'NaN' is not finite"),
        (",i1,3,1600000000", "user_id", "is missing"),
    ],
)
def test_a_bad_row_is_named_by_line_and_field(
    hardrank: Call, tmp_path: Path, row: str, field: str, said: str
) -> None:
    """S3-34: bad rows with line number and reason, good rows kept."""
    path = csv(tmp_path, [*LOG[:9], row, *LOG[9:]])
    done = hardrank("data", "check", path)
    assert done.exit_code == 3
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{path}, line 11: {field} ")
    assert said in first
    assert last.endswith("40 events; 1 bad rows")


def test_a_missing_column_is_named_with_those_that_are_there(
    hardrank: Call, tmp_path: Path
) -> None:
    done = hardrank("data", "check", csv(tmp_path, LOG, "user_id,thing,rating,timestamp"))
    assert done.exit_code == 3
    assert "thing" in done.stdout
    assert "log.csv" in done.stdout


def test_wrong_encoding(hardrank: Call, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    text = "\n".join(["user_id,item_id,rating,timestamp", *LOG[:6], "ué,i1,3,1600000000"])
    path.write_bytes(text.encode("latin-1"))
    done = hardrank("data", "check", path)
    assert done.exit_code == 3
    assert f"{path}, line 8" in done.stdout
    assert "encoding" in done.stdout


def test_a_broken_json_line(hardrank: Call, tmp_path: Path) -> None:
    rows = [
        json.dumps({"reviewerID": f"u{n % 4}", "asin": f"i{n % 5}", "overall": 5.0,
                    "unixReviewTime": 1_600_000_000 + n})
        for n in range(20)
    ]  # fmt: skip
    path = tmp_path / "reviews.json"
    path.write_text("\n".join([*rows[:4], rows[4][:20], *rows[5:]]) + "\n", "utf-8")
    done = hardrank("data", "check", path)
    assert done.exit_code == 3
    assert f"{path}, line 5" in done.stdout
    assert "19 events; 1 bad rows" in done.stdout


def test_an_empty_log_and_a_missing_file(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("data", "check", csv(tmp_path, []))
    assert done.exit_code == 3
    assert "log.csv" in done.stdout
    done = hardrank("data", "check", tmp_path / "nothing.csv")
    assert done.exit_code == 3
    assert "nothing.csv" in done.stdout


def test_a_run_on_bad_data_stops_before_training(hardrank: Call, tmp_path: Path) -> None:
    """Unknown items and one-event users reach the same message through `hardrank run`."""
    csv(tmp_path, [f"u{n},i{n},3,{1_600_000_000 + n}" for n in range(9)])
    (tmp_path / "items.csv").write_text("item_id,title\n", "utf-8")
    experiment = tmp_path / "e.toml"
    base = (
        'name = "e"\nmodel = { kind = "sasrec" }\n[data]\nkind = "table"\n'
        f'path = "{tmp_path / "log.csv"}"\ncolumns = {{ time = "timestamp" }}\n'
    )
    experiment.write_text(base + f'items = "{tmp_path / "items.csv"}"\nmax_bad = 1.0\n', "utf-8")
    done = hardrank("run", experiment, "--out", tmp_path / "run", "--quiet")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"hardrank: {tmp_path / 'items.csv'}")
    assert "catalogue is empty" in done.stderr

    experiment.write_text(base + f'items = "{tmp_path / "items.csv"}"\n', "utf-8")
    (tmp_path / "items.csv").write_text("item_id,title\nother,Lamp\n", "utf-8")
    done = hardrank("run", experiment, "--out", tmp_path / "run", "--quiet")
    assert done.exit_code == 3
    assert f"{tmp_path / 'log.csv'}, line 2, field 'item_id'" in done.stderr
    assert "set unknown_items = 'add'" in done.stderr

    experiment.write_text(base, "utf-8")
    done = hardrank("run", experiment, "--out", tmp_path / "run", "--quiet")
    assert done.exit_code == 3
    assert "no user has 3 events or more; lower min_events or bring more events" in done.stderr


def test_a_card_is_markdown_with_the_size(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("data", "card", csv(tmp_path, LOG))
    assert done.exit_code == 0
    assert done.stdout.startswith("# ")
    assert "40" in done.stdout


def test_an_unknown_public_set_lists_the_known(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("data", "fetch", "movielens", "--out", tmp_path)
    assert done.exit_code == 3
    assert "movielens-100k" in done.stderr
    assert list(tmp_path.iterdir()) == []
