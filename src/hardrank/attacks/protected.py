"""Words that an honest rewriting leaves as they are: numbers, units, prices, doses, brands."""

import re
from functools import lru_cache

from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop
from hardrank.language.forms import shell

__all__ = ["is_protected"]

_NUMERIC = re.compile(r"\d|[\u2160-\u217f\u00bc-\u00be\u2150-\u215e%\u2030$\u20ac\u00a3\u00a5]")
"""A digit (of any script), a Roman numeral sign, a fraction, a percent or currency sign."""
_UNIT = re.compile(
    "(?:m|c|d)?l|lit(?:er|re)s?|fl|fluid|floz|oz|ounces?|gal(?:lons?)?|pts?|pints?|qts?|quarts?|"
    "m?c?g|\u00b5g|gr|(?:kilo)?grams?|kg|lbs?|pounds?|iu|spf|[mck]?m|(?:centi|milli)?met(?:er|re)s?|"
    "in|inch(?:es)?|ft|foot|feet|yd|yards?|mil|k?w|watts?|v|volts?|a|amps?|m?ah|[kmg]?hz|[kmgt]b|"
    "psi|btu|c|f|k|x|ct|counts?|pcs?|pieces?|pk|packs?|sets?|pairs?|dozen|tablets?|capsules?|"
    "servings?|usd|eur|gbp|dollars?|euros?|percent|"
    "[\u514b\u6beb\u5347\u7c73\u5398\u5143\u7247\u4e2a\u53ea\u74f6\u888b\u76d2]"
)
"""Beside a number only: alone, most of them are words like any other."""


def is_protected(draft: Draft, slot: int, shop: Shop) -> bool:
    """Whether the slot's original word is a number (500, 7th, $3.50, 16oz, SPF30), stands beside
    one as its unit (12 Fluid Ounce, Pack of 6), or belongs to a brand name of the catalogue.

    The rule reads the original text alone, so that it says the same at every step.
    """
    return slot in _protected(draft.original, shop.brands)


@lru_cache(maxsize=4096)
def _protected(words: tuple[str, ...], brands: frozenset[tuple[str, ...]]) -> frozenset[int]:
    cores = tuple(shell(word)[1].lower() for word in words)
    numbers = {n for n, word in enumerate(words) if _NUMERIC.search(word)}
    return frozenset(numbers | _units(cores, numbers) | _named(cores, brands))


def _units(cores: tuple[str, ...], numbers: set[int]) -> set[int]:
    """Units in a row after a number (12 Fl. Oz), or right before one (SPF 30, Pack of 6)."""
    found: set[int] = set()
    for number in numbers:
        after = number + 1
        while after < len(cores) and _UNIT.fullmatch(cores[after].strip(".")):
            found.add(after)
            after += 1
        before = number - 1 - (number >= 2 and cores[number - 1] == "of")
        if before >= 0 and _UNIT.fullmatch(cores[before]):
            found |= set(range(before, number))
    return found


def _named(cores: tuple[str, ...], brands: frozenset[tuple[str, ...]]) -> set[int]:
    """Slots of whole brand names, wherever they stand."""
    longest = max(map(len, brands), default=0)
    found: set[int] = set()
    for start in range(len(cores)):
        for end in range(start + 1, min(start + longest, len(cores)) + 1):
            if cores[start:end] in brands:
                found |= set(range(start, end))
    return found
