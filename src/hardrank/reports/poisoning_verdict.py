"""What a poisoning run comes to, in at most six sentences."""

from statistics import mean

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.layout import table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, percent
from hardrank.reports.poisoning_evidence import ADAPTIVE, Poisoning
from hardrank.reports.words import listed

__all__ = ["arms", "said", "verdict"]

_STANDS = {
    "passed": ("counts", "✓", "good"),
    "undecided": ("provisional", "?", "warn"),
    "not run": ("not checked", "–", "warn"),
    "failed": ("does not count", "✕", "bad"),
}
"""State of an arm's checks -> what its cell says, sign and class."""
_SEEN = 0.05
"""Share of NDCG@10 whose loss somebody who watches it would notice."""


def verdict(read: Poisoning) -> Html:
    """The box at the head of the page."""
    heading = tag("h2", _headline(read), class_="status", id="verdict-title")
    sentences = [tag("p", sentence) for sentence in said(read)]
    return tag("section", heading, sentences, arms(read), class_="verdict warn", id="verdict",
               aria_labelledby="verdict-title")  # fmt: skip


def arms(read: Poisoning) -> Html | None:
    """A cell for each defence of each victim: whether its figures count, what it takes away at
    worst and what it costs. One arm's fault is not another's."""
    if not read.arms:
        return None
    body = [
        tag("tr", tag("th", arm, scope="row"),
            [_arm_cell(read, f"{victim}/{arm}") for victim in read.victims])
        for arm in read.arms
    ]  # fmt: skip
    won = "gives back of the targets' loss" if read.demote else "takes away of the gain"
    caption = (
        f"Each defence by itself: whether its figures count, what it {won} from the attacker whom "
        "it stops least, its price in NDCG@10"
    )
    return table(caption, ["defence", *read.victims], body, "matrix arms")


def _arm_cell(read: Poisoning, subject: str) -> Html:
    if subject not in read.subjects:
        return tag("td", tag("span", "not for it", class_="small"), class_="cell")
    found = read.standing(subject)
    name, sign, kind = _STANDS[found.state]
    doubtful = found.state != "failed" and not _sound(read, subject)
    if doubtful:
        name, sign, kind = "does not count", "✕", "bad"
    lines = [f"failed: {found.why()}" if found.failed else ""]
    lines += [f"undecided: {found.why()}"] if found.state == "undecided" else []
    effect, price = _least(read, subject), _price(read, subject)
    if effect is not None and not found.failed and not doubtful:
        lines.append(f"{'gives back' if read.demote else 'takes away'} {percent(effect)}")
        lines += [] if price is None else [f"price {percent(price)}"]
    mark = tag("span", sign, class_="sign", aria_hidden="true")
    return tag(
        "td", tag("span", mark, name, class_="state"),
        [tag("span", line, class_="small") for line in lines if line], class_=f"cell {kind}",
    )  # fmt: skip


def _sound(read: Poisoning, subject: str) -> bool:
    """Whether neither a check of its own nor one that its comparison rests on failed."""
    rows = read.of(subject=subject, audit="worst-case", metric=f"defence_effect@{read.k}")
    return not read.standing(subject).failed and all(f.reliable for f in rows)


def _least(read: Poisoning, subject: str) -> float | None:
    """The share that the defence takes away from the attacker whom it stops least."""
    rows = read.of(subject=subject, audit="worst-case", metric=f"defence_effect@{read.k}")
    return min((f.value for f in rows if f.value is not None), default=None)


def _price(read: Poisoning, subject: str) -> float | None:
    found = read.one(subject=subject, audit="utility", metric="price(ndcg@10)", group="all")
    return found.value if found else None


def said(read: Poisoning) -> list[str]:
    """Who attacked, what it won, what each defence gave back, who was found, what to doubt."""
    parts = (_effort(read), _won(read), _gave_back(read), _found(read), _unseen(read),
             _doubted(read))  # fmt: skip
    return [part for part in parts if part]


def _headline(read: Poisoning) -> str:
    if not _undefended(read):
        return "No attack could be measured"
    return f"What fake users {'do to their targets' if read.demote else 'win'}"


def _undefended(read: Poisoning) -> list[Finding]:
    found = (read.strongest(f"{victim}/{CONTROL}") for victim in read.victims)
    return [f for f in found if f is not None]


def _effort(read: Poisoning) -> str:
    budget = read.facts["config"]["threat"]["budget"]
    real = read.facts.get("real_users")
    share = f" beside {count(real)} real ones" if real else ""
    wish = "drive" if read.demote else "bring"
    aims = len(read.facts["targets"])
    each = f"each of {aims} items" if aims > 1 else "one item"
    return (
        f"At most {budget['profiles']} fake users{share}, of at most {budget['profile_events']} "
        f"events, try to {wish} {each} {'out of' if read.demote else 'into'} the top {read.k} "
        "of real users."
    )


def _won(read: Poisoning) -> str:
    rows = _undefended(read)
    rows.sort(key=lambda f: -_moved_by(read, f))
    if not rows:
        return ""
    first = f"Undefended, {_moved(read, rows[0])}"
    if len(rows) == 1:
        return f"{first}."
    last = f"the least of its {len(rows)} victims is {_moved(read, rows[-1], least=True)}"
    return f"{first}; {last}."


