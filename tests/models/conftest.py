"""Encoders small enough to be made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "good",
    "bad",
    "red",
    "blue",
    "##ish",
    "mug",
    "lamp",
    "for",
    "the",
    "kitchen",
    "##s",
    "cheap",
    "old",
    "new",
)


def _tokenizer(folder: Path, *, marks: bool) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: row for row, word in enumerate(WORDS)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    if marks:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def make_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_encoder(kind, pooling=None) -> a folder with a random tiny encoder of that kind."""
    import transformers

    def make(kind: str = "bert", pooling: str | None = None) -> Path:
        folder = tmp_path_factory.mktemp(kind)
        common = {"vocab_size": len(WORDS), "pad_token_id": 0}
        sizes = {
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 40,
        }
        config, model = {
            "bert": lambda: (transformers.BertConfig(**common, **sizes), transformers.BertModel),
            "albert": lambda: (
                transformers.AlbertConfig(**common, **sizes, embedding_size=8),
                transformers.AlbertModel,
            ),
            "distilbert": lambda: (
                transformers.DistilBertConfig(
                    **common,
                    dim=16,
                    n_layers=3,
                    n_heads=2,
                    hidden_dim=32,
                    max_position_embeddings=40,
                ),
                transformers.DistilBertModel,
            ),
            "xlnet": lambda: (
                transformers.XLNetConfig(
                    **common, d_model=16, n_layer=3, n_head=2, d_inner=32, bos_token_id=2
                ),
                transformers.XLNetModel,
            ),
            "gpt2": lambda: (
                transformers.GPT2Config(
                    **common,
                    n_embd=16,
                    n_layer=3,
                    n_head=2,
                    n_positions=40,
                    bos_token_id=1,
                    eos_token_id=1,
                ),
                transformers.GPT2Model,
            ),
            "modernbert": lambda: (
                transformers.ModernBertConfig(
                    **common,
                    **sizes,
                    cls_token_id=2,
                    sep_token_id=3,
                    bos_token_id=2,
                    eos_token_id=3,
                    local_attention=4,
                    global_attn_every_n_layers=3,
                ),
                transformers.ModernBertModel,
            ),
        }[kind]()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = model(config)
        for parameter in made.parameters():  # far from the origin, so that nothing is flat
            parameter.data.mul_(3.0)
        made.save_pretrained(folder)
        _tokenizer(folder, marks=kind != "gpt2")
        if pooling:
            (folder / "1_Pooling").mkdir()
            (folder / "1_Pooling" / "config.json").write_text(
                json.dumps({"pooling_mode_mean_tokens": False, f"pooling_mode_{pooling}": True})
            )
            (folder / "modules.json").write_text(
                json.dumps(
                    [
                        {"type": "sentence_transformers.models.Transformer", "path": ""},
                        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
                    ]
                )
            )
        return folder

    return make
