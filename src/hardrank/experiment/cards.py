"""Attack cards: a page for every attack, from its docstring and its measured strength.

python -m hardrank.experiment.cards docs/attacks benchmarks/results

reads `measured.json` of the first folder (`hardrank.experiment.strength` writes it) and
`poisoning*.json` of the second one, and writes one page an attack and `README.md`, the table of
all.
"""

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from hardrank.attacks.roll import ROLL
from hardrank.experiment.profile_cards import knows, measured_profiles
from hardrank.files import write_text
from hardrank.perturbations import Inner

__all__ = ["pages"]

_SEES = {
    "ranks": "ranks alone (black box)",
    "scores": "ranks and scores (grey box)",
    "gradients": "ranks, scores and gradients (white box)",
}
_CELLS = (
    ("er_before", "ER@10 before", 4), ("er_after", "after", 4), ("rank_before", "rank before", 0),
    ("rank_after", "after", 0), ("asr", "ASR", 2), ("words", "words", 1),
    ("similarity", "characters", 2), ("cosine", "cosine", 2),
    ("perplexity", "perplexity, log10", 2),
    ("queries", "queries", 0), ("seconds", "seconds", 2),
)  # fmt: skip


def pages(measured: Mapping[str, Any], poisoned: Mapping[str, Any] | None = None) -> dict[str, str]:
    """File name -> page. measured: as `hardrank.experiment.strength.collect` gives it;
    poisoned: name -> a result of `benchmarks/poisoning.py`."""
    made: list[Any] = [*ROLL, *get_args(get_args(Inner)[0])]
    out = {f"{attack.kind}.md": "\n".join(_card(attack, measured, poisoned)) for attack in made}
    out["README.md"] = "\n".join(_table(made, measured))
    return out


def _card(
    attack: Any, measured: Mapping[str, Any], poisoned: Mapping[str, Any] | None
) -> Iterator[str]:
    text = inspect.getdoc(attack) or ""
    yield f"# {attack.kind}\n"
    yield f"{text}\n"
    yield "| | |\n|---|---|"
    if _joins_log(attack):
        yield from knows(attack)
    elif hasattr(attack, "surfaces"):
        yield f"| writes | {', '.join(attack.surfaces)} |"
        yield f"| needs to see at least | {_SEES[attack.needs]} |"
        yield f"| makes use of at most | {_SEES[attack.uses]} |"
        yield f"| goals | {', '.join(attack.goals)} |"
        yield f"| replaces whole texts | {'yes' if attack.whole_text else 'no'} |"
    else:
        yield "| writes | representation: bounded vectors inside the model |"
        yield f"| sees | {_SEES['gradients']} |"
        yield "| goals | promote, demote, degrade, flip |"
    options = [(n, f) for n, f in attack.__pydantic_fields__.items() if n != "kind"]
    if options:
        yield "\n## Hyperparameters\n\n| key | default | meaning |\n|---|---|---|"
        for name, field in options:
            meaning = " ".join((field.description or "").split())
            yield f"| `{name}` | `{_default(field.default)}` | {meaning} |"
    yield "\n## Measured\n"
    rows = list(_measured(attack, measured)) or list(measured_profiles(attack, poisoned or {}))
    if "reviews" in getattr(attack, "surfaces", ()):
        rows = ["In [fake reviews](../fake-reviews.md)."]
    yield from rows or ["Not measured in the runs behind these pages."]
    yield ""


def _joins_log(attack: Any) -> bool:
    """Whether it writes fake users or reviews, of which the victim is never asked."""
    return bool({"profiles", "reviews"} & set(getattr(attack, "surfaces", ())))


def _measured(attack: Any, measured: Mapping[str, Any]) -> Iterator[str]:
    for name, run in measured.items():
        mine = {t: row for t, row in run["attacks"].items() if _kind(t) == attack.kind}
        curves = {
            c: row for c, row in run["curves"].items() if _kind(c.split(": ")[1]) == attack.kind
        }
        text = {t: row for t, row in mine.items() if row["audit"] == "promotion"}
        if text:
            yield f"**{name}**, {run['model']}, seeds {run['seeds']}; mean [95 % interval]:\n"
            yield from _rows(text)
            yield ""
        for trial, row in mine.items():
            if row["audit"] == "history":
                yield f"**{name}**, `{trial}`: {_history(row)}\n"
        for curve, radii in curves.items():
            cells = ", ".join(f"{r}: {_number(v, 4)}" for r, v in radii.items())
            yield f"**{name}**, {curve} by radius: {cells}\n"
        for trial, why in run["refused"].items():
            if _kind(trial) == attack.kind and trial not in mine:
                yield f"**{name}**, `{trial}` was not mounted: {why}\n"


