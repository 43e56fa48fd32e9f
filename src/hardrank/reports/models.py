"""Clean quality of every model as rows, before it is HTML or Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.numbers import count, metric_k, percent
from hardrank.reports.words import metric_name

__all__ = ["Column", "ModelRow", "Models", "models"]

HIDDEN = "hidden"
"""Arm of a model that was trained once more with a share of the items hidden from it."""
_METRICS = ("hr", "ndcg", "accuracy", "auc", "f1", "ece")


@dataclass(frozen=True)
class Column:
    """One metric on one group of test items, by the model or by its hidden twin."""

    hidden: bool
    group: str
    metric: str

    @property
    def heading(self) -> str:
        """Over all columns of the same training and group."""
        if self.metric in _METRICS[2:]:
            return "Test texts"
        return f"Items hidden: {self.group}" if self.hidden else f"{self.group.capitalize()} items"

    @property
    def label(self) -> str:
        return metric_name(self.metric)


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    model: str
    stage: str
    """Empty for a model as trained, else the arm of the hardening stage."""
    cells: Mapping[Column, Finding]


@dataclass(frozen=True, kw_only=True)
class Models:
    columns: tuple[Column, ...]
    rows: tuple[ModelRow, ...]
    """As trained, best first; then the arms of the hardening stage."""
    notes: tuple[str, ...]
    """Protocol and what hiding means, to be printed beside the numbers."""

    def best(self, column: Column) -> float | None:
        """Best value of a column among the models as trained."""
        found = [r.cells[column].value for r in self.rows if not r.stage and column in r.cells]
        best = min if column.metric == "ece" else max
        return best((v for v in found if v is not None), default=None)


def models(evidence: Evidence) -> Models | None:
    """None where no clean quality was measured."""
    found = [f for f in evidence.of("utility", trial="clean") if metric_k(f.metric)[0] in _METRICS]
    cells: dict[tuple[str, str], dict[Column, Finding]] = {}
    for f in found:
        model, _, arm = f.subject.partition("/")
        hidden = arm == HIDDEN
        if f.group in (("warm", "cold") if hidden else ("all",)):
            stage = arm if arm in (CONTROL, HARDENED) else ""
            cells.setdefault((model, stage), {})[Column(hidden, f.group, f.metric)] = f
    if not cells:
        return None
    columns = tuple(sorted({c for row in cells.values() for c in row}, key=_order))
    rows = tuple(
        ModelRow(model=model, stage=stage, cells=row)
        for (model, stage), row in sorted(cells.items(), key=lambda kv: _rank(*kv))
    )
    return Models(columns=columns, rows=rows, notes=_notes(evidence, found, columns))


def _order(column: Column) -> tuple[bool, bool, int]:
    name = metric_k(column.metric)[0]
    return (column.hidden, column.group == "cold", _METRICS.index(name))


def _rank(key: tuple[str, str], cells: Mapping[Column, Finding]) -> tuple[object, ...]:
    """As trained before the hardening stage; by NDCG over all items, of classifiers by
    accuracy, then by name."""
    model, stage = key
    ndcg = [f.value for c, f in cells.items() if not c.hidden and _weighed(c)]
    value = ndcg[0] if ndcg and ndcg[0] is not None else -1.0
    return (bool(stage), stage, -value, model) if stage else (False, "", -value, model)


def _weighed(column: Column) -> bool:
    return metric_k(column.metric)[0] in ("ndcg", "accuracy")


def _notes(
    evidence: Evidence, found: list[Finding], columns: tuple[Column, ...]
) -> tuple[str, ...]:
    protocols = tuple(dict.fromkeys(f.protocol for f in found if f.protocol))
    stated = protocols or (evidence.facts.protocol or "not stated",)
    sizes = {c: max((f.n for f in found if _in(c, f)), default=0) for c in columns}
    groups = dict.fromkeys(f"{c.heading} {count(sizes[c])}" for c in columns if sizes[c])
    notes = [f"Protocol: {text}." for text in stated]
    if any(c.hidden for c in columns):
        cold = evidence.facts.config.get("cold")
        share = cold.get("share") if isinstance(cold, Mapping) else None
        part = percent(share) if isinstance(share, int | float) else "a share"
        notes.append(
            f"Items hidden: the model was trained once more for each seed with {part} of the "
            "items taken out of training and histories. Cold: the held-out item is one of them; "
            "warm: it is not."
        )
    if groups:
        notes.append("Test cases: " + "; ".join(groups) + ".")
    return tuple(notes)


def _in(column: Column, f: Finding) -> bool:
    hidden = f.subject.partition("/")[2] == HIDDEN
    return (hidden, f.group, f.metric) == (column.hidden, column.group, column.metric)
