"""From `[victim]` to a recommender: open the port, ask the probe, set the limits."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from hardrank.data import Queries, render
from hardrank.errors import ConfigError, VictimError
from hardrank.types import Ints
from hardrank.victims.call import CallPort, find_callable
from hardrank.victims.external import External
from hardrank.victims.http import HttpPort, Terms
from hardrank.victims.line import Line
from hardrank.victims.pace import Pace
from hardrank.victims.probe import TOLERANCE, Probe, Seen, apart, examine
from hardrank.victims.question import Question
from hardrank.victims.specs import CallableVictim, HttpVictim, Outside
from hardrank.victims.store import Store

__all__ = ["Connection", "connect"]

_log = logging.getLogger("hardrank")
_QUERIES, _ITEMS = 8, 32
"""Of a probe, at most."""
_WIDTH = 2000
"""Candidates in one request to a service, unless somebody says otherwise."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Connection:
    """A victim from outside, and what is known of it."""

    victim: External
    seen: Seen
    probe: Probe

    @property
    def name(self) -> str:
        return self.victim.line.port.name

    def changed(self) -> float | None:
        """Ask the probe once more: how far the answers moved beyond what counts as equal,
        0 if they did not; None for a victim that never answers alike."""
        if not self.seen.steady:
            return None
        answers, scores = self.victim.line.port.ask(self.probe.question)
        if answers != self.seen.answers:
            return float("inf")
        moved = apart(scores, self.seen.scores)
        slack = TOLERANCE * float(np.abs(self.seen.scores).max(initial=0.0))
        return moved if moved > (slack if answers == "scores" else 0.0) else 0.0

    def describe(self) -> str:
        """One sentence for reports."""
        line, seen = self.victim.line, self.seen
        asked = f"Victim {self.name}, which answers {seen.answers}"
        if line.repeats > 1:
            twice = (
                f"two answers to the same question differed by up to {seen.difference:g}"
                if not seen.steady
                else "though two answers to the same question were alike"
            )
            asked += f"; each number is the mean of {line.repeats} answers, {twice}"
        return f"{asked}. It was identified by its answers to a fixed probe."

    def counts(self) -> dict[str, int]:
        """What was asked; `spent` includes earlier runs into the same folder."""
        line = self.victim.line
        traffic = line.port.traffic
        return {
            "requests": traffic.requests,
            "retries": traffic.retries,
            "scores asked": line.spent,
            "scores from earlier answers": line.kept,
        }


@contextmanager
def connect(
    victim: Outside,
    items: pl.DataFrame,
    users: Sequence[str],
    *,
    queries: Queries,
    k: int = 10,
    folder: Path | None = None,
    beside: Sequence[Path] = (),
) -> Iterator[Connection]:
    """A connection while the block lasts.

    queries: from which those of the probe are taken; folder: where answers are kept (None
    keeps none); beside: folders from which a callable may be imported.
    Raises `ConfigError` for a callable that is not there and `VictimError` for a victim
    that cannot be audited.
    """
    port, terms = _port(victim, beside)
    store = Store(folder / "answers.bin").open() if folder and victim.cache else None
    try:
        probe = _probe(victim, terms, items, users, queries, k)
        place = folder / "victim.json" if folder else None
        before = Seen.load(place, probe) if place else None
        seen = examine(port, probe, repeats=victim.repeats, before=before)
        _warn(port.name, seen, before, terms, victim)
        if place and seen is not before:
            seen.save(place, probe)
        line = Line(
            port=port, answers=seen.answers, identity=seen.identity, k=k,
            repeats=victim.repeats, queries=_queries(victim, terms),
            candidates=_candidates(victim, terms, seen, items.height, port.name),
            budget=victim.query_budget, store=store,
        )  # fmt: skip
        ranker = External(items=items, users=users, line=line, fields=victim.fields)
        yield Connection(victim=ranker, seen=seen, probe=probe)
    finally:
        if store:
            store.close()
        if isinstance(port, HttpPort):
            port.close()


def _port(victim: Outside, beside: Sequence[Path]) -> tuple[CallPort | HttpPort, Terms]:
    if isinstance(victim, CallableVictim):
        function = find_callable(victim.target, beside)
        return CallPort(function=function, name=victim.target), Terms()
    port = HttpPort(
        url=victim.url, timeout=victim.timeout, retries=victim.retries, token=_token(victim),
        pace=Pace(
            per_second=victim.requests_per_second, backoff=victim.backoff,
            longest=victim.longest_wait,
        ),
    )  # fmt: skip
    return port, port.terms()


def _token(victim: HttpVictim) -> str:
    name = victim.token_variable
    if name is None:
        return ""
    if not os.environ.get(name):
        raise ConfigError("victim.token_variable", [f"the environment has no variable '{name}'"])
    return os.environ[name]


def _queries(victim: Outside, terms: Terms) -> int:
    return min(victim.queries_per_request, terms.max_queries or victim.queries_per_request)


def _candidates(victim: Outside, terms: Terms, seen: Seen, height: int, name: str) -> int:
    limits = [n for n in (victim.candidates_per_request, terms.max_candidates) if n]
    if seen.answers == "ranks":
        if limits and min(limits) < height:
            raise VictimError(
                f"{name}: answers ranks, so the whole catalogue of {height} items has to be in "
                f"one request, but {min(limits)} are allowed; answer scores or allow more"
            )
        return height
    default = height if isinstance(victim, CallableVictim) else _WIDTH
    return min(limits, default=default)


def _probe(
    victim: Outside, terms: Terms, items: pl.DataFrame, users: Sequence[str], queries: Queries,
    k: int,
) -> Probe:  # fmt: skip
    width = min(_ITEMS, victim.candidates_per_request or _ITEMS, terms.max_candidates or _ITEMS)
    chosen = _spaced(len(queries), min(_QUERIES, _queries(victim, terms)))
    rows = _spaced(items.height, width)
    ids = items["item_id"].to_list()
    texts = {field: render(items, (field,)) for field in victim.fields}
    asked = queries.take(chosen)
    question = Question(
        histories=[[ids[i] for i in asked.history(q).tolist()] for q in range(len(asked))],
        users=[users[u] if u >= 0 else None for u in asked.users.tolist()],
        items=[
            {"item_id": ids[r], "text": {field: column[r] for field, column in texts.items()}}
            for r in rows.tolist()
        ],
        k=k,
    )
    return Probe(question=question)


def _spaced(count: int, most: int) -> Ints:
    """At most `most` of `count` rows, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _warn(name: str, seen: Seen, before: Seen | None, terms: Terms, victim: Outside) -> None:
    if terms.answers and terms.answers != seen.answers:
        raise VictimError(f"{name}: says that it answers {terms.answers}, answered {seen.answers}")
    if before is not None and seen is not before:
        _log.warning("%s answers otherwise than in the earlier run; all is asked anew", name)
    if not seen.reads_text:
        _log.warning(
            "%s: other texts under the same item ids change no score. Does it read the texts "
            "that it is sent? If it looks them up by id, no rewriting can show", name,
        )  # fmt: skip
    if victim.repeats > 1 and seen.steady:
        _log.warning("%s answers alike each time: repeats = 1 would do", name)
