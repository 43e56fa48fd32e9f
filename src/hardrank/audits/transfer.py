"""Gate 4: an attack with the model's own gradients is at least as strong as a borrowed one.

If perturbations crafted on the undefended twin do more than the defended model's own, its
gradients are hidden: Athalye, Carlini, Wagner, ICML 2018, section 3.1; Carlini et al. 2019.
"""

import torch

from hardrank.audits.checks import Check
from hardrank.audits.probe import Probe, lacking, percent, shortfall
from hardrank.perturbations import Gaussian

__all__ = ["transfer_checks"]

_MORE = 0.05
"""Share of the gain by which a borrowed perturbation may lead."""


def transfer_checks(probe: Probe, twin: Probe) -> list[Check]:
    """twin: the same site, goal, rows and radius on the undefended control.

    `white_box_beats_transfer`: what the twin's perturbations win on the defended model is at
    most 5 % more than its own win. `transfer_beats_random`: they win more than noise, without
    which the first check says little (its answer is then None, not False: a robust model
    may well shrug off both).
    """
    names = ("white_box_beats_transfer", "transfer_beats_random")
    if probe.surface.like.shape != twin.surface.like.shape:
        return [lacking(probe, name, "the twin's vectors have another shape") for name in names]
    ratio = probe.surface.scale / max(twin.surface.scale, 1e-12)
    borrowed = probe.gains(twin.own * ratio)
    own = probe.gains(probe.own)
    noise = probe.gains(probe.climb(Gaussian(norm=probe.inner.norm), "noise"))
    return [_beats(probe, own, borrowed), _tells(probe, borrowed, noise)]


def _beats(probe: Probe, own: torch.Tensor, borrowed: torch.Tensor) -> Check:
    name, lead = "white_box_beats_transfer", shortfall(own, borrowed)
    if lead is None:
        return lacking(probe, name, "no attack moves the loss at all")
    way = "more" if lead > 0 else "less"
    return probe.check(
        name, lead <= _MORE, statistic=lead,
        reason=f"perturbations made on the control win {percent(abs(lead))} {way} than its own; "
        f"allowed {percent(_MORE)} more",
    )  # fmt: skip


def _tells(probe: Probe, borrowed: torch.Tensor, noise: torch.Tensor) -> Check:
    lead = float(borrowed.mean() - noise.mean())
    passed = True if lead > 0 else None
    said = "more" if lead > 0 else "no more"
    return probe.check(
        "transfer_beats_random", passed, statistic=lead,
        reason=f"perturbations made on the control raise the loss {said} than noise "
        f"({float(borrowed.mean()):.3g} and {float(noise.mean()):.3g})",
    )  # fmt: skip