def _history(row: Mapping[str, Any]) -> str:
    return (
        f"rank {_number(row.get('rank_before'), 0)} → {_number(row.get('rank_after'), 0)}, success "
        f"{_number(row.get('asr'), 2)}, list kept (Jaccard) {_number(row.get('value'), 2)}, events "
        f"{_number(row.get('events'), 1)}, queries {_number(row.get('queries'), 0)}, n {row['n']}"
    )


def _rows(attacks: Mapping[str, Any]) -> Iterator[str]:
    yield f"| attack | {' | '.join(head for _, head, _ in _CELLS)} |"
    yield "|---|" + "---|" * len(_CELLS)
    for trial, row in sorted(attacks.items(), key=lambda kv: -kv[1].get("er_after", [0])[0]):
        cells = (_number(row.get(metric), decimals) for metric, _, decimals in _CELLS)
        yield f"| {trial} | {' | '.join(cells)} |"


def _table(attacks: list[Any], measured: Mapping[str, Any]) -> Iterator[str]:
    yield _HEAD
    yield "| attack | writes | sees | what it does |\n|---|---|---|---|"
    for attack in attacks:
        first = " ".join((inspect.getdoc(attack) or "").split("\n\n")[0].split())
        where = ", ".join(getattr(attack, "surfaces", ("representation",)))
        seen = getattr(attack, "needs", "gradients")
        most = getattr(attack, "uses", "gradients")
        span = seen if seen == most else f"{seen} to {most}"
        yield f"| [{attack.kind}]({attack.kind}.md) | {where} | {span} | {first} |"
    for name, run in measured.items():
        yield f"\n## {name}\n"
        yield f"Victim: {run['model']}, no hardening; seeds {run['seeds']}. Threats:\n"
        yield from (f"- {threat}" for threat in run["threats"])
        yield ""
        yield from _rows({t: r for t, r in run["attacks"].items() if r["audit"] == "promotion"})
        yield from _histories(run)
        yield from _cheapest(run["cheapest"])
    yield ""


def _histories(run: Mapping[str, Any]) -> Iterator[str]:
    rows = {t: r for t, r in run["attacks"].items() if r["audit"] == "history"}
    if rows:
        yield "\nHistories:\n"
        yield from (f"- {trial}: {_history(row)}" for trial, row in rows.items())


def _cheapest(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    won = Counter(row["trial"] or "none succeeded" for row in rows)
    yield "\nCheapest successful attack (fewest queries, then fewest words), by target:\n"
    yield "; ".join(f"{trial} {count}" for trial, count in won.most_common()) + "."
    yield "\n<details><summary>each target</summary>\n"
    yield "| seed | target | cheapest successful attack | queries | words |\n|---|---|---|---|---|"
    for row in rows:
        cells = [row["seed"], row["sample"], row["trial"], row["queries"], row["words"]]
        yield f"| {' | '.join('–' if c is None else str(c) for c in cells)} |"
    yield "\n</details>"


def _kind(label: str) -> str:
    """Of a label such as `pwws(words=3) [ranks] (5 words)`."""
    return label.partition("(")[0].partition(" ")[0]


def _number(value: list[float | None] | None, decimals: int) -> str:
    if value is None or value[0] is None:
        return "–"
    middle, low, high = value
    if decimals == 0 or low is None or high is None:
        return f"{middle:.{decimals}f}"
    return f"{middle:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _default(value: Any) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(type(value)).dump_json(value).decode().replace("|", "\\|")


_HEAD = """# Attack cards

Written by `python -m hardrank.experiment.cards docs/attacks benchmarks/results` from the attacks'
docstrings and from `measured.json`, which `python -m hardrank.experiment.strength` collects from
finished runs; the experiment files are `examples/attacks-*.toml`. Fake users are measured by
`benchmarks/poisoning.py`, with and without defences ([poisoning](../poisoning.md)). Every other
number is against the victim without any defence, on all users of the data, most of whom the
attacker never saw. *Characters* and *cosine* are similarities to the original text by two judges
that no victim shares (character n-grams; latent semantic analysis), *perplexity* is log10 of the
new text's over the old one's under an n-gram model of the catalogue. The similarity of a promoted
text says what a moderator could notice; it is no proof of stealth.
"""


if __name__ == "__main__":
    folder, results = map(Path, sys.argv[1:3])
    found = folder / "measured.json"
    known = json.loads(found.read_text("utf-8")) if found.exists() else {}
    kept = {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(results.glob("poisoning*"))}
    for name, page in pages(known, kept).items():
        write_text(folder / name, page)
