"""The line to a victim: what is known is looked up, what is not is asked, counted and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hardrank.errors import VictimError
from hardrank.files import digest_bytes
from hardrank.types import Ints, Scores
from hardrank.victims.question import Answers, Question
from hardrank.victims.store import Store

__all__ = ["Asked", "Line", "Offer", "Port", "Traffic"]


class Port(Protocol):
    """How questions get to a victim: over HTTP, or as a call."""

    @property
    def name(self) -> str:
        """For messages: the URL, or `module:callable`."""
        ...

    @property
    def traffic(self) -> "Traffic": ...

    def ask(self, question: Question) -> tuple[Answers, Scores]:
        """What was answered, and (Q, C) finite scores.

        Raises `VictimError` when there is no answer, or not one of the contract's."""
        ...


@dataclass
class Traffic:
    """What went over a port, in this process."""

    requests: int = 0
    """Sent, retries included."""
    retries: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """Q queries, as a victim is told of them."""

    histories: Sequence[Sequence[str]]
    users: Sequence[str | None]

    def take(self, rows: Ints) -> "Asked":
        chosen = rows.tolist()
        return Asked(
            histories=[self.histories[r] for r in chosen], users=[self.users[r] for r in chosen]
        )

    def digests(self) -> list[bytes]:
        """One for each query; ids cannot run into each other."""
        return [
            bytes.fromhex(digest_bytes(*(i.encode() for i in h), b"", (u or "").encode()))
            for h, u in zip(self.histories, self.users, strict=True)
        ]


@dataclass(frozen=True, eq=False, kw_only=True)
class Offer:
    """C candidates, and a digest of them all."""

    items: Sequence[Mapping[str, Any]]
    digest: bytes


@dataclass(eq=False, kw_only=True)
class Line:
    """Asks a port in batches that it can take, within the budget of the whole audit.

    Each row (one query against one offer) is kept in the store under a hash of its content
    and of the victim's identity: an interrupted audit does not ask for it again.
    """

    port: Port
    answers: Answers
    identity: str
    """Of the victim: its answers to the probe. Rows of another victim are not used."""
    k: int = 10
    repeats: int = 1
    """Each question is asked so often; the answer is the mean."""
    queries: int = 64
    """Most in one request."""
    candidates: int = 2000
    """Most in one request."""
    budget: int | None = None
    """Scores that may be asked for in the whole audit; None for no limit."""
    store: Store | None = None
    spent: int = 0
    """Scores asked for so far; those in the store count."""
    kept: int = 0
    """Scores that were answered from the store, in this process."""
    _prefix: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        said = [str(self.answers), self.identity, str(self.repeats)]
        said += [str(self.k)] if self.answers == "ranks" else []
        self._prefix = digest_bytes(*(part.encode() for part in said)).encode()
        self.spent = self.store.cost if self.store else 0

    def rows(self, asked: Asked, offer: Offer, *, only: int | None = None) -> Scores:
        """(Q, C), or (Q, 1) of candidate `only` where the others matter but are not kept."""
        keys = [self._key(q, offer, only) for q in asked.digests()]
        known = self.store.get(keys) if self.store else [None] * len(keys)
        out = np.empty((len(keys), len(offer.items) if only is None else 1), dtype=np.float32)
        for q, row in enumerate(known):
            if row is not None:
                out[q] = row
        missing = np.array([q for q, row in enumerate(known) if row is None], dtype=np.int64)
        self.kept += (len(keys) - len(missing)) * len(offer.items)
        for start in range(0, len(missing), self.queries):
            part = missing[start : start + self.queries]
            scores = self._mean(asked.take(part), offer)
            out[part] = scores if only is None else scores[:, only : only + 1]
            if self.store:
                cost = len(offer.items) * self.repeats
                self.store.put([keys[q] for q in part], out[part], cost)
        return out

    def _key(self, query: bytes, offer: Offer, only: int | None) -> bytes:
        which = b"" if only is None else str(only).encode()
        return bytes.fromhex(digest_bytes(self._prefix, query, offer.digest, which))

    def _mean(self, asked: Asked, offer: Offer) -> Scores:
        question = Question(
            histories=asked.histories, users=asked.users, items=offer.items, k=self.k
        )
        self._charge(question.size * self.repeats)
        total = self._ask(question).astype(np.float64)
        for _ in range(self.repeats - 1):
            total += self._ask(question)
        return (total / self.repeats).astype(np.float32)

    def _ask(self, question: Question) -> Scores:
        answers, scores = self.port.ask(question)
        if answers != self.answers:
            raise VictimError(
                f"{self.port.name}: answered {answers} after it had answered {self.answers}; "
                "an audit needs one of them throughout"
            )
        return scores

    def _charge(self, scores: int) -> None:
        """Raises before anything is asked."""
        if self.budget is not None and self.spent + scores > self.budget:
            raise VictimError(
                f"{self.port.name}: the query budget is used up: {self.spent} scores asked for, "
                f"{scores} more wanted, victim.query_budget = {self.budget}; raise it and run "
                "again: what was answered is kept"
            )
        self.spent += scores
