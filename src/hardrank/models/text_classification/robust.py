"""What an attack on validation texts does to their classification, epoch by epoch."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from hardrank.context import derive
from hardrank.models.judge import Judge
from hardrank.models.text_classification.network import TextBatch, TextNetwork
from hardrank.perturbations import Inner, absolute
from hardrank.types import Site

__all__ = ["robust_row"]


def robust_row(
    judge: Judge, network: TextNetwork, batches: Iterable[TextBatch], site: Site, seed: int
) -> dict[str, float]:
    """Over all texts of the batches, `clean_*` and `robust_*`: `error` (share of wrong
    labels), `loss` (cross-entropy); and `single_step_error`. A delta is added at the site;
    the network must be in evaluation mode."""
    losses: dict[str, list[Tensor]] = {}
    wrong: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(derive(seed, "robust-error"))
    attacks = {"clean": None, "robust": judge.inner, "single_step": judge.single}
    for batch in batches:
        for name, inner in attacks.items():
            if inner is None and name != "clean":
                continue
            with torch.no_grad():
                deltas = {} if inner is None else {
                    site: _worst(network, batch, site, inner, judge.radius, generator)
                }  # fmt: skip
                said = network.predictions(batch, deltas)
            losses.setdefault(name, []).append(
                F.cross_entropy(said.logits, said.labels, reduction="none")
            )
            wrong.setdefault(name, []).append(said.logits.argmax(1) != said.labels)
    found = {f"{name}_error": float(torch.cat(w).float().mean()) for name, w in wrong.items()}
    for name in ("clean", "robust"):
        found[f"{name}_loss"] = float(torch.cat(losses[name]).mean())
    return found


def _worst(
    network: TextNetwork,
    batch: TextBatch,
    site: Site,
    inner: Inner,
    radius: float,
    generator: torch.Generator,
) -> Tensor:
    like, mask = network.clean(site, batch), network.writable(site, batch)
    norms = like.norm(dim=-1) if mask is None else like.norm(dim=-1)[mask]

    def loss(delta: Tensor) -> Tensor:
        said = network.predictions(batch, {site: delta})
        return F.cross_entropy(said.logits, said.labels, reduction="none")

    size = absolute(radius, float(norms.mean()), inner.norm, like.shape[-1])
    return inner(loss, like, radius=size, generator=generator, mask=mask)
