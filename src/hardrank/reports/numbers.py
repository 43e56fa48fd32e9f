"""How numbers are spelt: one rule per kind, the same on the page, in Markdown and on screen."""

import math
import re
from collections.abc import Callable, Sequence

__all__ = ["Spell", "axis", "brief", "count", "decimal", "interval", "metric_k", "percent", "plain"]
__all__ += ["relative", "signed"]

Spell = Callable[[float], str]

_MINUS = "\N{MINUS SIGN}"
_THIN = "\N{NARROW NO-BREAK SPACE}"


def plain(value: float, digits: int = 4) -> str:
    """`0.0596`; a real minus sign; `-0.0000` is `0.0000`."""
    if not math.isfinite(value):
        return "not finite"
    text = f"{abs(value):,.{digits}f}".replace(",", _THIN)
    negative = value < 0 and any(c not in "0.," + _THIN for c in text)
    return (_MINUS if negative else "") + text


def decimal(value: float) -> str:
    """Quality metrics in [0, 1]: four decimals."""
    return plain(value, 4)


def count(value: float) -> str:
    """Ranks, queries, words: no decimals from 100 up, one below."""
    return plain(value, 0 if abs(value) >= 99.95 or value == int(value) else 1)


def percent(value: float) -> str:
    """A share. Small ones keep two significant digits: `16.5 %`, `0.12 %`, `0.003 %`."""
    size = abs(value) * 100
    digits = 1 if size == 0 or size >= 1 else min(4, 1 - math.floor(math.log10(size)))
    text = plain(value * 100, digits)
    return f"{text}{_THIN}%"


def relative(value: float) -> str:
    """A relative change: one decimal whatever its size, so that columns line up."""
    return f"{plain(value * 100, 1)}{_THIN}%"


def signed(spell: Spell) -> Spell:
    """The same with a plus sign in front of gains."""

    def spelt(value: float) -> str:
        text = spell(value)
        moved = value > 0 and any(c in "123456789" for c in text)
        return f"+{text}" if moved else text

    return spelt


def brief(value: float, spell: Spell) -> str:
    """The same in two or three digits, for a label inside a chart."""
    text = spell(value)
    if text.endswith("%"):
        return f"{plain(value * 100, 0)}{_THIN}%" if abs(value) >= 0.0995 else text
    return plain(value, 3) if abs(value) < 1 and value != int(value) else count(value)


def axis(ticks: Sequence[float], spell: Spell) -> list[str]:
    """Tick labels with one number of decimals for all, the fewest that tell them apart;
    unit and sign as `spell` has them."""
    unit = f"{_THIN}%" if spell(0.5).endswith("%") else ""
    plus = spell(0.5).startswith("+")
    values = [t * 100 if unit else t for t in ticks]
    digits = next(d for d in range(9) if d == 8 or all(_exact(v, d) for v in values))
    texts = [plain(v, digits) + unit for v in values]
    return [f"+{t}" if plus and v > 0 else t for v, t in zip(values, texts, strict=True)]


def _exact(value: float, digits: int) -> bool:
    return abs(round(value, digits) - value) <= 1e-9


def interval(low: float | None, high: float | None, spell: Spell) -> str:
    """`[low, high]`, or nothing where there is no interval."""
    if low is None or high is None:
        return ""
    first, last = spell(low), spell(high)
    unit = f"{_THIN}%"
    if first.endswith(unit) and last.endswith(unit):
        return f"[{first.removesuffix(unit)}, {last}]"
    return f"[{first}, {last}]"


def metric_k(metric: str) -> tuple[str, str]:
    """`ndcg@10` -> (`ndcg`, `10`), `price(ndcg@10)` -> (`price`, `10`), `mrr` -> (`mrr`, ``)."""
    name = re.match(r"[^@(]*", metric)
    k = re.search(r"@(\d+)", metric)
    return (name[0] if name else ""), (k[1] if k else "")
