"""From entries to the boards of a leaderboard page."""

from collections.abc import Iterable

from hardrank.experiment.leaderboard_spec import Entry, Figure, Threat, threat_label
from hardrank.reports.leaderboard import Board, Number, Place

__all__ = ["boards"]

Key = tuple[str, str, str, str, int, tuple[str, ...]]


def boards(entries: Iterable[Entry]) -> list[Board]:
    """One for each dataset, protocol, threat model and list of attacks, by dataset and threat:
    what was attacked otherwise is not compared."""
    found: dict[Key, list[tuple[Entry, Threat]]] = {}
    for entry in entries:
        for threat in entry.threats:
            key = (entry.dataset.name, entry.dataset.fingerprint, threat.description,
                   entry.protocol, threat.k, threat.attacks)  # fmt: skip
            found.setdefault(key, []).append((entry, threat))
    return [_board(found[key]) for key in sorted(found)]


def _board(members: list[tuple[Entry, Threat]]) -> Board:
    entry, threat = members[0]
    return Board(
        dataset=entry.dataset.name, fingerprint=entry.dataset.fingerprint,
        synthetic=entry.dataset.synthetic, threat=threat.description, attacks=threat.attacks,
        protocol=entry.protocol, places=tuple(_place(e, t) for e, t in members),
    )  # fmt: skip


def _place(entry: Entry, threat: Threat) -> Place:
    label = threat_label(threat.attacks)
    return Place(
        name=entry.name, subject=entry.subject, citation=entry.citation,
        gain=_number(entry.figure("worst(er_gain)", label)),
        control=_number(entry.reference("worst(er_gain)", label)),
        removed=_number(entry.figure("defence_effect(worst(er_gain))", label)),
        clean=_number(entry.figure("ndcg@10")),
        price=_number(entry.figure("price(ndcg@10)")),
        tail=_number(entry.figure("price(ndcg@10)", group="tail")),
        seeds=len(entry.seeds), reasons=entry.reasons,
    )  # fmt: skip


def _number(figure: Figure | None) -> Number:
    if figure is None:
        return Number(value=None)
    return Number(value=figure.value, low=figure.low, high=figure.high, n=figure.n)
