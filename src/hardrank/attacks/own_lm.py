"""The masked language model that an attacker owns: a folder, or trained on the shop's texts."""

import json
from bisect import bisect_left
from dataclasses import asdict
from functools import lru_cache

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.files import digest_bytes
from hardrank.language.masked_lm import MaskedLM
from hardrank.language.pretrain import Pretraining, pretrain_masked_lm
from hardrank.types import spec
from hardrank.wording import spans, split

__all__ = ["OwnLM", "expected", "inserted"]


@spec
class OwnLM:
    """Raises `Unsupported` for a folder that is not there."""

    folder: str = ""
    """A masked language model with its tokenizer, in safetensors; empty to train a small one
    on the catalogue's public texts, which takes about a minute once and is kept in the cache
    folder (`HARDRANK_CACHE`)."""
    training: Pretraining = Pretraining()
    """How it is trained, where no folder is given."""


def expected(
    own: OwnLM, shop: Shop, draft: Draft, most: int, masked: bool
) -> tuple[tuple[str, ...], ...]:
    """(W,) for each slot the words that fit in its place, likeliest first; none where there is
    no word. All slots of a text are asked for at once, and the next slot finds them here."""
    model = _model(own, shop)
    return _expected(model, draft, most, masked) if model else ((),) * len(draft.words)


def inserted(own: OwnLM, shop: Shop, draft: Draft, most: int) -> tuple[tuple[str, ...], ...]:
    """(W,) for each slot the same with one more word before it; after it too at the last."""
    model = _model(own, shop)
    return _inserted(model, draft, most) if model else ((),) * len(draft.words)


@lru_cache(maxsize=4)
def _model(own: OwnLM, shop: Shop) -> MaskedLM | None:
    """None where there is nothing to learn from: no title has a word."""
    return MaskedLM.load(own.folder) if own.folder else _trained(own.training, shop)


def _trained(training: Pretraining, shop: Shop) -> MaskedLM | None:
    from hardrank.encoders.cache import cache_folder

    texts = [t for t in dict.fromkeys(shop.titles) if split(t)]
    if not texts:
        return None
    wanted = json.dumps([asdict(training), texts], ensure_ascii=True, sort_keys=True)
    folder = cache_folder(None) / "masked-lm" / digest_bytes(wanted.encode())[:16]
    if not folder.is_dir():
        pretrain_masked_lm(texts, folder, options=training)
    return MaskedLM.load(folder, max_tokens=training.max_tokens)


@lru_cache(maxsize=256)
def _expected(
    model: MaskedLM, draft: Draft, most: int, masked: bool
) -> tuple[tuple[str, ...], ...]:
    text, rows = draft.text, list[tuple[str, ...]]([()] * len(draft.words))
    slots = [slot for slot, word in enumerate(draft.words) if word]
    found = model.fill_many([(text, draft.places[s]) for s in slots], most, masked=masked)
    for slot, words in zip(slots, found, strict=True):
        rows[slot] = tuple(word for word, _ in words)
    return tuple(rows)


@lru_cache(maxsize=256)
def _inserted(model: MaskedLM, draft: Draft, most: int) -> tuple[tuple[str, ...], ...]:
    text = draft.text
    starts = [start for start, _ in spans(text)]
    ahead = [bisect_left(starts, start) for start, _ in draft.places]
    before = model.insert_many([(text, n) for n in [*ahead, len(starts)]], most)
    rows = [
        tuple(f"{new} {now}" if now else new for new, _ in words)
        for now, words in zip(draft.words, before, strict=False)
    ]
    now = draft.words[-1]
    if now:
        rows[-1] += tuple(f"{now} {new}" for new, _ in before[-1])
    return tuple(rows)
