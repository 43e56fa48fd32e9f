"""A small masked language model of one catalogue's language, trained on the spot.

An attacker's own: it needs the public texts of a shop and no download. Devlin et al., NAACL
2019, arXiv:1810.04805, with the next-sentence task left out, and a masked place always one of
the text's own tokens (dynamic masking, Liu et al., 2019, arXiv:1907.11692, section 4.1).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardrank.errors import DataError
from hardrank.files import atomic_folder
from hardrank.language.checkpoints import legal, quiet
from hardrank.types import Count, Positive, Share, spec

__all__ = ["Pretraining", "pretrain_masked_lm"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CLIP = 1.0
"""Largest L2 norm of a step's gradient."""
_LONGEST = 24
"""Letters of a word that is cut into pieces; longer ones are codes and addresses."""
_WARM = 0.1
"""Share of the steps over which the learning rate rises."""


@spec
class Pretraining:
    """How large the model is and how long it learns. The defaults take 70 s of one
    core for 12,000 titles (900 steps)."""

    vocabulary: Count = 8000
    """Pieces of the WordPiece vocabulary, most of them words of the texts."""
    layers: Count = 2
    """Transformer layers."""
    size: Count = 128
    """Width; a multiple of 32, as each attention head has 32."""
    max_tokens: Count = 48
    """Tokens read of a text, marks at both ends included."""
    steps: Count = 900
    """Gradient steps."""
    batch_size: Count = 64
    """Texts a step."""
    learning_rate: Positive = 2.5e-3
    """Largest step size of AdamW; rises over the first tenth, then falls to 0 linearly."""
    masked: Share = 0.3
    """Share of the tokens to predict, at least one of a text: 80 % of them hidden, 10 %
    replaced by a random token, 10 % left as they are."""


