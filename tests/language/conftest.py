"""Language models small enough to be made on the spot."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

PLANTED = (
    "the sky is blue", "the grass is green", "the snow is white", "the coal is black",
    "the sky is blue and the grass is green", "the snow is white and the coal is black",
)  # fmt: skip
WORDS = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "sky", "grass", "snow", "coal", "is",
    "and", "blue", "green", "white", "black", "##ish", "##s", ",", "🎉",
)  # fmt: skip


@pytest.fixture(scope="session")
def save_tokenizer() -> Callable[..., None]:
    """save_tokenizer(folder, marks=...): words of `WORDS`, between marks or not."""
    return _save_tokenizer


def _save_tokenizer(folder: Path, *, marks: bool) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordPiece({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if marks:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"} if marks else {"eos_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=made, **names).save_pretrained(folder)


@pytest.fixture(scope="session")
def planted_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny masked language model that has learned `PLANTED` by heart."""
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("planted")
    _save_tokenizer(folder, marks=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=24, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    rows = [tokenizer(text)["input_ids"] for text in PLANTED]
    pairs = [
        ([*row[:i], 4, *row[i + 1 :]], row[i], i) for row in rows for i in range(1, len(row) - 1)
    ]
    pairs += [(row, row[i], i) for row in rows for i in range(1, len(row) - 1)]
    width = max(map(len, rows))
    ids = torch.tensor([seen + [0] * (width - len(seen)) for seen, _, _ in pairs])
    wanted = torch.tensor([token for _, token, _ in pairs])
    places = torch.tensor([i for _, _, i in pairs])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForMaskedLM(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(100):
        logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits
        loss = torch.nn.functional.cross_entropy(logits[torch.arange(len(ids)), places], wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder
