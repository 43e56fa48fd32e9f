"""What a poisoning run comes to, in at most six sentences."""

from statistics import mean

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import count, percent
from hardrank.reports.poisoning_evidence import ADAPTIVE, Poisoning
from hardrank.reports.words import attack_name, listed

__all__ = ["said", "verdict"]


def verdict(read: Poisoning) -> Html:
    """The box at the head of the page."""
    heading = tag("h2", _headline(read), class_="status", id="verdict-title")
    sentences = [tag("p", sentence) for sentence in said(read)]
    return tag("section", heading, sentences, class_="verdict warn", id="verdict",
               aria_labelledby="verdict-title")  # fmt: skip


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
    trials = [g.trial for g in read.of(subject=f.subject, audit=f.audit, metric=f.metric)]
    name = attack_name(f.trial, trials)
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
    return (
        f"Of what the strongest attack on each target {won}: "
        f"{listed(shown)}{f'; {left} more are below' if left > 0 else ''}."
    )


def _arm_said(read: Poisoning, arm: str) -> str:
    effects, prices, doubt = [], [], ""
    for subject in (s for s in read.subjects if s.partition("/")[2] == arm):
        rows = read.of(subject=subject, audit="worst-case", metric=f"defence_effect@{read.k}")
        known = [f.value for f in rows if f.value is not None]
        effects += [min(known)] if known else []
        doubt = doubt if all(f.reliable for f in rows) else ", marked unreliable"
        price = read.one(subject=subject, audit="utility", metric="price(ndcg@10)", group="all")
        prices += [price.value] if price and price.value is not None else []
    if not effects:
        return ""
    paid = f" (for {_span(prices)} of NDCG@10{doubt})" if prices else ""
    return f"{arm} {_span(effects)}{paid}"


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
    name = attack_name(best, means)
    beaten = attack_name(hard.trial, [f.trial for f in rows])
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
    most = max(abs(f.value or 0.0) for f in rows)
    return (
        f"NDCG@10 of real users moves by at most {percent(most)} under any attack: watching "
        "quality alone would not show the poison." if most < 0.05
        else f"NDCG@10 of real users moves by up to {percent(most)} under attack."
    )  # fmt: skip


def _doubted(read: Poisoning) -> str:
    bad = [f for f in read.findings if not f.reliable and f.audit != "gate"]
    if not bad:
        return ""
    return f"{len(bad)} of {len(read.findings)} figures are marked unreliable: see the checks."
