"""What training can be told, apart from the model and the objective."""

from typing import Literal

from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["Training"]


@spec
class Training:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with linear warm-up and early stopping."""

    epochs: Natural = 40
    """At most this many passes over the training data."""
    batch_size: Count = 1500
    """Targets (next items, or labelled texts) per optimiser step."""
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    warmup: Natural = 0
    """Steps over which the learning rate rises linearly from 0."""
    clip: Positive | None = 5.0
    """Largest L2 norm of the whole parameter gradient; None for no clipping."""
    patience: Natural = 5
    """Validations without a better value before training stops; 0 trains all epochs."""
    every: Count = 1
    """Validate after every so many epochs."""
    keep: Literal["best", "last"] = "best"
    """Which weights are the result. Hardening keeps the last: the epoch that validates best
    without an attack is the least hardened one."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the large matrix products. `auto`: bfloat16 where the processor has it natively."""
