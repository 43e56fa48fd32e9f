"""`hardrank detect fit|scan` on a log of one's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.cli.main import app
from hardrank.data import Dataset
from hardrank.data.trust import read_trust
from hardrank.experiment import detect
from hardrank.testing.logs import taste_log
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.threats.profiles import play_profiles

Call = Callable[..., Any]
FIT = """
name = "shop"
seed = 2
data = { kind = "table", path = "clean.csv", columns = { time = "time", rating = "rating" } }
attacks = [{ kind = "random-profiles" }, { kind = "bandwagon" }]
detector = { kind = "boosted", trees = 20, held_out = 0.4 }
evaluation = { draws = 20 }

[threat]
surface = "profiles"
goal = { kind = "promote", items = ["i40", "i45"] }
budget = { profiles = 10, profile_events = 12 }
"""
SCAN = """
data = { kind = "table", path = "attacked.csv", columns = { time = "time", rating = "rating" } }
"""


def written(path: Path, data: Dataset) -> None:
    events = data.events.with_columns(
        user_id=data.users["user_id"].gather(data.events["user"]),
        item_id=data.items["item_id"].gather(data.events["item"]),
    )
    events.select("user_id", "item_id", "rating", "time").write_csv(path)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    train = taste_log(users=120)
    written(folder / "clean.csv", train)
    threat = ThreatModel(
        surface="profiles", goal=Promote(items=("i57",)),
        budget=Budget(profiles=8, profile_events=12),
    )  # fmt: skip
    match = play_profiles(AverageProfiles(), threat, train, target="i57")
    written(folder / "attacked.csv", train.apply(match.patch))
    (folder / "fit.toml").write_text(FIT, "utf-8")
    (folder / "scan.toml").write_text(SCAN, "utf-8")
    return folder


@pytest.fixture(autouse=True)
def _inside(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)


def test_a_detector_is_fitted_measured_and_finds_who_it_never_saw(
    hardrank: Call, tmp_path: Path
) -> None:
    """S0-29: behaviour anomalies of a family that was not among the examples."""
    done = hardrank("detect", "fit", "fit.toml", "-o", tmp_path / "fitted", "-q")
    assert done.exit_code == 0, done.output
    assert "unseen attack:" in done.stdout
    assert "known:" in done.stdout
    rows = json.loads((tmp_path / "fitted" / "detector" / "evaluation.json").read_text("utf-8"))[
        "rows"
    ]
    assert {(r["held_out"], r["attack"]) for r in rows} == {
        (h, a) for h in ("unseen attack", "known") for a in ("bandwagon", "random-profiles")
    }
    out = tmp_path / "scan"
    done = hardrank("detect", "scan", tmp_path / "fitted", "--data", "scan.toml", "-o", out)
    assert done.exit_code == 0, done.output
    users = pl.read_parquet(out / "users.parquet")
    flagged = users.filter(pl.col("flagged"))
    assert users.columns == ["user_id", "score", "flagged", "reasons"]
    assert flagged["user_id"].str.starts_with("new-").sum() >= 6
    assert flagged.height <= 14
    assert flagged["reasons"].null_count() == 0
    items = pl.read_parquet(out / "items.parquet")
    assert items["item_id"][0] == "i57"
    assert items["suspicious_raters"][0] >= 6
    assert f"  {flagged['user_id'][0]}  " in done.stdout
    trust = read_trust(out / "trust.parquet", what="user")
    assert {u for u, w in trust.items() if w < 1} == set(flagged["user_id"])
    assert max(w for w in trust.values() if w < 1) <= 0.5


def test_a_kind_that_needs_no_examples_scans_at_once(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank(
        "detect", "scan", "pca-select", "--data", "scan.toml", "-o", tmp_path, "--share", "0.125"
    )
    assert done.exit_code == 0, done.output
    assert "16 of 128 users are flagged" in done.stdout
    assert pl.read_parquet(tmp_path / "users.parquet")["flagged"].sum() == 16


def test_a_fitting_file_can_be_scanned_too(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank(
        "detect", "scan", "degree", "--data", "fit.toml", "-o", tmp_path, "--share", "0"
    )
    assert done.exit_code == 0, done.output
    assert "0 of 120 users are flagged" in done.stdout
    assert set(read_trust(tmp_path / "trust.parquet", what="user").values()) == {1.0}


@pytest.mark.parametrize(
    ("name", "says"),
    [("boosted", "learns from examples: run `hardrank detect fit` first"),
     ("bosted", "is no folder and no kind; kinds: pca-select")],
)  # fmt: skip
def test_an_unknown_or_unfitted_detector_is_refused(
    hardrank: Call, tmp_path: Path, name: str, says: str
) -> None:
    done = hardrank("detect", "scan", name, "--data", "scan.toml", "-o", tmp_path)
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_folder_without_a_detector_is_refused(hardrank: Call, tmp_path: Path) -> None:
    done = hardrank("detect", "scan", tmp_path, "--data", "scan.toml", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "is this a fitted detector?" in done.stderr


def test_all_mistakes_of_a_file_are_said_at_once(hardrank: Call, tmp_path: Path) -> None:
    text = FIT.replace("boosted", "bosted").replace("draws = 20", "drawz = 20")
    (tmp_path / "wrong.toml").write_text(text.replace('name = "shop"\n', ""), "utf-8")
    done = hardrank("detect", "fit", tmp_path / "wrong.toml")
    assert done.exit_code == 2
    assert "detector: unknown kind 'bosted'; did you mean 'boosted'?" in done.stderr
    assert "evaluation.drawz: unknown key; did you mean 'draws'?" in done.stderr
    assert "name: missing" in done.stderr


def test_a_threat_that_adds_no_users_is_refused(hardrank: Call, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(FIT.replace("profiles = 10", "profiles = 0"), "utf-8")
    done = hardrank("detect", "fit", tmp_path / "wrong.toml")
    assert done.exit_code == 2
    assert "give at least one fake user to learn from" in done.stderr
    done = hardrank("detect", "fit", "fit.toml", "--check")
    assert done.stdout == "fit.toml: fine\n"


@pytest.mark.parametrize("command", ["fit", "scan"])
def test_the_commands_explain_themselves(hardrank: Call, command: str) -> None:
    done = hardrank("detect", command, "--help")
    assert done.exit_code == 0
    assert "Usage:" in done.stdout


@pytest.fixture(scope="module")
def fitted(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that learned from logs with ratings and times."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop)
        done = CliRunner().invoke(app, ["detect", "fit", "fit.toml", "-q", "-o", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ('{ time = "time" }', "has no ratings, and the detector learned from logs with ratings"),
        ('{ rating = "rating" }', "has no times, and the detector learned from logs with times"),
        ("{}", "has no ratings and times, and the detector"),
    ],
)
def test_a_log_without_what_was_learned_from_gets_no_clean_bill(
    hardrank: Call, fitted: Path, shop: Path, tmp_path: Path, columns: str, said: str
) -> None:
    """All users are alike in what is missing: nobody would be flagged, in silence."""
    file = tmp_path / "bare.toml"
    file.write_text(
        f'data = {{ kind = "table", path = "{shop}/attacked.csv", columns = {columns} }}', "utf-8"
    )
    done = hardrank("detect", "scan", fitted, "--data", file, "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert said in done.stderr
    assert "name the columns in the file of --data (data.columns = { " in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_scan_that_is_killed_leaves_the_scan_before_whole(
    hardrank: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("detect", "scan", "pca-select", "--data", "scan.toml", "-o", tmp_path / "out")
    assert hardrank(*words, "--share", 0.1).exit_code == 0
    before = {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()}
    assert set(before) == {"users.parquet", "items.parquet", "trust.parquet"}
    with monkeypatch.context() as patch:
        patch.setattr(detect, "write_trust", _killed)
        assert hardrank(*words, "--share", 0.2).exit_code != 0
    assert {f.name: f.read_bytes() for f in (tmp_path / "out").iterdir()} == before
    assert [f.name for f in tmp_path.iterdir()] == ["out"], "no draft stays"
    assert hardrank(*words, "--share", 0.2).exit_code == 0
    assert (tmp_path / "out" / "users.parquet").read_bytes() != before["users.parquet"]


def test_a_fitting_that_is_killed_leaves_the_one_before_whole(
    hardrank: Call, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fitted, tmp_path / "kept")
    folder = tmp_path / "kept" / "detector"
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert set(before) == {"spec.json", "arrays.safetensors", "evaluation.json"}
    (tmp_path / "fit.toml").write_text(
        Path("fit.toml").read_text("utf-8").replace("trees = 20", "trees = 5")
        .replace("clean.csv", str(Path("clean.csv").resolve())), "utf-8",
    )  # fmt: skip
    words = ("detect", "fit", tmp_path / "fit.toml", "-q", "-o", tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(detect, "write_json", _killed)
        assert hardrank(*words).exit_code != 0
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    assert hardrank(*words).exit_code == 0
    after = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert set(after) == set(before)
    assert all(after[name] != before[name] for name in before)


def test_a_scan_replaces_no_folder_of_anything_else(hardrank: Call, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("mine", "utf-8")
    words = ("detect", "scan", "degree", "--data", "scan.toml", "--share", 0.1)
    done = hardrank(*words, "-o", tmp_path)
    assert done.exit_code == 2
    assert f"--out: {tmp_path} holds 'note.txt', which no scan wrote" in done.stderr
    done = hardrank(*words, "-o", note)
    assert done.exit_code == 2
    assert f"--out: {note} is no folder; choose another folder" in done.stderr
    assert note.read_text("utf-8") == "mine"


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.01, "users to set a threshold on (4 in all)"), (0.99, "users to learn from (4 in all)")],
)
def test_too_few_users_name_the_fields_to_change(
    hardrank: Call, tmp_path: Path, share: float, said: str
) -> None:
    """And in which direction."""
    rows = [f"u{u},i{(u * 3 + n) % 9},{n + 1}" for u in range(4) for n in range(5)]
    (tmp_path / "few.csv").write_text("\n".join(["user_id,item_id,rating", *rows]), "utf-8")
    (tmp_path / "few.toml").write_text(
        f"""
name = "few"
data = {{ kind = "table", path = "{tmp_path}/few.csv", columns = {{ rating = "rating" }} }}
attacks = [{{ kind = "random-profiles" }}]
detector = {{ kind = "logistic", held_out = {share} }}

[threat]
surface = "profiles"
goal = {{ kind = "promote", items = ["i4"] }}
budget = {{ profiles = 2, profile_events = 4 }}
""",
        "utf-8",
    )
    done = hardrank("detect", "fit", tmp_path / "few.toml", "-q", "-o", tmp_path / "out")
    assert done.exit_code == 3
    assert said in done.stderr
    way = "raise" if share < 0.5 else "lower"
    assert f"bring more users ([data], or a [split] that keeps more of them), or {way}" in (
        done.stderr
    )
    assert "detector.held_out, the share of them who set the threshold" in done.stderr
    assert "evaluation.held_out" not in done.stderr, "it has no part in this"
    assert not (tmp_path / "out" / "detector").exists()


def _killed(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt
