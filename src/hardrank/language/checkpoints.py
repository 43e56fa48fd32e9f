"""Hugging Face models from local folders: safetensors only, and never code of their own."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardrank.errors import DataError, Unsupported

__all__ = ["legal", "load_checkpoint", "quiet"]

_NEEDED = ("config.json", "*.safetensors", "tokenizer*")


def load_checkpoint(folder: Path, kind: str) -> tuple[Any, Any]:
    """(module in evaluation mode whose parameters ask for no gradient, tokenizer).

    kind: the transformers class, `AutoModelForMaskedLM` or `AutoModelForCausalLM`.
    Raises `Unsupported` where there is no folder, `DataError` where it lacks a file or the
    weights of the head (an encoder alone is no language model).
    """
    if not folder.is_dir():
        raise Unsupported(
            f"no language model at {folder}; give a folder with config.json, safetensors and "
            "a tokenizer"
        )
    for pattern in _NEEDED:
        if not any(folder.glob(pattern)):
            raise DataError(
                f"no {pattern}", path=folder, remedy="save model and tokenizer with save_pretrained"
            )
    module, told, tokenizer = _read(folder, kind)
    if told["missing_keys"]:
        names = ", ".join(sorted(told["missing_keys"])[:3])
        raise DataError(
            f"{len(told['missing_keys'])} weights are not in the file: {names}, ...",
            path=folder,
            remedy=f"save the whole {kind.removeprefix('AutoModelFor')} model: an encoder alone "
            "cannot predict words",
        )
    return module.eval().requires_grad_(False), tokenizer


def _read(folder: Path, kind: str) -> tuple[Any, Any, Any]:
    import torch
    import transformers

    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        # Weights a checkpoint lacks are drawn at random: leave the caller's generator alone.
        with quiet(), torch.random.fork_rng(devices=[]):
            module, told = getattr(transformers, kind).from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **offline,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **offline)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot load the language model: {error}", path=folder) from error
    return module, told, tokenizer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bar for a second's work, and no advice about weights that are not used here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def legal(text: str) -> str:
    """Half a surrogate pair is no character; it is read as a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
