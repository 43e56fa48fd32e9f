"""A tokenizer from its own JSON, without the library that trained the encoder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hardrank.errors import Unsupported

__all__ = ["Marks", "StoredTokenizer", "stored"]


@dataclass(frozen=True)
class Marks:
    """Ids of a tokenizer's special tokens, None for those that it does not have."""

    pad_token_id: int | None
    eos_token_id: int | None
    bos_token_id: int | None
    unk_token_id: int | None
    truncation_side: str = "right"


def stored(tokenizer: Any) -> tuple[str, dict[str, Any]]:
    """(JSON, marks) from which `StoredTokenizer` is made. Raises `Unsupported` for a
    tokenizer that is Python code."""
    if not tokenizer.is_fast:
        raise Unsupported("this tokenizer is code, not data; it cannot travel in a bundle")
    names = ("pad_token_id", "eos_token_id", "bos_token_id", "unk_token_id", "truncation_side")
    marks = Marks(*(getattr(tokenizer, name) for name in names))
    return str(tokenizer.backend_tokenizer.to_str()), asdict(marks)


class StoredTokenizer:
    """What `TextEncoder` asks of a tokenizer. Raises `ValueError` for JSON that is none."""

    is_fast = True

    def __init__(self, text: str, marks: Marks, max_tokens: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._made = Tokenizer.from_str(text)
        except Exception as error:  # the Rust side raises plain Exception
            raise ValueError(f"no tokenizer: {error}") from error
        self._made.no_padding()
        self._made.enable_truncation(max_tokens, direction=marks.truncation_side)
        self.pad_token_id, self.eos_token_id = marks.pad_token_id, marks.eos_token_id
        self.bos_token_id, self.unk_token_id = marks.bos_token_id, marks.unk_token_id

    def __call__(self, texts: Sequence[str], **_: Any) -> dict[str, Any]:
        """Always cut to `max_tokens` and never padded, as `TextEncoder` asks."""
        found = self._made.encode_batch(list(texts))
        return {
            "input_ids": [encoding.ids for encoding in found],
            "offset_mapping": [encoding.offsets for encoding in found],
        }