def _moved_by(read: Poisoning, f: Finding) -> float:
    """What an attacker has of it: exposure after a promotion, exposure lost in a demotion."""
    after, before = f.value or 0.0, read.before(f)
    return after if not read.demote or before is None else before - after


def _moved(read: Poisoning, f: Finding, *, least: bool = False) -> str:
    victim, start = f.subject.partition("/")[0], read.before(f)
    name = read.called(f.trial)
    assert f.value is not None
    span = f"{'' if start is None else f'from {percent(start)} '}to {percent(f.value)}"
    if read.demote and _moved_by(read, f) <= 0:
        return f"{victim}, where none lowers them: {span} under {name}" if least else (
            f"no attack lowers the targets on any victim: on {victim} {span} of those lists "
            f"under {name}")  # fmt: skip
    if least:
        return f"{victim}, {span} under {name}"
    return f"{name} moves the targets on {victim} {span} of those lists"


def _gave_back(read: Poisoning) -> str:
    parts = [part for arm in read.arms if (part := _arm_said(read, arm))]
    if not parts:
        return ""
    shown, left = parts[:4], len(parts) - 4
    won = "takes away, defences give back" if read.demote else "gains, defences take away"
    known = {f.subject.partition("/")[2] for f in read.of(trial="all attacks and adaptive")}
    if known >= set(read.arms):
        won += ", even where the attacker knows them"
    return (
        f"Of what the strongest attack on each target {won}: "
        f"{listed(shown)}{f'; {left} more are below' if left > 0 else ''}."
    )


def _arm_said(read: Poisoning, arm: str) -> str:
    """Over the victims on which its figures count; the others are named."""
    subjects = [s for s in read.subjects if s.partition("/")[2] == arm
                and _least(read, s) is not None]  # fmt: skip
    sound = [s for s in subjects if _sound(read, s)]
    bad = [s.partition("/")[0] for s in subjects if s not in sound]
    if not subjects:
        return ""
    if not sound:
        return f"{arm} nothing that counts: a check failed on every victim"
    effects = [e for s in sound if (e := _least(read, s)) is not None]
    prices = [p for s in sound if (p := _price(read, s)) is not None]
    paid = f"for {_span(prices)} of NDCG@10" if prices else ""
    where = f"a check failed on {listed(bad)}" if bad else ""
    beside = "; ".join(part for part in (paid, where) if part)
    return f"{arm} {_span(effects)}{f' ({beside})' if beside else ''}"


def _span(values: list[float]) -> str:
    low, high = percent(min(values)), percent(max(values))
    return low if low == high else f"{low} to {high}"


def _found(read: Poisoning) -> str:
    rows = [f for f in read.of(metric="recall") if f.value is not None]
    means = {s: mean(f.value or 0.0 for f in rows if f.subject == s)
             for s in dict.fromkeys(f.subject for f in rows)}  # fmt: skip
    if not means:
        return ""
    best = max(means, key=lambda s: means[s])
    hard = min((f for f in rows if f.subject == best), key=lambda f: f.value or 0.0)
    name, beaten = read.called(best), read.called(hard.trial)
    worst = (
        f", but {percent(hard.value or 0.0)} of those of {beaten}" if means[best] < 0.995 else ""
    )
    return (
        f"At 1 % false alarms the best detector, {name}, finds {percent(means[best])} of fake "
        f"users on average{worst}."
    )


def _unseen(read: Poisoning) -> str:
    rows = [f for f in read.of(audit="poisoned", metric="drop(ndcg@10)")
            if f.value is not None and f.subject.endswith(f"/{CONTROL}")
            and not f.trial.endswith(ADAPTIVE)]  # fmt: skip
    if not rows:
        return ""
    by_victim: dict[str, float] = {}
    for f in rows:
        victim = f.subject.partition("/")[0]
        by_victim[victim] = max(by_victim.get(victim, 0.0), abs(f.value or 0.0))
    worst = max(by_victim, key=lambda v: by_victim[v])
    rest = [move for victim, move in by_victim.items() if victim != worst]
    if by_victim[worst] < _SEEN:
        return (
            f"NDCG@10 of real users moves by at most {percent(by_victim[worst])} under any attack: "
            "watching quality alone would not show the poison."
        )
    others = f" and by at most {percent(max(rest))} on the other victims" if rest else ""
    return (
        f"NDCG@10 of real users moves by up to {percent(by_victim[worst])} under attack on "
        f"{worst}{others}."
    )


def _doubted(read: Poisoning) -> str:
    """That some figures do not count, and the others do."""
    rest = sum(_clear(read, s) for s in read.subjects)
    if rest == len(read.subjects):
        return ""
    stand = f"; those of the {rest} arms without one stand" if rest > 1 else ""
    return f"Figures that a failed check concerns are struck out{stand}: see the checks."


def _clear(read: Poisoning, subject: str) -> bool:
    """Whether no check of its own failed and no figure of it is marked."""
    own = [f for f in read.findings if f.subject == subject]
    return all(f.reliable for f in own)
