"""What a training's history says about over-fitting to the attack it trains on."""

from collections.abc import Mapping, Sequence

__all__ = ["catastrophic_overfitting", "robust_gap"]

History = Sequence[Mapping[str, float]]


def catastrophic_overfitting(history: History, rise: float = 0.1) -> str | None:
    """Whether training by one gradient step has taught the model to defeat that step alone.

    Wong et al., ICLR 2020, arXiv:2001.03994, section 5; Andriushchenko & Flammarion, NeurIPS
    2020, arXiv:2007.02617, section 3: within an epoch the error under many steps soars while
    the error under one step falls. Here: at the last validation `robust_error` is more than
    `rise` above its lowest, and `single_step_error` no higher than it was then. Rows
    without both columns are passed over.
    """
    rows = [row for row in history if "robust_error" in row and "single_step_error" in row]
    if not rows:
        return None
    best, last = min(rows, key=lambda row: row["robust_error"]), rows[-1]
    risen = last["robust_error"] - best["robust_error"]
    if not (risen > rise and last["single_step_error"] <= best["single_step_error"]):
        return None
    return (
        f"catastrophic over-fitting: since epoch {best['epoch']:.0f} the error under many steps "
        f"rose from {best['robust_error']:.4g} to {last['robust_error']:.4g}, under one step it "
        f"went from {best['single_step_error']:.4g} to {last['single_step_error']:.4g}; train "
        "by 'pgd', from a random start, or with a smaller radius"
    )


def robust_gap(history: History) -> dict[str, float] | None:
    """How far the last validation lies above the lowest robust error, and which epoch had
    that (Rice et al., ICML 2020, arXiv:2002.11569, section 3); None if it was never measured.
    """
    rows = [row for row in history if row.get("robust_error", float("nan")) >= 0]
    if not rows:
        return None
    best, last = min(rows, key=lambda row: row["robust_error"]), rows[-1]
    return {
        "best_error": best["robust_error"],
        "best_epoch": best["epoch"],
        "last_error": last["robust_error"],
        "last_epoch": last["epoch"],
        "gap": last["robust_error"] - best["robust_error"],
    }
