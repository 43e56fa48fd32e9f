"""The first look at a victim: who it is, and whether it can be audited at all."""

import itertools
import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.victims.stubs import Stub, length_scores, ranked

from hardrank.data import Slate
from hardrank.errors import ConfigError, VictimError
from hardrank.testing.recommenders import toy_market
from hardrank.victims import CallableVictim, HttpVictim, connect
from hardrank.victims.call import find_callable

DATA = toy_market()
USERS = DATA.users["user_id"].to_list()
EVERY = Slate(items=np.arange(DATA.n_items))
_NUMBER = itertools.count()


def module(folder: Path, text: str) -> str:
    """A module of a name that no other test has imported."""
    name = f"somebodys_ranker_{next(_NUMBER)}"
    (folder / f"{name}.py").write_text(text, "utf-8")
    return name


def joined(victim: Any, folder: Path | None = None, beside: tuple[Path, ...] = ()) -> Any:
    return connect(
        victim, DATA.items, USERS, queries=DATA.histories(), folder=folder, beside=beside
    )


def refused(victim: Any, **more: Any) -> str:
    with pytest.raises(VictimError) as caught, joined(victim, **more):
        pass
    return str(caught.value)


@pytest.fixture
def path() -> Any:
    before = list(sys.path)
    yield
    sys.path[:] = before


LENGTHS = """
def rank(histories, items):
    def one(h, i):
        return len(h) * len(i["text"]["title"]) + len(i["item_id"])
    return [[one(h, i) for i in items] for h in histories]
class Shop:
    @staticmethod
    def rank(histories, items, users):
        return [[float(u is not None)] * len(items) for u in users]
number = 3
"""


def test_a_callable_is_found_and_asked(tmp_path: Path, path: None) -> None:
    name = module(tmp_path, LENGTHS)
    with joined(CallableVictim(target=f"{name}:rank"), beside=(tmp_path,)) as there:
        scores = there.victim.score(DATA.histories(), EVERY)
        titles = DATA.items["title"].to_list()
        assert scores[0].tolist() == [4 * len(t) + 1 for t in titles]
        assert there.changed() == 0
        assert f"{name}:rank, which answers scores" in there.describe()
        # probe twice, in company, rewritten; all queries in one call; probe at the end
        assert there.counts() == {
            "requests": 6, "retries": 0, "scores asked": 30 * 24, "scores from earlier answers": 0,
        }  # fmt: skip


def test_methods_are_callables_and_users_are_told_where_wanted(tmp_path: Path, path: None) -> None:
    name = module(tmp_path, LENGTHS)
    with joined(CallableVictim(target=f"{name}:Shop.rank"), beside=(tmp_path,)) as there:
        assert (there.victim.score(DATA.histories(), EVERY) == 1).all()


@pytest.mark.parametrize(
    ("text", "target", "said"),
    [
        (None, "no_such_module_here:rank", "no module 'no_such_module_here'"),
        (None, "json.nothing:rank", "no module 'json.nothing'"),
        (LENGTHS, "{}:rnk", "has no 'rnk'; it has: rank, Shop, number"),
        (LENGTHS, "{}:number", "'number' is a int, not callable"),
        ("import no_such_package_at_all", "{}:rank", "imports 'no_such_package_at_all', which"),
        ("x = 1 / 0", "{}:rank", "raised ZeroDivisionError: division by zero ("),
        ("def rank(:", "{}:rank", "raised SyntaxError"),
    ],
)
def test_a_callable_that_is_not_there(
    tmp_path: Path, path: None, text: str | None, target: str, said: str
) -> None:
    name = module(tmp_path, text) if text else ""
    with pytest.raises(ConfigError) as caught:
        find_callable(target.format(name), [tmp_path])
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_callable_that_raises_is_named_with_its_line(tmp_path: Path, path: None) -> None:
    name = module(tmp_path, "def rank(histories, items):\n    return items[10_000]\n")
    said = refused(CallableVictim(target=f"{name}:rank"), beside=(tmp_path,))
    assert said == f"{name}:rank raised IndexError: list index out of range ({name}.py, line 2)"


