"""What a poisoning run's numbers hang on: victims that learnt what they should have, defences
that still rank, attacks in their order."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.audits.checks import Check
from hardrank.audits.leaks import split_without_leaks
from hardrank.audits.quality import quality_floor
from hardrank.data.splits import Split
from hardrank.experiment.poison_spec import PoisonExperiment
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.metrics.ranking import ndcg

__all__ = ["poison_checks", "strangers_to_test", "stronger_than_chance"]

_PRICE = 0.02
_CHANCE = "random-profiles"
_SOFTER = (
    "Let the defence take less from real users (a smaller share flagged, `down-weight` instead "
    "of `drop`, more slack); where the samples are too few to tell, test on more users or seeds."
)


def poison_checks(experiment: PoisonExperiment, samples: pl.DataFrame, split: Split) -> list[Check]:
    """For every arm of a run."""
    clean = samples.filter(pl.col("audit") == "utility")
    made: list[Check] = []
    for subject in clean["subject"].unique(maintain_order=True).to_list():
        made.append(split_without_leaks(split, subject=subject))
        made += strangers_to_test(samples, subject=subject)
        if is_hardened(subject):
            floors = quality_floor(
                samples, hardened=subject, control=control_of(subject), price=_PRICE,
                groups=("all", "tail"),
            )  # fmt: skip
            made += [replace(check, remedy=_SOFTER) for check in floors]
        else:
            made += stronger_than_chance(samples, subject=subject, k=experiment.ks[-1])
    return made


def strangers_to_test(samples: pl.DataFrame, *, subject: str) -> Iterator[Check]:
    """One check a seed: NDCG@10 on test events is not far above that on validation events. Both
    are new to an honest victim; one that was trained on the test set shines there alone. Far:
    by half of the validation value and by three standard errors of the difference."""
    mine = samples.filter(pl.col("subject") == subject)
    for (seed,), rows in mine.group_by("seed", maintain_order=True):
        test, valid = (
            ndcg(rows.filter(pl.col("audit") == name)["rank"].to_numpy(), 10)
            for name in ("utility", "validation")
        )
        if not len(test) or not len(valid):
            continue
        above = float(test.mean() - valid.mean())
        error = float(np.sqrt(test.var() / len(test) + valid.var() / len(valid)))
        yield Check(
            gate="unseen", name="strangers_to_test", subject=subject, seed=int(str(seed)),
            passed=above <= max(0.5 * float(valid.mean()), 3 * error), statistic=above,
            reason=f"NDCG@10 is {test.mean():.4f} on test events and {valid.mean():.4f} on "
            "validation events",
            remedy="train the victim on the training part of the split alone",
        )  # fmt: skip


def stronger_than_chance(samples: pl.DataFrame, *, subject: str, k: int) -> Iterator[Check]:
    """The strongest attack gains at least as much as random profiles, where those were tried;
    the gain of a demotion is the exposure that the targets lose."""
    rows = samples.filter(
        (pl.col("subject") == subject) & (pl.col("audit") == "promotion") & (pl.col("k") == k)
    )
    gain = (pl.col("hits_after") - pl.col("hits_before")) / pl.col("eligible")
    gain = pl.when(pl.col("goal") == "demote").then(-gain).otherwise(gain)
    made = rows.group_by("trial", maintain_order=True).agg(gain.mean()).drop_nulls()
    means = dict(made.iter_rows())
    if _CHANCE not in means or len(means) < 2:
        return
    best = max((v, n) for n, v in means.items() if n != _CHANCE)
    yield Check(
        gate="sanity", name="stronger_than_chance", subject=subject,
        passed=best[0] >= means[_CHANCE], statistic=best[0] - means[_CHANCE],
        reason=f"{best[1]} gains {100 * best[0]:.2f} %, {_CHANCE} {100 * means[_CHANCE]:.2f} %",
        remedy="no attack here does more than chance: the robustness of this victim is not tested",
        concerns={"audit": ("promotion", "worst-case")},
    )  # fmt: skip
