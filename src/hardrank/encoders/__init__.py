"""Text encoders: any Hugging Face encoder from a name or a folder, with a cache on disk."""

from hardrank.encoders.encoder import HiddenStates, Precision, TextEncoder, TokenBatch
from hardrank.encoders.load import load_encoder
from hardrank.encoders.onnx_encoder import OnnxEncoder, compressed, restored_encoder
from hardrank.encoders.words import WordAlignment, word_gradient

__all__ = [
    "HiddenStates",
    "OnnxEncoder",
    "Precision",
    "TextEncoder",
    "TokenBatch",
    "WordAlignment",
    "compressed",
    "load_encoder",
    "restored_encoder",
    "word_gradient",
]
