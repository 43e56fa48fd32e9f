"""Forms of English words: case, the marks around a word, and simple inflection."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

__all__ = ["Form", "inflect", "lemmas", "like", "shell"]

Form = Literal["base", "plural", "third", "ing", "ed"]
"""`plural` of nouns; `third` person, `ing` form and past participle (`ed`) of verbs."""

_DOUBLES = re.compile(r"[^aeiou]*(?:qu)?[aeiou][bdgklmnprtvz]")
"""Words of one syllable that double their last letter: stop, plan, quit."""
_STRESSED = re.compile(
    r"abet|abhor|admit|allot|annul|appal|befit|begin|commit|compel|concur|confer|control|defer"
    r"|deter|emit|enrol|equip|excel|expel|forget|format|impel|incur|infer|occur|omit|outfit"
    r"|outwit|overlap|patrol|permit|prefer|propel|rebel|rebut|recur|refer|regret|remit|repel"
    r"|submit|transfer|transmit|unplug|unwrap|unzip|upset"
)
"""Words of more syllables that double it because the last one is stressed."""


def _pairs(table: str) -> dict[str, str]:
    return dict(pair.split(":") for pair in table.split())


_PLURALS = _pairs(
    "calf:calves child:children deer:deer elf:elves fish:fish foot:feet goose:geese half:halves "
    "hoof:hooves knife:knives leaf:leaves life:lives loaf:loaves louse:lice man:men mouse:mice "
    "ox:oxen person:people scarf:scarves self:selves sheep:sheep shelf:shelves thief:thieves "
    "tooth:teeth wife:wives wolf:wolves woman:women echo:echoes hero:heroes potato:potatoes "
    "tomato:tomatoes quiz:quizzes series:series species:species"
)
_PARTICIPLES = _pairs(
    "arise:arisen bear:borne beat:beaten become:become begin:begun bend:bent bet:bet bind:bound "
    "bite:bitten bleed:bled blow:blown break:broken breed:bred bring:brought build:built "
    "burst:burst buy:bought cast:cast catch:caught choose:chosen cling:clung come:come cost:cost "
    "creep:crept cut:cut deal:dealt dig:dug do:done draw:drawn drink:drunk drive:driven eat:eaten "
    "fall:fallen feed:fed feel:felt fight:fought find:found fit:fitted flee:fled fling:flung "
    "fly:flown forbid:forbidden forget:forgotten forgive:forgiven freeze:frozen get:got give:given "
    "go:gone grind:ground grow:grown hang:hung have:had hear:heard hide:hidden hit:hit hold:held "
    "hurt:hurt keep:kept know:known lay:laid lead:led leave:left lend:lent let:let lie:lain "
    "lose:lost make:made mean:meant meet:met pay:paid put:put read:read ride:ridden ring:rung "
    "rise:risen run:run say:said see:seen seek:sought sell:sold send:sent set:set sew:sewn "
    "shake:shaken shed:shed shine:shone shoot:shot show:shown shrink:shrunk shut:shut sing:sung "
    "sink:sunk sit:sat sleep:slept slide:slid speak:spoken spend:spent spin:spun split:split "
    "spread:spread spring:sprung stand:stood steal:stolen stick:stuck sting:stung strike:struck "
    "string:strung swear:sworn sweep:swept swim:swum swing:swung take:taken teach:taught tear:torn "
    "tell:told think:thought throw:thrown understand:understood wake:woken wear:worn weave:woven "
    "weep:wept win:won wind:wound write:written"
)
_BASES = {
    **{done: [("ed", base)] for base, done in _PARTICIPLES.items() if done != base},
    **{many: [("plural", one)] for one, many in _PLURALS.items() if many != one},
}


def shell(word: str) -> tuple[str, str, str]:
    """Marks before, core, marks after: `"(Blue),"` -> `("(", "Blue", "),")`.

    The core runs from the first to the last letter, digit or combining mark; it is the
    whole word where there is none (a lone emoji).
    """
    inside = [i for i, c in enumerate(word) if unicodedata.category(c)[0] in "LNM"]
    if not inside:
        return "", word, ""
    start, end = inside[0], inside[-1] + 1
    return word[:start], word[start:end], word[end:]


def like(word: str, pattern: str) -> str:
    """`word` in the case of `pattern`: all capitals, a capital first, or as it is spelled."""
    if len(pattern) > 1 and pattern.isupper():
        return word.upper()
    if pattern[:1].isupper() and pattern[1:] == pattern[1:].lower():
        return word[:1].upper() + word[1:]
    return word


def inflect(word: str, form: Form) -> str:
    """The form of a base form, by rule, with the common irregular words from a table.

    Of several words a noun changes the last, a verb the first: `make up` -> `making up`.
    """
    if form == "base" or not word:
        return word
    first, blank, rest = word.partition(" ")
    if blank and form == "plural":
        before, blank, last = word.rpartition(" ")
        return before + blank + inflect(last, form)
    if blank:
        return inflect(first, form) + blank + rest
    return _RULES[form](word)


def lemmas(word: str) -> Iterator[tuple[str, Form]]:
    """Words that may be the base form of a lower-case `word`, and the form it then is.

    Spelling alone decides, so a base form may be no word at all: ask a dictionary.
    """
    for form, base in _BASES.get(word, ()):
        yield base, form  # type: ignore[misc]
    for form, endings in _ENDINGS.items():
        for ending, instead in endings:
            if not word.endswith(ending):
                continue
            stem = word[: len(word) - len(ending)]
            for base in (stem + instead, *_undoubled(stem, instead, form)):
                if len(base) > 1 and word in (inflect(base, form), _british(base, form)):
                    yield base, form


def _undoubled(stem: str, instead: str, form: Form) -> tuple[str, ...]:
    twice = form in ("ing", "ed") and not instead and len(stem) > 2 and stem[-1] == stem[-2]
    return (stem[:-1],) if twice else ()


def _british(base: str, form: Form) -> str | None:
    """`travelled`, `labelling`."""
    return base + "l" + form if form in ("ing", "ed") and base.endswith("el") else None


def _plural(word: str) -> str:
    return _PLURALS.get(word) or _third(word)


def _third(word: str) -> str:
    if re.search(r"(?:s|x|z|ch|sh)$", word) or word in ("go", "do"):
        return word + "es"
    return word[:-1] + "ies" if _after_consonant(word, "y") else word + "s"


def _ing(word: str) -> str:
    if word.endswith("ie"):
        return word[:-2] + "ying"
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")) and len(word) > 2:
        return word[:-1] + "ing"
    return _doubled(word) + "ing"


def _ed(word: str) -> str:
    if word in _PARTICIPLES:
        return _PARTICIPLES[word]
    if word.endswith("e"):
        return word + "d"
    return word[:-1] + "ied" if _after_consonant(word, "y") else _doubled(word) + "ed"


def _after_consonant(word: str, letter: str) -> bool:
    return word.endswith(letter) and len(word) > 1 and word[-2] not in "aeiou"


def _doubled(word: str) -> str:
    return word + word[-1] if _DOUBLES.fullmatch(word) or _STRESSED.fullmatch(word) else word


_RULES = {"plural": _plural, "third": _third, "ing": _ing, "ed": _ed}
_ENDINGS: dict[Form, tuple[tuple[str, str], ...]] = {
    "plural": (("s", ""), ("es", ""), ("ies", "y")),
    "third": (("s", ""), ("es", ""), ("ies", "y")),
    "ing": (("ing", ""), ("ing", "e"), ("ying", "ie")),
    "ed": (("ed", ""), ("ed", "e"), ("ied", "y")),
}
