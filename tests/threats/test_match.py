"""Match files survive a kill: a line is there whole or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from hardrank.data import Patch, RewriteItem
from hardrank.errors import DataError
from hardrank.threats import Budget, Match, MatchLog, Promote, ThreatModel

MATCH = Match(
    attack="greedy-words(vocabulary=30)",
    threat=ThreatModel(goal=Promote(items=("x", "y")), budget=Budget(words=3, similarity=0.5)),
    target="x",
    patch=Patch((RewriteItem("x", "caf\u00e9 \u2028 \n lamp"),)),
    queries=12, words=2, word_share=0.4, characters=9, similarity=0.75, seconds=0.1, seed=3,
    victim="abc",
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    log = MatchLog(tmp_path / "deep" / "m.jsonl")
    other = replace(MATCH, target="y", patch=Patch(), error="needs gradients")
    assert list(log) == [] and log.load() == {}
    log.append(MATCH)
    log.append(other)
    assert list(MatchLog(log.path)) == [MATCH, other]
    assert log.load() == {MATCH.key: MATCH, other.key: other}


def test_the_last_of_equal_keys_counts(tmp_path: Path) -> None:
    log = MatchLog(tmp_path / "m.jsonl")
    log.append(replace(MATCH, error="failed"))
    log.append(MATCH)
    assert log.load() == {MATCH.key: MATCH}


def test_what_a_killed_process_left_is_dropped(tmp_path: Path) -> None:
    """Cut at any byte, the file holds the matches whose lines are whole, and can go on."""
    log = MatchLog(tmp_path / "m.jsonl")
    log.append(MATCH)
    one = log.path.read_bytes()
    for cut in range(0, len(one), 37):
        log.path.write_bytes(one + one[:cut])
        assert list(log) == [MATCH]
        log.append(replace(MATCH, seed=9))
        assert [m.seed for m in log] == [3, 9]


def test_a_long_unfinished_line_is_dropped(tmp_path: Path) -> None:
    log = MatchLog(tmp_path / "m.jsonl")
    log.append(MATCH)
    with log.path.open("ab") as file:
        file.write(b"x" * 200_000)
    log.append(MATCH)
    assert list(log) == [MATCH, MATCH]
    log.path.write_bytes(b"x" * 200_000)
    log.append(MATCH)
    assert list(log) == [MATCH]


@pytest.mark.parametrize("line", [b"{}", b"not json", b'{"threat": 1}', b"\xff\xfe", b"[]"])
def test_a_broken_whole_line_is_named(tmp_path: Path, line: bytes) -> None:
    log = MatchLog(tmp_path / "m.jsonl")
    log.append(MATCH)
    log.path.write_bytes(log.path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"m\.jsonl, line 2: not a match"):
        log.load()
