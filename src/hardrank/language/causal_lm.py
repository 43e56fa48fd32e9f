"""Greedy answers of a causal language model on disk, and how likely it finds given ones."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.language.checkpoints import legal, load_checkpoint, quiet

__all__ = ["complete", "weigh"]


def complete(folder: str, prompts: Sequence[str], *, most: int, batch_size: int) -> list[str]:
    """One answer of at most `most` tokens for each prompt, by the model loaded once from
    `folder`; shorter prompts first, so that batches have little padding."""
    model, tokenizer = _load(Path(folder).resolve())
    texts = sorted({legal(p) for p in prompts}, key=lambda p: (len(p), p))
    answers: dict[str, str] = {}
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        rows = [_ids(p, model, tokenizer, most) for p in batch]
        answers.update(zip(batch, _decode(model, tokenizer, rows, most), strict=True))
    return [answers[legal(p)] for p in prompts]


def weigh(
    folder: str, prompts: Sequence[str], answers: Sequence[str], *, batch_size: int
) -> NDArray[np.float64]:
    """(N, A) sum of the log-probabilities of each answer's tokens after each prompt.

    A tokenizer without a chat template gets a blank between the two. Sequences are padded on
    the right, where a causal model does not look.
    """
    model, tokenizer = _load(Path(folder).resolve())
    blank = "" if getattr(tokenizer, "chat_template", None) else " "
    ends = [tokenizer(blank + a, add_special_tokens=False)["input_ids"] for a in answers]
    most = max(map(len, ends))
    texts = sorted({legal(p) for p in prompts}, key=lambda p: (len(p), p))
    starts = {p: _ids(p, model, tokenizer, most) for p in texts}
    pairs = [(starts[p], end) for p in texts for end in ends]
    sums = [
        value
        for n in range(0, len(pairs), batch_size)
        for value in _log_likelihoods(model, pairs[n : n + batch_size])
    ]
    table = dict(zip(texts, np.array(sums).reshape(len(texts), len(answers)), strict=True))
    return np.array([table[legal(p)] for p in prompts]).reshape(len(prompts), len(answers))


def _log_likelihoods(model: Any, pairs: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    import torch

    width = max(len(start) + len(end) for start, end in pairs)
    rows = [start + end + [0] * (width - len(start) - len(end)) for start, end in pairs]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.tensor(
        [[1] * (len(a) + len(b)) + [0] * (width - len(a) - len(b)) for a, b in pairs],
        device=model.device,
    )
    with torch.inference_mode():
        logits = model(input_ids=ids, attention_mask=mask).logits
    out = []
    for row, (start, end) in enumerate(pairs):
        places = torch.arange(len(start) - 1, len(start) + len(end) - 1, device=model.device)
        tokens = torch.tensor(end, device=model.device)
        found = logits[row, places].double().log_softmax(dim=-1)
        out.append(float(found.gather(1, tokens[:, None]).sum()))
    return out


@functools.lru_cache(maxsize=1)
def _load(folder: Path) -> tuple[Any, Any]:
    import torch

    model, tokenizer = load_checkpoint(folder, "AutoModelForCausalLM")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _ids(prompt: str, model: Any, tokenizer: Any, most: int) -> list[int]:
    """The end of the prompt that leaves room for the answer, or at least one token."""
    if getattr(tokenizer, "chat_template", None):
        message = [{"role": "user", "content": prompt}]
        text = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    else:
        ids = tokenizer(prompt, verbose=False)["input_ids"]
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    start = next(i for i in known if i is not None)
    limit = getattr(model.config, "max_position_embeddings", None)
    room = max(1, limit - most) if limit else len(ids)
    return list(ids)[-room:] if ids else [start]


def _decode(model: Any, tokenizer: Any, rows: list[list[int]], most: int) -> list[str]:
    import torch
    from transformers import GenerationConfig

    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    pad = next(i for i in known if i is not None)
    width = max(map(len, rows))
    limit = getattr(model.config, "max_position_embeddings", None)
    ids = torch.tensor([[pad] * (width - len(r)) + r for r in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=model.device)
    # A folder's own settings may sample; greedy answers are the same each time.
    ends = model.generation_config.eos_token_id
    settings: Any = GenerationConfig
    config = settings(
        do_sample=False,
        max_new_tokens=min(most, limit - width) if limit else most,
        pad_token_id=pad,
        eos_token_id=tokenizer.eos_token_id if ends is None else ends,
    )
    with torch.inference_mode(), quiet():
        out = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
    new = out[:, width:].tolist()
    return [str(t).strip() for t in tokenizer.batch_decode(new, skip_special_tokens=True)]
