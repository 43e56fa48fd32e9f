"""Words that fit a place in a text, as any local masked language model sees it.

Li et al., "BERT-ATTACK", EMNLP 2020, arXiv:2004.09984. As there, the original word stays
where it is while the model predicts, so that candidates lean on its meaning; `masked` hides
it, so that only the context speaks (Garg and Ramakrishnan, "BAE", EMNLP 2020). Unlike there,
candidates are single pieces that begin a word: combinations of sub-words are not tried, and a
word of several pieces, which has no single place to read a prediction from, is masked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank import wording
from hardrank.errors import DataError
from hardrank.language.checkpoints import legal, load_checkpoint
from hardrank.language.forms import like, shell
from hardrank.recommender import best

__all__ = ["Candidates", "MaskedLM"]

Candidates = list[tuple[str, float]]
"""Words and their natural-log probabilities over the whole vocabulary, likeliest first."""
_CELLS = 2**25
"""Numbers (N, T, V) that one forward pass may give: 128 MB."""
_BATCH = 64


@dataclass(frozen=True)
class _Place:
    ids: tuple[int, ...]
    at: int
    """Row of `ids` to read the prediction at."""


@dataclass(frozen=True, eq=False)
class MaskedLM:
    """Built by `load`. Deterministic; the same place gets the same candidates in any batch,
    up to floating-point sums."""

    module: Any
    tokenizer: Any
    max_tokens: int
    """Tokens read around a place, special ones included; text farther away is not read. At
    most what the model has positions for."""

    @classmethod
    def load(cls, path: Path | str, *, max_tokens: int = 64, device: str = "cpu") -> "MaskedLM":
        """From a folder with a `...ForMaskedLM` model (safetensors) and its tokenizer.

        Raises `Unsupported` (no folder), `DataError` (not a masked language model).
        """
        module, tokenizer = load_checkpoint(Path(path), "AutoModelForMaskedLM")
        if tokenizer.mask_token_id is None:
            raise DataError("its tokenizer has no mask token", path=path)
        return cls(module.to(device), tokenizer, min(max_tokens, _longest(module.config)))

    def fill(self, text: str, span: tuple[int, int], k: int, *, masked: bool = False) -> Candidates:
        """At most `k` words to put in the place of the word `text[span[0]:span[1]]`.

        Marks around the word and its case are kept, and the word itself is left out. span: one
        of `hardrank.wording.spans(text)`.
        """
        return self.fill_many([(text, span)], k, masked=masked)[0]

    def fill_many(
        self,
        requests: Sequence[tuple[str, tuple[int, int]]],
        k: int,
        *,
        masked: bool = False,
    ) -> list[Candidates]:
        """`fill` for many (text, span), in batches of places with about equal context."""
        places, around = [], []
        for text, (start, end) in requests:
            before, core, after = shell(text[start:end])
            around.append((before, core, after))
            left, right = start + len(before), end - len(after)
            places.append(self._place(text[:left], None if masked else core, text[right:]))
        # Twice as many: the word itself goes, and spellings that differ in case only.
        rows = zip(self._predict(places, 2 * k + 2), around, strict=True)
        return [self._dressed(found, *parts)[:k] for found, parts in rows]

    def insert(self, text: str, position: int, k: int) -> Candidates:
        """At most `k` words to put before word `position` of `text` (its number of words, W,
        for the end), as they are spelled in the vocabulary."""
        return self.insert_many([(text, position)], k)[0]

    def insert_many(self, requests: Sequence[tuple[str, int]], k: int) -> list[Candidates]:
        """`insert` for many (text, position). Raises ValueError for a position not in 0..W."""
        places = []
        for text, position in requests:
            starts = [start for start, _ in wording.spans(text)]
            if not 0 <= position <= len(starts):
                raise ValueError(f"position {position}: the text has {len(starts)} words")
            cut = starts[position] if position < len(starts) else len(text)
            places.append(self._place(text[:cut] + " ", None, " " + text[cut:]))
        rows = self._predict(places, 2 * k + 2)
        return [self._dressed(found, "", "", "")[:k] for found in rows]

    def pseudo_perplexity(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) exp of the mean of -ln p(token | all other tokens of the text), each masked in
        turn. Salazar et al., ACL 2020, arXiv:1910.14659, equation 1. Texts are read up to
        `max_tokens`; nan for a text without tokens. Comparable for one tokenizer only."""
        whole = [self._ids(text)[: self._room] for text in texts]
        places = [
            self._framed(ids[:i], self.tokenizer.mask_token_id, ids[i + 1 :])
            for ids in whole
            for i in range(len(ids))
        ]
        wanted = [token for ids in whole for token in ids]
        logs = np.zeros(len(places))
        for rows, log_probs in self._log_probs(places):
            logs[rows] = log_probs[np.arange(len(rows)), [wanted[r] for r in rows]]
        parts = np.split(logs, np.cumsum([len(ids) for ids in whole])[:-1])
        return np.array([np.exp(-p.mean()) if len(p) else np.nan for p in parts])

    # Inside

    @property
    def _room(self) -> int:
        prefix, suffix = self._frame
        return max(1, self.max_tokens - len(prefix) - len(suffix))

    @cached_property
    def _frame(self) -> tuple[list[int], list[int]]:
        """Special tokens before and after a text."""
        ids = list(self.tokenizer(self.tokenizer.mask_token)["input_ids"])
        at = ids.index(self.tokenizer.mask_token_id)
        return ids[:at], ids[at + 1 :]

    @cached_property
    def _words(self) -> list[str | None]:
        """(V,) the word each token is, None for specials, pieces and marks."""
        names = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        lead = _lead(names)
        special = set(self.tokenizer.all_special_ids)
        words = [None if i in special else _word(n, lead) for i, n in enumerate(names)]
        if lead == "Ġ":  # byte-level: letters outside ASCII are spelled in bytes
            told = self.tokenizer.convert_tokens_to_string
            words = [w and _word(told([n]).strip(), "") for w, n in zip(words, names, strict=True)]
        size = int(self.module.config.vocab_size)
        return (words + [None] * size)[:size]

    @cached_property
    def _banned(self) -> NDArray[np.bool_]:
        return np.array([w is None for w in self._words])

    def _ids(self, text: str) -> list[int]:
        found = self.tokenizer(legal(text), add_special_tokens=False, verbose=False)
        return list(found["input_ids"])

    def _place(self, left: str, core: str | None, right: str) -> _Place:
        """The context, cut to what fits; both sides get half of it unless one needs less."""
        # A token has mostly fewer than 16 characters: no need to read a whole long text.
        reach = 16 * self.max_tokens
        blank = " " if left[-1:].isspace() else ""
        before, after = self._ids(left[-reach:].rstrip()), self._ids(right[:reach])
        middle = self._ids(blank + core) if core else []
        token = middle[0] if len(middle) == 1 else self.tokenizer.mask_token_id
        room = self._room - 1
        kept = min(len(before), max(room - room // 2, room - len(after)))
        return self._framed(before[len(before) - kept :], token, after[: room - kept])

    def _framed(self, before: list[int], token: int, after: list[int]) -> _Place:
        prefix, suffix = self._frame
        return _Place((*prefix, *before, token, *after, *suffix), len(prefix) + len(before))

    def _predict(self, places: Sequence[_Place], k: int) -> list[Candidates]:
        out: list[Candidates] = [[] for _ in places]
        for rows, log_probs in self._log_probs(places):
            log_probs[:, self._banned] = -np.inf
            top = best(log_probs, k)
            for row, tokens, values in zip(rows, top, log_probs, strict=True):
                out[row] = [
                    (str(self._words[t]), float(values[t]))
                    for t in tokens.tolist()
                    if values[t] > -np.inf
                ]
        return out

    def _log_probs(self, places: Sequence[_Place]) -> Iterator[tuple[list[int], Any]]:
        """(rows of `places`, (N, V) log-probabilities at each place), shortest first."""
        import torch

        device = next(self.module.parameters()).device
        order = sorted(range(len(places)), key=lambda i: len(places[i].ids))
        while order:
            width = len(places[order[min(_BATCH, len(order)) - 1]].ids)
            size = max(1, min(_BATCH, _CELLS // (width * len(self._words))))
            rows, order = order[:size], order[size:]
            width = len(places[rows[-1]].ids)
            pad = self.tokenizer.pad_token_id or 0
            ids = np.full((len(rows), width), pad, dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for at, row in enumerate(rows):
                ids[at, : len(places[row].ids)] = places[row].ids
                mask[at, : len(places[row].ids)] = 1
            with torch.inference_mode():
                logits = self.module(
                    input_ids=torch.from_numpy(ids).to(device),
                    attention_mask=torch.from_numpy(mask).to(device),
                ).logits
                at_place = logits[torch.arange(len(rows)), [places[r].at for r in rows]].float()
                yield rows, torch.log_softmax(at_place, dim=1).cpu().numpy().copy()

    @staticmethod
    def _dressed(found: Candidates, before: str, core: str, after: str) -> Candidates:
        """Each word once, in the case and between the marks of the word it replaces."""
        out: dict[str, float] = {}
        for word, log_prob in found:
            made = like(word, core)
            if made.lower() != core.lower():
                out.setdefault(before + made + after, log_prob)
        return list(out.items())


def _longest(config: Any) -> int:
    """Tokens the model has positions for; RoBERTa and its kin count from past the padding."""
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return int(getattr(config, "max_position_embeddings", 512)) - offset


def _lead(names: Sequence[str | None]) -> str:
    """How the tokenizer marks a piece that begins a word; empty for WordPiece, which marks
    the others (`##`)."""
    for lead in ("Ġ", "▁"):
        if any(name and name.startswith(lead) and len(name) > 1 for name in names):
            return lead
    return ""


def _word(name: str | None, lead: str) -> str | None:
    """The word a token spells; None where it is none, or several as `hardrank.wording` sees it."""
    if name is None or not name.startswith(lead) or name.startswith("##"):
        return None
    word = name.removeprefix(lead)
    if lead == "Ġ":
        return word or None
    spelled = all(c.isalnum() or c in "-'" for c in word) and any(map(str.isalnum, word))
    return word if spelled and len(wording.split(word)) == 1 else None