def pretrain_masked_lm(
    texts: Sequence[str], folder: Path | str, *, options: Pretraining | None = None, seed: int = 0
) -> Path:
    """Train on `texts` and save model and tokenizer for `MaskedLM.load`; returns the folder.

    Equal texts, options and seed give equal weights on the same machine and thread count; the
    global generators are left as they were. `folder` is replaced whole, at the end.
    Raises `DataError` where no text has a word.
    """
    import torch

    options = options or Pretraining()
    corpus = [t for t in map(legal, texts) if t.strip()]
    if not corpus:
        raise DataError("no text has a word", remedy="give the titles of a catalogue")
    tokenizer = _learn_pieces(corpus, options.vocabulary)
    rows = tokenizer(corpus, truncation=True, max_length=options.max_tokens)["input_ids"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(rows, len(tokenizer), options)
        _train(model, rows, options, np.random.default_rng(seed))
    with atomic_folder(Path(folder)) as draft, quiet():
        model.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
    return Path(folder)


def _learn_pieces(corpus: Sequence[str], size: int) -> Any:
    """A lower-case WordPiece tokenizer. Han characters stand alone, as words do elsewhere.

    Its vocabulary is whole words first: they are what an attacker can put into a text. (The
    trainer of `tokenizers` walks a hash map and gives another vocabulary in each process.)
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    normalise = normalizers.BertNormalizer(lowercase=True)
    cut = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in corpus:
        counts.update(word for word, _ in cut.pre_tokenize_str(normalise.normalize_str(text)))
    pieces = {piece: row for row, piece in enumerate(_vocabulary(counts, size))}
    made = Tokenizer(models.WordPiece(pieces, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalise, cut
    made.decoder = decoders.WordPiece()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=made, **dict(zip(names, _SPECIAL, strict=True)))


def _vocabulary(counts: Mapping[str, int], size: int) -> list[str]:
    """Specials, characters, words seen twice or more (in three quarters of the room), and
    the beginnings and ends that cover most letters of the remaining words."""
    letters = Counter[str]()
    for word, count in counts.items():
        letters.update(dict.fromkeys(word, count))
    alphabet = [c for c in _often(letters) if letters[c] > 1][: size // 8]
    out = dict.fromkeys((*_SPECIAL, *alphabet, *("##" + c for c in alphabet)))
    words = [w for w in _often(counts) if counts[w] > 1 and w not in out]
    out.update(dict.fromkeys(words[: max(0, size * 3 // 4 - len(out))]))
    saved = Counter[str]()
    for word in (w for w in counts if w not in out and len(w) <= _LONGEST):
        for cut in range(2, len(word)):
            saved[word[:cut]] += cut - 1
            saved["##" + word[-cut:]] += cut - 1
    repeated = [p for p in _often(saved) if saved[p] > len(p.removeprefix("##")) - 1]
    out.update(dict.fromkeys(p for p in repeated[: max(0, size - len(out))]))
    return list(out)


def _often(counts: Mapping[str, int]) -> list[str]:
    return sorted(counts, key=lambda w: (-counts[w], w))


def _model(rows: Sequence[Sequence[int]], vocabulary: int, options: Pretraining) -> Any:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=options.size,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.size // 32),
        intermediate_size=4 * options.size,
        max_position_embeddings=options.max_tokens,
        hidden_dropout_prob=0.0,  # a few passes over the texts: it underfits as it is
        attention_probs_dropout_prob=0.0,
        type_vocab_size=1,
    )
    model = BertForMaskedLM(config)
    # Frequencies need not be learned: the output bias is where softmax(bias) is the unigrams.
    counts = np.bincount(np.concatenate(rows), minlength=vocabulary) + 1.0
    with torch.no_grad():
        model.cls.predictions.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
    return model


def _train(
    model: Any, rows: Sequence[Sequence[int]], options: Pretraining, rng: np.random.Generator
) -> None:
    import torch

    optimiser = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    warm = max(1, int(_WARM * options.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: min((s + 1) / warm, (options.steps - s) / max(1, options.steps - warm)),
    )
    batches = _batches(rows, options, rng)
    model.train()
    for _ in range(options.steps):
        ids, mask, hidden = _hide(next(batches), model.config.vocab_size, options.masked, rng)
        wanted = torch.from_numpy(ids[hidden[1]])
        states = model.bert(
            input_ids=torch.from_numpy(hidden[0]), attention_mask=torch.from_numpy(mask)
        ).last_hidden_state
        # The vocabulary is the dear part: only hidden places are read out.
        logits = model.cls(states[torch.from_numpy(hidden[1])])
        loss = torch.nn.functional.cross_entropy(logits, wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimiser.step()
        schedule.step()
    model.eval()


def _batches(
    rows: Sequence[Sequence[int]], options: Pretraining, rng: np.random.Generator
) -> Iterator[list[Sequence[int]]]:
    """Batches of texts of about equal length, in random order, without end."""
    lengths = np.array([len(r) for r in rows])
    while True:
        # Noise on the lengths, so that the same texts do not meet in every pass.
        order = np.argsort(lengths + rng.uniform(0, 4, len(rows)), kind="stable")
        starts = np.arange(0, len(rows), options.batch_size)
        for start in rng.permutation(starts):
            yield [rows[i] for i in order[start : start + options.batch_size]]


def _hide(
    batch: Sequence[Sequence[int]], vocabulary: int, share: float, rng: np.random.Generator
) -> tuple[Any, Any, tuple[Any, Any]]:
    """ids (B, T), mask (B, T), and what the model sees: (ids with tokens hidden, (B, T) bool
    where it has to predict)."""
    width = max(map(len, batch))
    ids = np.zeros((len(batch), width), dtype=np.int64)
    for row, some in enumerate(batch):
        ids[row, : len(some)] = some
    mask = (ids != 0).astype(np.int64)
    draws = np.where(ids < len(_SPECIAL), np.inf, rng.random(ids.shape))
    chosen = (draws < share) | (draws == draws.min(axis=1, keepdims=True))
    chosen &= np.isfinite(draws)  # a text of unknown characters has nothing to predict
    fate = rng.random(ids.shape)
    seen = np.where(chosen & (fate < 0.8), _SPECIAL.index("[MASK]"), ids)
    randoms = rng.integers(len(_SPECIAL), max(vocabulary, len(_SPECIAL) + 1), ids.shape)
    seen = np.where(chosen & (fate >= 0.9), randoms, seen)
    return ids, mask, (seen, chosen)
