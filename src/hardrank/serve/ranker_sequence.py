"""Sequence models: the state after a history, times item vectors."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import torch

from hardrank.data import render
from hardrank.models.sequence.alignment import Alignment
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.serve.rankers import Question, Rows, unit
from hardrank.types import Floats, Ints, Scores

__all__ = ["SequenceRanker"]

_STATES = 20_000
"""States remembered: 64 numbers each."""


class SequenceRanker:
    """See `hardrank.models.sequence.recommender`, whose scores these are.

    A row of `_table` is [vector, what its events earned, what it scores for nobody]; a state
    is [state, 1, 0] after a history and [0, 0, 1] without one.
    """

    def __init__(self, model: SequenceRecommender) -> None:
        self._model = model
        self._network, self._source = model.network, model.source
        self.reads_text = self.reads_new = model.source is not None
        self._size = model.vectors.shape[1]
        counts = model.counts
        influence = self._network.influence
        with_new = None if influence is None else influence.serving(np.append(counts, 0))
        self._newcomer = 0.0 if with_new is None else float(with_new[-1])
        earned = np.zeros(len(counts)) if model.earned is None else model.earned.numpy()
        table = np.column_stack([model.vectors.numpy(), earned, np.log1p(counts)])
        self._table = Rows(table)
        self._text = self._text_table()
        self._cold = set(np.flatnonzero(counts == 0).tolist()) if self._text is not None else set()
        self._known = np.flatnonzero(counts > 0)
        self._states: OrderedDict[tuple[int, ...], tuple[int, Floats]] = OrderedDict()
        """History -> (writes when it was made, state): nobody's name is in it."""
        self._writes = 0
        self._rewritten: dict[int, int] = {}
        """Row -> the write that changed its vector last."""
        self._reading = threading.Lock()

    def read(self, fields: Mapping[str, str]) -> Floats | None:
        if self._source is None:
            return None
        row = pl.DataFrame({name: [fields.get(name, "")] for name in self._source.fields})
        return self._read_text(render(row, self._source.fields)[0])

    def put(self, row: int, fields: Mapping[str, str], read: Floats | None) -> bool:
        trained = row < len(self._model.counts)
        if read is None:
            if not trained:  # the row must be there; the engine keeps it off all lists
                self._table.put(row, np.zeros(self._size + 2, dtype=np.float32))
            return trained
        self._writes += 1
        if row < len(self._table):  # a new row is in no history that was read before
            self._rewritten[row] = self._writes
        vector, earned, alone = read, self._newcomer, 0.0
        if trained:
            ids, _ = self._model.parts(np.array([row]))
            vector = vector + ids.numpy()[0]
            earned, alone = self._table.all[row, -2:].tolist()
        self._table.put(row, np.append(vector, [earned, alone]).astype(np.float32))
        if self._text is not None:
            self._text.put(row, read)
            if not trained:
                self._cold.add(row)
        return True

    def forget(self) -> None:
        self._states.clear()

    def scores(self, asked: Sequence[Question]) -> Scores:
        states = self._all_states(asked)
        scores: Scores = states @ self._table.all.T
        return scores if self._text is None or not self._cold else self._aligned(states, scores)

    def states(self, asked: Sequence[Question]) -> Floats | None:
        return self._all_states(asked) if self._text is None else None

    def vectors(self) -> Floats | None:
        return self._table.all if self._text is None else None

    def units(self, rows: Ints) -> Floats | None:
        return unit(self._table.all[rows, : self._size])

    def _text_table(self) -> Rows | None:
        """(I, D) text parts, where a second head ranks what has no id."""
        if self._network.text_states is None:
            return None
        _, by_text = self._model.parts(np.arange(len(self._model.counts)))
        return None if by_text is None else Rows(by_text.numpy())

    def _aligned(self, states: Floats, scores: Scores) -> Scores:
        head, text = self._network.text_states, self._text
        assert head is not None and text is not None
        cold = np.fromiter(self._cold, dtype=np.int64)
        told = np.flatnonzero(states[:, -2] > 0)  # those with a history
        if not len(told) or not len(self._known):
            return scores
        with torch.no_grad():
            by_text = head(torch.from_numpy(states[told, : self._size]))
            full = states[told] @ self._table.all[self._known].T
            align = Alignment.fit(
                by_text @ torch.from_numpy(text.all[self._known]).T, torch.from_numpy(full)
            )
            new = align(by_text @ torch.from_numpy(text.all[cold]).T).numpy()
        scores[np.ix_(told, cold)] = new + self._table.all[cold, -2]
        return scores

    def _all_states(self, asked: Sequence[Question]) -> Floats:
        out = np.zeros((len(asked), self._size + 2), dtype=np.float32)
        missing: dict[tuple[int, ...], list[int]] = {}
        for n, question in enumerate(asked):
            history = question.history[-self._model.length :]
            if question.text is None and not history:
                out[n, -1] = 1.0
                continue
            out[n, -2] = 1.0
            if question.text is not None:
                out[n, : self._size] = self._asked_in_words(history, question.text)
            elif (found := self._state(history)) is not None:
                out[n, : self._size] = found
            else:
                missing.setdefault(history, []).append(n)
        if missing:
            self._fill(out, missing)
        return out

    def _state(self, history: tuple[int, ...]) -> Floats | None:
        """Of this very history, while no item of it reads otherwise since."""
        made, state = self._states.get(history, (0, None))
        if state is None or not self._rewritten:
            return state
        changed = max(self._rewritten.get(row, 0) for row in history)
        return state if changed <= made else None

    def _fill(self, out: Floats, missing: Mapping[tuple[int, ...], list[int]]) -> None:
        histories = list(missing)
        found = self._run([self._table.all[list(h), : self._size] for h in histories])
        for history, state in zip(histories, found, strict=True):
            out[missing[history], : self._size] = state
            self._states[history] = self._writes, state
        while len(self._states) > _STATES:
            self._states.popitem(last=False)

    def _asked_in_words(self, history: tuple[int, ...], text: str) -> Floats:
        """The state after the history and the text, as if that were one more item."""
        kept = list(history[-(self._model.length - 1) :]) if self._model.length > 1 else []
        past = self._table.all[kept, : self._size]
        both = np.vstack([past, self._read_text(text)[None]])
        return np.asarray(self._run([both])[0], dtype=np.float32)

    def _run(self, read: Sequence[Floats]) -> Floats:
        """(B, D) states after sequences of item vectors, (L, D) each."""
        lengths = [len(vectors) for vectors in read]
        padded = np.zeros((len(read), max(lengths), self._size), dtype=np.float32)
        for n, vectors in enumerate(read):
            padded[n, : len(vectors)] = vectors
        with torch.inference_mode():
            states = self._network.transformer(torch.from_numpy(padded)).numpy()
        return np.asarray(states[np.arange(len(read)), np.asarray(lengths) - 1], dtype=np.float32)

    def _read_text(self, text: str) -> Floats:
        """(D,) item vector of the text alone."""
        assert self._source is not None
        with self._reading, torch.no_grad():  # the encoder's memory is not made for threads
            vector = self._network.tower.from_text(self._source([text], keep=False))
        return np.asarray(vector.numpy()[0], dtype=np.float32)
