"""What was attacked and what was not: family of attacks x surface x goal, each cell stated.

An audit that does not say what it left out is read as if it had left nothing out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import polars as pl

from hardrank.attacks.roll import ROLL
from hardrank.audits.checks import Check
from hardrank.audits.measure import measure
from hardrank.audits.samples import gather, samples
from hardrank.findings import Finding

__all__ = [
    "ADAPTIVE",
    "FAMILIES",
    "REPRESENTATION",
    "Cell",
    "coverage_findings",
    "coverage_samples",
    "coverage_stated",
    "family_of",
    "known_cells",
]

FAMILIES: dict[str, str] = {
    "append-title": "copying",
    "copycat": "copying",
    "keyword-stuffing": "stuffing",
    "clickbait": "stuffing",
    "composed": "word search",
    "greedy-words": "word search",
    "frugal-words": "word search",
    "random-words": "word search",
    "hotflip": "gradient search",
    "gbda": "gradient search",
    "gradient-guided": "gradient search",
    "gradient-words": "gradient search",
    "bert-attack": "synonyms",
    "genetic-words": "synonyms",
    "pwws": "synonyms",
    "textfooler": "synonyms",
    "chinese-homophone": "characters",
    "deepwordbug": "characters",
    "homoglyph": "characters",
    "natural-noise": "characters",
    "random-characters": "characters",
    "textbugger": "characters",
    "zero-width": "characters",
    "llm-rewrite": "rewriting",
    "prompt-injection": "prompt injection",
    "insert-events": "events",
    "replace-events": "events",
    "reorder-events": "events",
    "random-events": "events",
    "nes-features": "feature vectors",
    "pgd-features": "feature vectors",
    "random-features": "feature vectors",
    "random-profiles": "scripted profiles",
    "average-profiles": "scripted profiles",
    "bandwagon": "scripted profiles",
    "reverse-bandwagon": "scripted profiles",
    "segment": "scripted profiles",
    "love-hate": "scripted profiles",
    "popular-fillers": "scripted profiles",
    "power-users": "copied profiles",
    "copy-profile": "copied profiles",
    "mixed-copy": "copied profiles",
    "obfuscated": "copied profiles",
    "pga": "profiles by gradient",
    "rev-adv": "profiles by gradient",
    "crafted-profiles": "profiles by gradient",
    "policy-profiles": "profiles by policy gradient",
    "aush": "generated profiles",
    "interest-gan": "generated profiles",
    "interest-vae": "generated profiles",
    "leg-up": "generated profiles",
    "few-profiles": "rehearsed profiles",
    "helped-profiles": "rehearsed profiles",
    "rehearsed": "rehearsed profiles",
    "rival-profiles": "rehearsed profiles",
    "evasive-profiles": "rehearsed profiles",
    "template-reviews": "fake reviews",
    "rewritten-reviews": "fake reviews",
    "language-model-reviews": "fake reviews",
    "evasive-reviews": "fake reviews",
}
"""Kind of an attack -> what it does to a text, history, vector or log. Training on one of a family
makes the others of it seen. A kind that is not here is a family of its own."""
ADAPTIVE = "adaptive"
"""Group of the rows of attackers who know the defence."""
REPRESENTATION = "representation"
"""Family and surface of bounded perturbations of inner vectors."""


@dataclass(frozen=True, order=True)
class Cell:
    """One kind of threat."""

    family: str
    surface: str
    goal: str


def family_of(kind: str) -> str:
    return FAMILIES.get(kind, kind)


def known_cells() -> tuple[Cell, ...]:
    """Every cell that some attack of this version can fill."""
    every: Any = ROLL
    cells = {
        Cell(family_of(cls.kind), surface, goal)
        for cls in every
        for surface in cls.surfaces
        for goal in cls.goals
    }
    cells |= {Cell(REPRESENTATION, REPRESENTATION, goal) for goal in ("promote", "degrade")}
    return tuple(sorted(cells))


def coverage_samples(
    subject: str,
    measured: Mapping[Cell, Sequence[str]],
    *,
    trained_on: Collection[str],
    cells: Iterable[Cell] | None = None,
    adaptive: Mapping[Cell, Sequence[str]] = MappingProxyType({}),
) -> pl.DataFrame:
    """One row a cell: `sample` its family, `site` its surface, `success` whether it was
    measured, `value` by how many trials, `group` whether training saw the family.

    measured: cell -> trials that ran in it. Cells beyond `known_cells` are added.
    adaptive: cell -> trials whose attacker knows the defence, each cell a row more of the
    group `adaptive`.
    """
    every = sorted({*(known_cells() if cells is None else cells), *measured, *adaptive})
    rows = [
        (cell, "seen" if cell.family in trained_on else "unseen", measured.get(cell, ()))
        for cell in every
    ]
    rows += [(cell, ADAPTIVE, trials) for cell, trials in sorted(adaptive.items())]
    return gather(
        samples(
            {
                "subject": subject, "seed": None, "audit": "coverage", "trial": "clean",
                "sample": cell.family, "site": cell.surface, "goal": cell.goal,
                "success": bool(trials), "value": len(trials), "group": group,
            }
        )
        for cell, group, trials in rows
    )  # fmt: skip


def coverage_findings(
    table: pl.DataFrame,
    measured: Mapping[str, Mapping[Cell, Sequence[str]]],
    adaptive: Mapping[str, Mapping[Cell, Sequence[str]]] = MappingProxyType({}),
) -> list[Finding]:
    """One finding a row of `coverage_samples`: value 1 measured, 0 not; the reason names the
    trials, or says `not measured`. measured, adaptive: subject -> cell -> trials. Recomputable."""
    rows = table.filter(pl.col("audit") == "coverage")
    made = []
    for subject, family, surface, goal, group in rows.select(
        "subject", "sample", "site", "goal", "group"
    ).iter_rows():
        found = measure(
            table, subject=subject, audit="coverage", metric="measured", formula="passed",
            where={"sample": family, "site": surface, "goal": goal}, group=group,
        )  # fmt: skip
        known = adaptive if group == ADAPTIVE else measured
        trials = known.get(subject, {}).get(Cell(family, surface, goal), ())
        made.append(replace(found, reason=", ".join(trials) or "not measured"))
    return made


def coverage_stated(
    subject: str,
    measured: Mapping[Cell, Sequence[str]],
    *,
    cells: Iterable[Cell] | None = None,
) -> Check:
    """Whether there is a matrix with anything in it. Without one the audit is not valid, and
    every claim about the subject is marked."""
    every = sorted({*(known_cells() if cells is None else cells), *measured})
    done = [cell for cell in every if measured.get(cell)]
    share = len(done) / len(every) if every else 0.0
    return Check(
        gate="unseen", name="coverage_stated", subject=subject, passed=bool(done),
        statistic=share, reason=f"{len(done)} of {len(every)} kinds of threat were measured",
        concerns={"audit": ("promotion", "worst-case", "degrade", "curve", "flip")},
    )  # fmt: skip
