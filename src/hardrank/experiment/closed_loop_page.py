"""The page of a closed loop: what came out, every round, the checks, the game."""

from collections.abc import Mapping, Sequence
from typing import Any

from hardrank.audits.game import Game
from hardrank.experiment.closed_loop_confirm import Check
from hardrank.experiment.closed_loop_plan import Number, Round, best_of, weakest
from hardrank.reports.document import document
from hardrank.reports.layout import attack_label, note, section, state, table
from hardrank.reports.markup import Child, Html, escape, tag
from hardrank.reports.numbers import decimal, interval, percent, plain

__all__ = ["loop_page"]

_STYLE = """
.rounds td { vertical-align: top; }
.rounds thead th:nth-child(n+4):nth-child(-n+8) { text-align: right; }
.rounds td .small { display: block; }
"""


def loop_page(
    facts: Mapping[str, Any],
    rounds: Sequence[Round],
    stopped: str,
    checks: Sequence[Check],
    game: Game | None,
) -> str:
    """A whole HTML document. facts: as `loop.json` has them."""
    seeds = len(facts["seeds"])
    about = (
        f"{len(rounds) - 1} rounds of training · {seeds} seed{'s' if seeds != 1 else ''} · "
        f"{facts['users'][0]} validation users"
    )
    return document(
        facts["name"], "Hardrank closed loop", about, _verdict(rounds, stopped, checks),
        _rounds(rounds), _attacks(rounds), _checks(checks), _game(game), _method(facts),
        synthetic=facts["synthetic"], style=_STYLE,
        footer="Made by Hardrank from loop.json; every round's samples are in rounds/.",
    )  # fmt: skip


def _verdict(rounds: Sequence[Round], stopped: str, checks: Sequence[Check]) -> Html:
    best = best_of(rounds)
    failed = [check for check in checks if not check.passed]
    if best.number == 0:
        kind, sign, title = "warn", "!", "No round helped"
        said = "Plain training stays the best; the table of rounds says why."
    else:
        kind, sign = ("warn", "!") if failed else ("good", "✓")
        title = f"Round {best.number} is recommended"
        said = (
            f"It leaves {percent(rounds[-1].left)} of what the strongest attack gained on the "
            "control, round by round on the same targets."
        )
    words: list[Child] = [tag("p", said), tag("p", f"The loop stopped: {stopped}.")]
    if failed:
        words.append(tag("p", f"{len(failed)} of {len(checks)} checks failed; see below."))
    words.append(note(
        "Chosen on validation events. What it is worth is measured on test events, on targets "
        "that were not looked at here, by: hardrank run recommended.toml"
    ))  # fmt: skip
    heading = tag("h2", tag("span", sign, class_="sign", aria_hidden="true"), title,
                  class_="status", id="verdict-title")  # fmt: skip
    return tag("section", heading, words, class_=f"verdict {kind}", id="verdict",
               aria_labelledby="verdict-title")  # fmt: skip


def _rounds(rounds: Sequence[Round]) -> Html:
    head = ["Round", "Trained on", "Strongest attack", "Its gain", "Best before", "NDCG@10",
            "Cost", "Best so far", "Decision"]  # fmt: skip
    lead = (
        "Each round attacks the best model so far and the new one on the same fresh targets. "
        "“Best so far” is the share of the control's gain that is left; it never grows."
    )
    made = table("Every round", head, map(_round, rounds), "rounds")
    return section("rounds", "Rounds", lead, made)


def _round(found: Round) -> Html:
    top, before = weakest(found.after), weakest(found.before)
    quality = found.clean.get("all", (None, None, None))
    decision = "kept" if found.kept else "discarded"
    return tag(
        "tr",
        tag("th", found.number, scope="row"),
        tag("td", _trained_on(found)),
        tag("td", attack_label(top[0]) if top else "–"),
        _cell(found.after.get(top[0]) if top else None, percent),
        tag("td", percent(before[1]) if before else "–", class_="num"),
        _cell(quality, decimal),
        tag("td", "–" if found.cost is None else f"{plain(found.cost, 1)}×", class_="num"),
        tag("td", percent(found.left), class_="num"),
        tag("td", decision, tag("span", found.why, class_="small")),
    )


def _trained_on(found: Round) -> Child:
    if found.arm is None:
        return "the control"
    objective = found.arm.get("objective", {}).get("kind")
    parts = [attack_label(a) for a in found.trained_on] or [escape(objective or "")]
    if "influence" in found.arm:
        parts.append(escape("bounded influence"))
    return [tag("div", part) for part in parts if part]


def _cell(number: Number | None, spell: Any) -> Html:
    if number is None or number[0] is None:
        return tag("td", "–", class_="num")
    around = interval(number[1], number[2], spell)
    return tag("td", spell(number[0]), tag("span", around, class_="small range"), class_="num")


def _attacks(rounds: Sequence[Round]) -> Html:
    measured = [r for r in rounds if r.after]
    names = list(dict.fromkeys(name for r in measured for name in r.after))
    head = ["Attack", *(f"Round {r.number}" for r in measured)]
    body = [
        tag("tr", tag("th", attack_label(name), scope="row"),
            [_cell(r.after.get(name), percent) for r in measured])
        for name in names
    ]  # fmt: skip
    lead = (
        "Exposure gain on the model of each round. Targets differ from column to column, so "
        "compare within a column."
    )
    return section("attacks", "Every attack in every round", lead, table("Gains", head, body))


def _checks(checks: Sequence[Check]) -> Html:
    if not checks:
        return section("checks", "Checks", "", tag("p", "No round was kept: nothing to confirm."))
    body = [
        tag("tr", tag("th", check.name, scope="row"),
            state("passed" if check.passed else "failed", check.found))
        for check in checks
    ]  # fmt: skip
    lead = "Best round against the control, on targets that no round attacked."
    return section("checks", "Checks", lead, table("Checks", ["Check", "State"], body, "rounds"))


def _game(game: Game | None) -> Html:
    if game is None:
        return Html("")
    head = ["Attack", *game.defences, "Attacker plays"]
    body = [
        tag("tr", tag("th", attack_label(name), scope="row"),
            [tag("td", percent(gain), class_="num") for gain in game.payoff[n]],
            tag("td", percent(game.attack_mix[n]), class_="num"))
        for n, name in enumerate(game.attacks)
    ]  # fmt: skip
    mix = [tag("td", percent(share), class_="num") for share in game.defence_mix]
    body.append(tag("tr", tag("th", "Defender plays", scope="row"), mix, tag("td")))
    lead = (
        "Exposure gain of each attack on each model, as a zero-sum game: an attacker picks a row, "
        "the defender picks a column at random in the best proportions."
    )
    said = tag("ul", [tag("li", line) for line in game.lines()])
    return section("game", "Attacks against defences", lead, table("Payoffs", head, body), said)


def _method(facts: Mapping[str, Any]) -> Html:
    words = [
        tag("p", f"Protocol: {facts['protocol']}."),
        tag("ul", [tag("li", threat) for threat in dict.fromkeys(facts["threats"])]),
        tag("p", "Exposure gain is the share of users who get a target after an attack less the "
            "share before, mean over targets. Every round goes on from one shared base, as the "
            "control does, and differs in its objective alone. A round is kept if the strongest "
            "attack gains less than on the best model so far and the relative loss of NDCG@10 "
            f"against the control stays within {percent(facts['price'])}."),
    ]  # fmt: skip
    return section("method", "How it was measured", "", words)
