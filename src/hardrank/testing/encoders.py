"""Text encoders small enough to be made on the spot."""

from pathlib import Path

__all__ = ["tiny_encoder"]

WORDS = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "red", "blue", "##ish", "mug", "lamp"),
    *("for", "the", "kitchen", "##s", "cheap", "old", "new"),
)


def tiny_encoder(folder: Path, *, width: int = 32) -> Path:
    """Fill `folder` with a random BERT of 3 layers, `width` states and 40 tokens at most."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = BertConfig(
        vocab_size=len(WORDS), pad_token_id=0, hidden_size=width, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=2 * width, max_position_embeddings=40,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = BertModel(config)
    for parameter in module.parameters():  # far from the origin, so that nothing is flat
        parameter.data.mul_(3.0)
    module.save_pretrained(folder)
    made = Tokenizer(models.WordPiece({w: n for n, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]"
    )
    wrapped.save_pretrained(folder)
    return folder
