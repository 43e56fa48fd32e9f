"""How it was measured, and how to compute it again."""

from collections.abc import Iterator, Mapping
from typing import Any

from hardrank.reports.evidence import Evidence
from hardrank.reports.layout import section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import plain
from hardrank.reports.table import flips

__all__ = ["DEFINITIONS", "method_section", "provenance_section", "toml"]

DEFINITIONS = (
    ("HR@k, NDCG@k, MRR", "Full ranking over all items the user has not met, one held-out item: "
     "NDCG is 1 / log2(rank + 1) if rank ≤ k, else 0. No sampled candidates; ties count against "
     "the model."),
    ("Exposure@k of a target", "Share of eligible users, those who never met the item, whose "
     "top k holds it. Gain is after minus before."),
    ("Attack success rate", "Share of targets for which the stated goal is reached. Targets that "
     "met it before the attack are excluded and counted."),
    ("Gain removed by hardening", "1 − gain(hardened) / gain(control), over the same targets "
     "and seeds."),
    ("Price of robustness", "Relative loss of clean NDCG@k from control to hardened."),
    ("Similarity", "Cosine of a judge encoder that is not the victim's own. A high value is not "
     "evidence that a person would not notice."),
    ("Intervals", "95 %, bootstrap over users or targets and over seeds. A result from a single "
     "seed is marked: its interval says nothing about other seeds."),
)  # fmt: skip


CLASSIFIER_DEFINITIONS = (
    ("Accuracy, AUC", "Share of test texts given their true class, from a probability of 0.5 up; "
     "and the chance that a text of class 1 gets a higher probability than one of class 0."),
    ("Precision, recall, F1", "Of class 1, at the same threshold."),
    ("Calibration error (ECE)", "How far accuracy is from the stated probability of the named "
     "class, over 15 bins. Probabilities were scaled on validation texts."),
    ("Accuracy under attack", "Over all test texts; those that were wrong before stay wrong."),
    ("Attack success rate", "Share of the texts that were right before whose decision the attack "
     "flips. Texts that were wrong before are excluded."),
    ("Gain removed by hardening", "1 − success rate(hardened) / success rate(control), each over "
     "the texts that arm had right."),
    ("Price of robustness", "Relative loss of clean accuracy from control to hardened."),
    DEFINITIONS[-1],
)  # fmt: skip


def method_section(evidence: Evidence) -> Html:
    facts = evidence.facts
    protocols = [facts.protocol] if facts.protocol else []
    protocols += [p for p in dict.fromkeys(f.protocol for f in evidence.findings) if p]
    protocol = [tag("p", p) for p in dict.fromkeys(protocols)] or [tag("p", "Not stated.")]
    threats = [tag("li", t) for t in facts.threats] or [tag("li", "None stated.")]
    used = CLASSIFIER_DEFINITIONS if flips(evidence) else DEFINITIONS
    terms = [tag("div", tag("dt", term), tag("dd", text)) for term, text in used]
    return section(
        "method",
        "Method",
        "",
        tag("h3", "Protocol"), protocol,
        tag("h3", "Threat models"), tag("ul", threats),
        tag("h3", "What the numbers mean"), tag("dl", terms, class_="terms"),
        [tag("h3", "Data card"), tag("pre", facts.data_card)] if facts.data_card else None,
    )  # fmt: skip


def provenance_section(evidence: Evidence) -> Html:
    facts = evidence.facts
    pairs = [
        ("Run", facts.name),
        ("Started", facts.started),
        ("Data", "synthetic, generated" if facts.synthetic else "observed"),
        ("Data fingerprint", facts.fingerprint),
        ("Seeds", ", ".join(map(str, facts.seeds))),
        *((f"Host: {k}", _short(v)) for k, v in facts.host.items()),
        *((f"Version: {k}", v) for k, v in facts.versions.items()),
        *((f"Seconds: {k}", plain(v, 1)) for k, v in facts.durations.items()),
    ]
    rows = [tag("tr", tag("th", k, scope="row"), tag("td", v)) for k, v in pairs if v]
    config = "\n".join(toml(facts.config))
    return section(
        "provenance",
        "Provenance",
        "Every number here is computed again from samples.parquet by:",
        tag("pre", "hardrank report verify RUN"),
        table("Where this came from", ["What", "Value"], rows, "facts"),
        [tag("details", tag("summary", "Resolved configuration"), tag("pre", config))]
        if config
        else None,
    )


def toml(config: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Lines of TOML: plain keys first, then tables, then arrays of tables."""
    plain_keys = {k: v for k, v in config.items() if v is not None and not _nested(v)}
    if path and plain_keys:
        yield f"[{'.'.join(map(_key, path))}]"
    for key, value in plain_keys.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield ""
            yield from toml(value, (*path, key))
        elif _nested(value):
            for row in value:
                yield ""
                yield f"[[{'.'.join(map(_key, (*path, key)))}]]"
                yield from (f"{_key(k)} = {_value(v)}" for k, v in row.items() if v is not None)


def _nested(value: Any) -> bool:
    listed = isinstance(value, list | tuple) and bool(value)
    return isinstance(value, Mapping) or (listed and all(isinstance(v, Mapping) for v in value))


def _key(key: Any) -> str:
    text = str(key)
    bare = text and all(c.isascii() and (c.isalnum() or c in "-_") for c in text)
    return text if bare else _text(text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
        return "{ " + inside + " }" if inside else "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value if v is not None) + "]"
    return _text(str(value))


def _text(value: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    spelt = (escapes.get(c) or (c if c.isprintable() else f"\\U{ord(c):08X}") for c in value)
    return '"' + "".join(spelt) + '"'


def _short(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
