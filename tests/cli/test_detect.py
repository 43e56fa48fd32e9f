"""`hardrank detect fit|scan` on a log of one's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.data import Dataset
from hardrank.data.trust import read_trust
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
    rows = json.loads((tmp_path / "fitted" / "evaluation.json").read_text("utf-8"))["rows"]
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
