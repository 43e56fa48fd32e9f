"""Who rewrites: an endpoint that speaks the OpenAI protocol, or a causal model on disk.

Both are specs that answer prompts, so an attack holds one as a hyperparameter:

    writer = { kind = "endpoint", url = "http://127.0.0.1:8000/v1", model = "qwen", key = "KEY" }
    writer = { kind = "local-lm", folder = "models/qwen-0.5b" }
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["AnyWriter", "Endpoint", "LocalLM", "Writer"]

_Address = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+")]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Writer(Protocol):
    """Answers prompts. Equal prompts get equal answers."""

    def complete(self, prompts: Sequence[str]) -> list[str]:
        """One answer for each prompt, in order."""
        ...


@spec
class Endpoint:
    """Ask `POST {url}/chat/completions`, as OpenAI, vLLM, llama.cpp, Ollama and others offer it.

    Answers are kept on disk, one file for an address and a model, keyed by everything that an
    answer depends on: a resumed run does not ask twice. Temperature is 0 and a seed is sent,
    but a server may ignore both; what makes runs repeatable is the kept answer. Nothing is sent
    anywhere else: redirects are refused.
    """

    kind: Literal["endpoint"] = "endpoint"
    url: _Address
    """Base address up to `/v1`; `/chat/completions` is added."""
    model: str
    """Name of the model, as the server knows it."""
    key: _Name | None = None
    """Name of the environment variable with the API key (not the key itself); None sends none."""
    max_tokens: Count = 256
    """Longest answer, in the model's tokens."""
    seed: Natural = 0
    """Sent with each prompt."""
    timeout: Positive = 60.0
    """Seconds to wait for one answer."""
    tries: Count = 5
    """Times a prompt is sent before giving up: again after no connection, no time, a status of
    408, 425, 429 or 5xx, or an answer that is none."""
    wait: NonNegative = 1.0
    """Seconds before the second try; doubled for each further one. A `Retry-After` of the
    server comes first, where it is longer."""
    patience: Positive = 120.0
    """Longest wait in seconds; a server that asks for more is given up."""
    per_minute: Positive = 600.0
    """Most requests in a minute, evenly spaced."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests under way at once."""
    keep: bool = True
    """Keep answers on disk, in `HARDRANK_CACHE` or `~/.cache/hardrank`, under `answers`."""

    def complete(self, prompts: Sequence[str]) -> list[str]:
        """One answer for each prompt; equal prompts are asked once.

        Raises `Unsupported` (no key, refused, no such model, not reachable) or `DataError` (answers
        that are none); each says what to do. Answers that came before the error are kept.
        """
        from hardrank.language.chat_http import session

        return session(self).complete(prompts)


@spec
class LocalLM:
    """A causal language model in a local Hugging Face folder, decoded greedily.

    A tokenizer with a chat template gets each prompt as a user's message, others as plain text.
    Runs on the first GPU where there is one.
    """

    kind: Literal["local-lm"] = "local-lm"
    folder: str
    """With config.json, safetensors and tokenizer; code that comes with it is never run."""
    max_tokens: Count = 128
    """Longest answer, in tokens."""
    batch_size: Count = 8
    """Prompts decoded together."""

    def complete(self, prompts: Sequence[str]) -> list[str]:
        """One answer for each prompt; equal prompts are decoded once. A prompt that is too
        long loses its beginning. Raises `Unsupported` or `DataError` for a folder that holds no
        causal language model."""
        from hardrank.language.causal_lm import complete

        return complete(self.folder, prompts, most=self.max_tokens, batch_size=self.batch_size)

    def weigh(self, prompts: Sequence[str], answers: Sequence[str]) -> NDArray[np.float64]:
        """(N, A) log-likelihood of each answer after each prompt. Raises as `complete`."""
        from hardrank.language.causal_lm import weigh

        return weigh(self.folder, prompts, answers, batch_size=self.batch_size)


AnyWriter = Annotated[Endpoint | LocalLM, Field(discriminator="kind")]
"""What `writer = { kind = "..." }` of an experiment file can spell."""