def test_a_callable_may_change_what_it_gets(tmp_path: Path, path: None) -> None:
    text = "def rank(histories, items):\n    out = [[len(i['text']['title']) for i in items]"
    text += " for h in histories]\n    items.clear()\n    histories.clear()\n    return out\n"
    name = module(tmp_path, text)
    with joined(CallableVictim(target=f"{name}:rank"), beside=(tmp_path,)) as there:
        assert np.ptp(there.victim.score(DATA.histories(), EVERY), axis=0).max() == 0


RANDOM = """
import random
def rank(histories, items):
    return [[len(i["text"]["title"]) + random.random() for i in items] for _ in histories]
"""


def test_a_victim_of_chance_is_refused_or_averaged(tmp_path: Path, path: None) -> None:
    """Different answers twice: a clear refusal, or expectation over repeats."""
    target = f"{module(tmp_path, RANDOM)}:rank"
    said = refused(CallableVictim(target=target), beside=(tmp_path,))
    assert "two answers to the same question differ by up to" in said
    assert "set victim.repeats to 5 or more" in said
    with joined(CallableVictim(target=target, repeats=64), beside=(tmp_path,)) as there:
        scores = there.victim.score(DATA.histories(), EVERY)
        lengths = np.array([len(t) for t in DATA.items["title"]])
        assert np.abs(scores - lengths - 0.5).max() < 0.25  # 7 standard errors of 64 draws
        assert there.changed() is None
        assert "each number is the mean of 64 answers, two answers" in there.describe()


SOFTMAX = """
import math
def rank(histories, items):
    e = [math.exp(len(i["text"]["title"]) / 9) for i in items]
    return [[x / sum(e) for x in e] for _ in histories]
"""


def test_scores_that_depend_on_the_company_are_refused(tmp_path: Path, path: None) -> None:
    target = f"{module(tmp_path, SOFTMAX)}:rank"
    said = refused(CallableVictim(target=target), beside=(tmp_path,))
    assert "changes by" in said and "no softmax" in said


IGNORES = """
def rank(histories, items):
    return [[hash(i["item_id"]) % 7 + len(h) for i in items] for h in histories]
"""


def test_a_victim_that_ignores_the_texts_is_told_of(
    tmp_path: Path, path: None, caplog: pytest.LogCaptureFixture
) -> None:
    target = f"{module(tmp_path, IGNORES)}:rank"
    with (
        caplog.at_level(logging.WARNING),
        joined(CallableVictim(target=target), beside=(tmp_path,)) as there,
    ):
        assert not there.seen.reads_text
    assert "Does it read the texts that it is sent?" in caplog.text


def test_limits_of_the_contract_page_are_kept(stub: Stub) -> None:
    stub.contract = {"version": 1, "max_queries": 3, "max_candidates": 5}
    with joined(HttpVictim(url=stub.url, queries_per_request=10)) as there:
        there.victim.score(DATA.histories(), EVERY)
    asked = [json.loads(body) for body in stub.bodies]
    assert max(len(a["queries"]) for a in asked) == 3
    assert max(len(a["candidates"]) for a in asked) == 5
    assert sum(len(a["queries"]) * len(a["candidates"]) for a in asked[4:]) == 30 * 24
    assert {a["version"] for a in asked} == {1}


def test_a_victim_that_answers_ranks(stub: Stub) -> None:
    stub.answer = lambda asked: ranked(length_scores(asked), asked, 10)
    with joined(HttpVictim(url=stub.url)) as there:
        assert there.victim.grants == "ranks"
        scores = there.victim.score(DATA.histories(), EVERY)
        assert there.changed() == 0
    assert sorted(set((-scores[0]).tolist())) == [*range(10), 24]


