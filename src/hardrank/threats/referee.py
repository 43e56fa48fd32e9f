"""The referee: opens the view, lets the attack play, counts and checks what it did."""

from collections.abc import Sequence
from pathlib import Path

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.recommender import Recommender
from hardrank.threats.court import Attack, Court, played_label
from hardrank.threats.desk import Judge
from hardrank.threats.listing import ListingCourt
from hardrank.threats.match import Match, MatchLog
from hardrank.threats.model import ThreatModel

__all__ = ["mount", "mount_all", "play_all"]


def mount(
    attack: Attack,
    threat: ThreatModel,
    victim: Recommender,
    world: Dataset,
    *,
    panel: Queries,
    target: str,
    seed: int = 0,
    judge: Judge | None = None,
) -> Match:
    """One attack on one target.

    `world` is what the victim was trained on: its item table is the public catalogue, its
    event counts the public popularity. The panel's queries are the users whose lists the
    attacker sees. All the attack's randomness follows from (seed, attack, target).

    Raises `FoulPlay` when the attack breaks the budget, writes where it may not or changes
    the victim, `Unsupported` when the threat does not let this attack play, and whatever
    the attack raises.
    """
    return ListingCourt.of(victim, world, panel, judge).play(attack, threat, target, seed)


def mount_all(
    attacks: Sequence[Attack],
    threat: ThreatModel,
    victim: Recommender,
    world: Dataset,
    *,
    panel: Queries,
    targets: Sequence[str],
    seed: int = 0,
    judge: Judge | None = None,
    log: Path | None = None,
    run: RunContext | None = None,
) -> tuple[Match, ...]:
    """Every attack on every target, attack by attack; as `mount`, but a match that the
    threat does not allow is one with an `error` and an empty patch.

    With a `log` (JSON lines) each match is written as soon as it is over, and one that is
    there already for the same attack, threat, target, seed and victim is not played again.
    """
    court = ListingCourt.of(victim, world, panel, judge)
    return play_all(court, attacks, threat, targets=targets, seed=seed, log=log, run=run)


def play_all(
    court: Court,
    attacks: Sequence[Attack],
    threat: ThreatModel,
    *,
    targets: Sequence[str],
    seed: int = 0,
    log: Path | None = None,
    run: RunContext | None = None,
) -> tuple[Match, ...]:
    """`mount_all` in any court: of item texts, queries, histories or features."""
    record = MatchLog(log) if log else None
    done = record.load() if record else {}
    played: list[Match] = []
    for attack in attacks:
        name = played_label(attack, threat)
        for target in (run or RunContext()).track(targets, name, len(targets)):
            match = done.get(court.key(attack, threat, target, seed))
            if match is None or match.error:
                before, match = match, court.attempt(attack, threat, target, seed)
                if record and (before is None or before.error != match.error):
                    record.append(match)
            played.append(match)
    return tuple(played)
