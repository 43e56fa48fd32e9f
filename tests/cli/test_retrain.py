"""`hardrank retrain`, `promote` and `rollback` from a shell (S3-21)."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result
from typer.testing import CliRunner

from hardrank.bundle import load_bundle, save_bundle
from hardrank.cli.main import app
from hardrank.context import RunContext
from hardrank.files import digest_file
from hardrank.models import ItemKnn
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
from hardrank.testing.logs import taste_log

DAY = 1_600_000_000 + 80 * 86_400


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with `bundles/first`, `s.db` and `r.toml`."""
    whole = taste_log(users=150, ratings=False)
    old = whole.where(pl.col("time") < DAY)
    save_bundle(
        tmp_path / "bundles" / "first", ItemKnn(), ItemKnn().fit(old, RunContext()), old,
        {"name": "first", "synthetic": True},
    )  # fmt: skip
    rows = whole.events.filter(pl.col("time") >= DAY).select("user", "item", "time").rows()
    with Store.open(tmp_path / "s.db") as store:
        store.add_events(
            [EventIn(f"e{n}", f"u{u}", f"i{i}", t) for n, (u, i, t) in enumerate(rows)]
        )
    written(tmp_path)
    return tmp_path


def written(folder: Path, more: str = "") -> None:
    (folder / "r.toml").write_text(
        f'champion = "{folder}/bundles/first"\nstore = "sqlite:///{folder}/s.db"\n{more}'
    )


def digest(folder: Path) -> str:
    return digest_file(folder / "SHA256SUMS")


def test_retrain_promote_and_back(shop: Path) -> None:
    """One command makes it live, one goes back."""
    out, store = shop / "bundles" / "second", f"sqlite:///{shop}/s.db"
    assert "fine" in run("retrain", shop / "r.toml", "-o", out, "--check").output
    assert not out.exists()
    done = run("retrain", shop / "r.toml", "-o", out, "-q", "--promote")
    assert done.exit_code == 0, done.output
    assert "0 of 111" not in done.output and "quarantined" in done.output
    assert "promote: as good and as robust as asked" in done.output
    assert f"live: {digest(out)}" in done.output
    said = json.loads((shop / "bundles" / "second.retraining" / "decision.json").read_text())
    assert said["promote"] and said["digest"] == digest(out)
    assert said["champion"] == digest(shop / "bundles" / "first")
    assert load_bundle(out).about["retraining"]["figures"]["challenger"]["queries"] > 0
    back = run("rollback", "--store", store)
    assert back.output == f"live: {digest(shop / 'bundles' / 'first')}\n"
    forth = run("promote", out, "--store", store)
    assert forth.exit_code == 0 and digest(out) in forth.output


def test_a_refusal_is_exit_code_1_and_promotes_nothing(shop: Path) -> None:
    written(shop, "[floors]\nquality = 1.0\n")
    out, store = shop / "bundles" / "second", f"sqlite:///{shop}/s.db"
    done = run("retrain", shop / "r.toml", "-o", out, "-q", "--promote")
    assert done.exit_code == 1
    assert "refuse: NDCG@10" in done.output and "live:" not in done.output
    with Store.open(shop / "s.db") as opened:
        assert opened.bundles() == (None, None)
    first = run("promote", shop / "bundles" / "first", "--store", store)
    assert first.exit_code == 0  # the first one of a store needs no decision
    refused = run("promote", out, "--store", store)
    assert refused.exit_code == 1 and "is under the floor" in refused.output
    forced = run("promote", out, "--store", store, "--force", "the floor was wrong")
    assert forced.exit_code == 0
    with Store.open(shop / "s.db") as opened:
        assert "the floor was wrong" in [r.detail.get("reason") for r in opened.audit_log()]


def test_a_bundle_that_nobody_compared_is_not_promoted_over_another(shop: Path) -> None:
    store, other = f"sqlite:///{shop}/s.db", shop / "bundles" / "other"
    data = taste_log(seed=1)
    save_bundle(other, ItemKnn(), ItemKnn().fit(data, RunContext()), data, {"name": "other"})
    assert run("promote", shop / "bundles" / "first", "--store", store).exit_code == 0
    refused = run("promote", other, "--store", store)
    assert refused.exit_code == 1 and "no retraining compared it" in refused.output


def test_nothing_to_go_back_to(shop: Path) -> None:
    done = run("rollback", "--store", f"sqlite:///{shop}/s.db")
    assert done.exit_code != 0 and "no previous bundle" in done.output


def test_no_folder_to_write_to_is_the_systems_fault(shop: Path) -> None:
    (shop / "file").write_text("")
    done = run("retrain", shop / "r.toml", "-o", shop / "file" / "second", "-q")
    assert done.exit_code == 4


def test_a_store_that_is_away_is_told(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDRANK_SERVE_STORE", "postgresql://nobody@127.0.0.1:1/none")
    done = run("retrain", shop / "r.toml", "-o", shop / "bundles" / "second", "-q")
    assert done.exit_code == 4 and "hardrank: " in done.output
    assert not (shop / "bundles" / "second").exists()


def test_mistakes_are_told_at_once(shop: Path) -> None:
    written(shop, "held_out = 2\nsed = 1\n")
    done: Any = run("retrain", shop / "r.toml", "-o", shop / "x", "--check")
    assert done.exit_code == 2
    assert "held_out: must be below 1" in done.output and "did you mean 'seed'" in done.output