def test_ranks_of_half_a_catalogue_are_no_ranks(stub: Stub) -> None:
    stub.answer = lambda asked: ranked(length_scores(asked), asked)
    stub.contract = {"version": 1, "answers": "ranks", "max_candidates": 12}
    assert "the whole catalogue of 24 items has to be in one request" in refused(
        HttpVictim(url=stub.url)
    )


def test_a_page_that_says_otherwise_than_the_answers(stub: Stub) -> None:
    stub.contract = {"answers": "ranks"}
    assert "says that it answers ranks, answered scores" in refused(HttpVictim(url=stub.url))


def test_a_change_during_the_audit_is_seen_at_its_end(stub: Stub) -> None:
    def other(asked: dict[str, Any]) -> dict[str, Any]:
        return {"scores": [[2 * s for s in row] for row in length_scores(asked)["scores"]]}

    with joined(HttpVictim(url=stub.url)) as there:
        assert there.changed() == 0
        stub.answer = other
        assert there.changed() > 1
        stub.answer = lambda asked: ranked(length_scores(asked), asked)
        assert there.changed() == float("inf")


def test_what_was_answered_is_not_asked_again(stub: Stub, tmp_path: Path) -> None:
    """Nor after a break in the middle, nor in other batches; a new probe is one request."""
    victim = HttpVictim(url=stub.url, retries=0, backoff=0)
    stub.faults = [None] * 4 + [None, (500, {}, b"gone")]
    with (
        pytest.raises(VictimError, match="gone"),
        joined(HttpVictim(url=stub.url, retries=0, queries_per_request=10), tmp_path) as there,
    ):
        there.victim.score(DATA.histories(), EVERY)
    assert len(stub.bodies) == 6
    with joined(victim, tmp_path) as there:
        scores = there.victim.score(DATA.histories(), EVERY)
    assert len(stub.bodies) == 8  # the probe once, and the 20 queries that were not answered
    assert len(json.loads(stub.bodies[-1])["queries"]) == 20
    with joined(victim, tmp_path) as there:
        assert np.array_equal(there.victim.score(DATA.histories(), EVERY), scores)
        assert there.counts()["scores from earlier answers"] == 30 * 24
        assert there.counts()["scores asked"] == 30 * 24
    assert len(stub.bodies) == 9


def test_another_victim_is_asked_anew(
    stub: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    victim = HttpVictim(url=stub.url)
    with joined(victim, tmp_path) as there:
        before = there.victim.score(DATA.histories(), EVERY)
    stub.answer = lambda asked: {
        "scores": [[-s for s in row] for row in length_scores(asked)["scores"]]
    }
    with caplog.at_level(logging.WARNING), joined(victim, tmp_path) as there:
        assert np.array_equal(there.victim.score(DATA.histories(), EVERY), -before)
    assert "answers otherwise than in the earlier run" in caplog.text


def test_without_a_cache_nothing_is_kept(stub: Stub, tmp_path: Path) -> None:
    with joined(HttpVictim(url=stub.url, cache=False), tmp_path) as there:
        there.victim.score(DATA.histories(), EVERY)
        there.victim.score(DATA.histories(), EVERY)
        assert there.counts()["scores asked"] == 2 * 30 * 24
    assert [p.name for p in tmp_path.iterdir()] == ["victim.json"]


def test_the_token_comes_from_the_environment(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = HttpVictim(url=stub.url, token_variable="SHOP_TOKEN")
    monkeypatch.delenv("SHOP_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="no variable 'SHOP_TOKEN'"), joined(victim):
        pass
    monkeypatch.setenv("SHOP_TOKEN", "abc")
    with joined(victim):
        pass
    assert stub.headers[0]["Authorization"] == "Bearer abc"


@pytest.mark.parametrize("url", ["ftp://x/y", "127.0.0.1:80", "http://u:p@host/", "http://h:x/"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"url|port|Port"):
        HttpVictim(url=url)
