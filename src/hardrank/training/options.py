"""What training can be told, apart from the model and the objective."""

from typing import Annotated, Literal

from annotated_types import Ge, Lt

from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["Training"]


@spec
class Training:
    """AdamW (Loshchilov & Hutter, ICLR 2019) with linear warm-up and early stopping."""

    epochs: Natural = 40
    """At most this many passes over the training data."""
    batch_size: Count = 1500
    """Targets (next items, or labelled texts) per batch."""
    accumulate: Count = 1
    """Batches per optimiser step: the gradient is their mean, each counting the same, as of
    one batch so many times larger in the memory of one. An objective that replays each batch
    goes with 1 only."""
    learning_rate: Positive = 1e-3
    """Of AdamW, after the warm-up."""
    weight_decay: NonNegative = 0.0
    """Of AdamW: apart from the gradient, per step times the learning rate."""
    warmup: Natural = 0
    """Steps over which the learning rate rises linearly from 0."""
    clip: Positive | None = 5.0
    """Largest L2 norm of the whole parameter gradient; None for no clipping."""
    patience: Natural = 5
    """Validations without a better value (see `keep`) before training stops; 0 trains all
    epochs."""
    every: Count = 1
    """Validate after every so many epochs."""
    keep: Literal["best", "last", "robust"] = "best"
    """Which weights are the result. `best`: of the epoch that validates best without an attack;
    when hardening that is the least hardened one. `robust`: of the epoch with the lowest
    validation error under attack, before the model over-fits to its attack (Rice et al., ICML
    2020, arXiv:2002.11569): under the objective's own attack, under PGD where that takes a
    single step or none, and for plain training under PGD at radius 0.05. Epochs that began
    before a schedule of the objective left 0 are plain training, and never chosen."""
    average: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Decay of a running mean of the weights over steps, e.g. 0.999; the mean is validated and
    kept in their place. 0 takes the weights themselves."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the large matrix products. `auto`: bfloat16 where the processor has it natively."""
