"""`hardrank recommend`: by user, by history, and what it says when it cannot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardrank.bundle import load_bundle
from hardrank.data import Dataset, Queries
from hardrank.recommender import Recommender

Call = Callable[..., Any]


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_by_user_gives_the_models_own_list(
    hardrank: Call, bundle: Path, data: Dataset, model: Recommender
) -> None:
    user = data.users["user_id"][7]
    done = hardrank("recommend", bundle, "--user", user, "-k", 5, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    past = data.event_items[data.offsets[7] : data.offsets[8]]
    wanted = model.top(Queries.of([past]), 5)[0]
    assert [r["item_id"] for r in rows(done.stdout)] == data.items["item_id"][wanted].to_list()
    scores = [r["score"] for r in rows(done.stdout)]
    assert scores == sorted(scores, reverse=True)


def test_several_titles_after_history_as_the_log_has_them(
    hardrank: Call, bundle: Path, data: Dataset
) -> None:
    """Titles and ids are one history; nothing of it is recommended again."""
    titles = data.items["title"][[3, 9]].to_list()
    ids = data.items["item_id"][[3, 9]].to_list()
    by_title = hardrank("recommend", bundle, "--history", *titles, "--json")
    by_id = hardrank("recommend", bundle, "--history", *ids, "--json")
    one = hardrank("recommend", bundle, "--history", titles[1], "--json")
    assert by_title.exit_code == 0
    assert by_title.stdout == by_id.stdout != one.stdout
    found = [r["item_id"] for r in rows(by_title.stdout)]
    assert len(found) == 10
    assert not set(found) & set(ids)
    wanted = load_bundle(bundle).recommend_after(ids)["item_id"].to_list()
    assert found == wanted


def test_in_a_process_of_its_own_a_table_that_says_synthetic(
    process: Call, bundle: Path, data: Dataset
) -> None:
    titles = data.items["title"][[3, 9]].to_list()
    done = process("recommend", bundle, "--history", *titles, "--top", 2)
    assert (done.returncode, done.stderr) == (0, "")
    first, *lines = done.stdout.splitlines()
    assert first == "(synthetic data)"
    assert [line.split()[0] for line in lines] == ["1", "2"]


def test_an_unknown_user_gets_a_remedy(hardrank: Call, bundle: Path) -> None:
    done = hardrank("recommend", bundle, "--user", "nobody")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == (
        "hardrank: unknown user 'nobody'; ask with a history of item ids or titles\n"
    )


def test_an_unknown_title_names_the_closest(hardrank: Call, bundle: Path, data: Dataset) -> None:
    title = data.items["title"][5]
    done = hardrank("recommend", bundle, "--history", title[:-1] + "?")
    assert (done.exit_code, done.stdout) == (3, "")
    assert f"no item has the id or title '{title[:-1]}?'; did you mean " in done.stderr
    assert title in done.stderr


@pytest.mark.parametrize(
    "arguments", [[], ["--user", "a", "--history", "b"], ["a title"], ["--user", "a", "b"]]
)
def test_one_way_to_ask_and_only_one(hardrank: Call, bundle: Path, arguments: list[str]) -> None:
    done = hardrank("recommend", bundle, *arguments)
    assert done.exit_code == 2
    assert "give either --user ID or --history TITLE [TITLE ...]" in done.stderr


@pytest.mark.parametrize("name", ["weights.safetensors", "items.parquet", "spec.json"])
def test_one_altered_byte_is_refused(hardrank: Call, bundle: Path, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    done = hardrank("recommend", bundle, "--user", "user-00000")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"hardrank: {bundle / name}: was altered (its digest differs from SHA256SUMS)\n"
    )


def test_a_missing_file_and_a_folder_that_is_no_bundle(
    hardrank: Call, bundle: Path, tmp_path: Path
) -> None:
    (bundle / "histories.parquet").unlink()
    done = hardrank("recommend", bundle, "--user", "x")
    assert done.exit_code == 1
    assert "histories.parquet" in done.stderr and "is missing" in done.stderr
    (tmp_path / "empty").mkdir()
    done = hardrank("recommend", tmp_path / "empty", "--user", "x")
    assert done.exit_code == 1
    assert done.stderr.endswith("empty: no SHA256SUMS; is this a bundle?\n")
