"""Gate 4, read off the trials of a run: do its text attacks prove anything?"""

from collections.abc import Collection, Iterable, Sequence
from statistics import stdev
from typing import Any

import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.measure import measure, rows_where

__all__ = [
    "attacks_work_undefended",
    "black_box_no_better",
    "errors_counted",
    "several_seeds_agree",
]

_TRIALS = ("promotion", "worst-case")
_TOLERANCE = 0.005
"""Differences in exposure below it are none."""
_UNSTABLE = 0.02
"""Standard deviation between seeds, in exposure, above which a result is unstable."""


def attacks_work_undefended(
    samples: pl.DataFrame, *, control: str, subjects: Collection[str], blind: Collection[str]
) -> list[Check]:
    """`attack_works_undefended` of each trial, for each of `subjects` (arms measured by it):
    on the control it edits texts and moves its targets up (mean rank or exposure, interval
    above 0). An attack that does nothing there proves nothing anywhere.

    blind: trials that look at nothing (random words): it is enough that they edit, for moving
    nothing is what a control of attacks is for. Where ranks rise and exposure does not the
    answer is None: a weak attack, not a broken one.
    """
    rows = rows_where(samples, {"subject": control, "audit": "promotion", "goal": "promote"})
    made: list[Check] = []
    for trial in rows["trial"].unique(maintain_order=True):
        passed, reason, gain = _moves(samples, control, trial, trial in blind)
        made += [
            Check(
                gate="sanity", name="attack_works_undefended", subject=subject, trial=trial,
                passed=passed, reason=reason, statistic=gain,
                concerns={"audit": "promotion", "trial": trial},
            )
            for subject in subjects
        ]  # fmt: skip
    return made


def _moves(
    samples: pl.DataFrame, control: str, trial: str, blind: bool
) -> tuple[bool | None, str, float | None]:
    about: dict[str, Any] = {"subject": control, "audit": "promotion", "trial": trial}
    rows = rows_where(samples, about).filter(pl.col("error").is_null())
    if not rows.height:
        return None, "it could not be mounted on the control", None
    edited = int((rows["text_before"] != rows["text_after"]).sum())
    gain, climb = (measure(samples, metric=m, **about) for m in ("er_gain", "rank_gain"))
    if edited == 0:
        return False, "it edits no text on the undefended control", gain.value
    if blind:
        said = f"edits {edited} of {rows.height} texts; a control of attacks, it aims at nothing"
        return True, said, gain.value
    if gain.low is not None and gain.low > 0:
        return True, f"raises exposure by {_percent(gain.value)} on the control", gain.value
    said = f"edits {edited} of {rows.height} texts on the control, exposure does not rise"
    if climb.value is not None and climb.low is not None and climb.low > 0:
        return None, f"{said}, mean rank does by {climb.value:.0f}", gain.value
    return False, f"{said}, nor does the rank", gain.value


def errors_counted(samples: pl.DataFrame, *, subject: str) -> list[Check]:
    """One check a trial that has matches with an `error`: not on all targets alike (False,
    since the rest is a selection), or on all (None: it could not be mounted). And one for
    the subject that says how many there were."""
    rows = rows_where(samples, {"subject": subject, "audit": ["promotion", "history"]})
    if not rows.height:
        return []
    counts = rows.group_by("trial", maintain_order=True).agg(
        pl.len().alias("n"), pl.col("error").is_not_null().sum().alias("errors"),
        pl.col("error").drop_nulls().first().alias("why"),
    )  # fmt: skip
    total = int(counts["errors"].sum())
    whole = Check(
        gate="sanity", name="errors_counted", subject=subject, passed=True,
        reason=f"{total} of {rows.height} matches ended in an error", statistic=float(total),
    )  # fmt: skip
    return [whole] + [
        Check(
            gate="sanity", name="errors_counted", subject=subject, trial=trial,
            passed=None if errors == n else False, statistic=float(errors),
            reason=f"{errors} of {n} matches ended in an error: {why}",
            concerns={"audit": ("promotion", "history"), "trial": trial},
        )
        for trial, n, errors, why in counts.iter_rows()
        if errors
    ]  # fmt: skip


def black_box_no_better(
    samples: pl.DataFrame,
    *,
    subject: str,
    control: str,
    groups: Iterable[tuple[Sequence[str], Sequence[str]]],
) -> list[Check]:
    """For each group (white-box trials, black-box trials) of one goal and budget: per target
    the best black-box attack reaches no more exposure than the best white-box one, beyond
    chance and half a point. It is False where that holds on the control but not here, which
    is what hidden gradients look like; None where it does not hold on the control either:
    then the white-box attack is weak, and the worst case over all attacks is the figure."""
    made = []
    for white, black in groups:
        ahead, lead = _ahead(samples, subject, white, black)
        if ahead is None:
            continue
        passed, reason = True, f"{', '.join(black)} reach {_percent(lead)} more than "
        reason += ", ".join(white)
        if ahead:
            everywhere = _ahead(samples, control, white, black)[0]
            passed = None if everywhere else False  # type: ignore[assignment]
            reason += ", on the control as well: a weak white-box attack" if everywhere else ""
        made.append(
            Check(
                gate="sanity", name="black_box_no_better", subject=subject, passed=passed,
                reason=reason, statistic=lead, concerns={"audit": _TRIALS},
            )
        )  # fmt: skip
    return made


def _ahead(
    samples: pl.DataFrame, subject: str, white: Sequence[str], black: Sequence[str]
) -> tuple[bool | None, float | None]:
    """(whether the black box is ahead, beyond chance; by how much exposure)."""
    found = measure(
        samples, subject=subject, audit="promotion", metric="difference(worst(er_after))",
        where={"trial": list(black)}, versus={"trial": list(white)},
    )  # fmt: skip
    if found.value is None or found.low is None:
        return None, None
    return found.low > 0 and found.value > _TOLERANCE, found.value


def several_seeds_agree(samples: pl.DataFrame, *, subject: str, trials: Sequence[str]) -> Check:
    """The exposure gain of the strongest attack per target has a standard deviation between
    seeds of at most two points; None with a single seed."""
    found = measure(
        samples, subject=subject, audit="promotion", metric="worst(er_gain)",
        where={"trial": list(trials)},
    )  # fmt: skip
    passed, spread = None, None
    reason = "a single seed: how much another would differ is unknown"
    if len(found.per_seed) > 1:
        spread = stdev(found.per_seed)
        passed = spread <= _UNSTABLE
        reason = (
            f"exposure gain differs between {len(found.per_seed)} seeds by a standard deviation "
            f"of {_percent(spread)}; allowed {_percent(_UNSTABLE)}"
        )
    elif found.value is None:
        reason = "no promotion was measured"
    return Check(
        gate="sanity", name="several_seeds_agree", subject=subject, passed=passed, reason=reason,
        statistic=spread, concerns={"audit": _TRIALS},
    )  # fmt: skip


def _percent(share: float | None) -> str:
    return "nothing" if share is None else f"{100 * share:.2f} %"
