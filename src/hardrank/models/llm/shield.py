"""What stands between a seller's text and a prompt."""

import base64
import binascii
import codecs
import re
import unicodedata
from functools import lru_cache

from hardrank.types import Count, spec
from hardrank.wording import spans

__all__ = ["CLOSE", "OPEN", "Shield", "sanitise"]

OPEN, CLOSE = "«", "»"
"""Around each text where texts are delimited; never left inside one."""


@spec
class Shield:
    """How texts that others wrote enter a prompt. All of it is on unless turned off.

    Delimiting is spotlighting as of Hines et al., 2024, arXiv:2403.14720, section 3.1: the
    prompt says which characters enclose data, and that data gives no orders. Sanitising
    removes what reads like an order. Neither is a proof: a model may ignore delimiters, and
    a new wording passes the patterns. Only `reading = "alone"` of the ranker keeps a text
    from speaking about its neighbours at all.
    """

    delimit: bool = True
    """Enclose each text in « and », and say in the prompt that it is data."""
    sanitise: bool = True
    """Remove hidden characters, markup, and sentences that give orders; see `sanitise`."""
    words: Count | None = 40
    """Words of each text that are shown; None shows all."""

    def __call__(self, text: str) -> str:
        """One line, as the prompt shows it."""
        if self.sanitise:
            text = sanitise(text)
        if self.words is not None and len(found := spans(text)) > self.words:
            text = text[: found[self.words - 1][1]]
        if not self.delimit:
            return text
        line = " ".join(text.replace(OPEN, " ").replace(CLOSE, " ").split())
        return f"{OPEN}{line}{CLOSE}"


@lru_cache(maxsize=1 << 14)
def sanitise(text: str) -> str:
    """One line without hidden characters, markup and orders.

    A sentence is kept up to where it begins to give an order, in English or Chinese, plain,
    in base64, rot13 or leetspeak. What remains may be empty.
    """
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if _hidden(c) and c in "\t\n\r" else c for c in text)
    text = "".join(c for c in text if not _hidden(c))
    text = _MARKUP.sub(" ", text)
    text = " ".join(w for w in text.split() if not _carries_an_order(w))
    kept = (_up_to_an_order(sentence) for sentence in _SENTENCE.split(text))
    return " ".join("".join(kept).split())


def _hidden(letter: str) -> bool:
    """Control, format (zero width, direction, tags), private and unassigned characters."""
    return unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs", "Cn")


_SENTENCE = re.compile(r"(?<=[.!?;])(?=\s)|(?<=[。！？；|])")
"""Where one ends: 3.4 oz is none."""
_MARKUP = re.compile(
    r"<!--.*?-->|<\|[^|<>]{1,40}\|>|\[/?(?:INST|SYS\w*)\]|</?[A-Za-z][^<>]{0,80}>|```\w*|^#{1,6}\s"
    r"|[-=#*_~]{3,}",
    re.IGNORECASE,
)
_WISH = (
    r"(?:rank|place|put|list|sort|order|move|score|rate|recommend|return|output|show|name|pick"
    r"|choose|answer|begin|start)"
)
_TOP = (
    r"(?:first|1st|top|number (?:one|1)|#1|no\.? ?1|highest|above (?:all|every)"
    r"|before (?:all|any|every)|best match|maximum)"
)
_ORDER = re.compile(
    "|".join(
        (
            r"\b(?:ignore|disregard|forget|override|bypass|skip)\b.{0,40}"
            r"\b(?:instructions?|rules?|prompts?|above|previous|earlier|prior|lists?|criteria|history)\b",
            rf"\b{_WISH}\b.{{0,30}}\b(?:this|it|item|product|me|us|candidate|listing|always)\b"
            rf".{{0,40}}(?:\b|(?<=\s)){_TOP}\b",
            rf"\b(?:always|must|should|shall|has to|have to|need to|please|now)\b.{{0,30}}"
            rf"\b{_WISH}\w*\b.{{0,40}}(?:\b|(?<=\s)){_TOP}\b",
            rf"\b(?:this|it|item|product|candidate|listing)\b.{{0,30}}\b(?:is|be|as|belongs|goes|comes)\b"
            rf".{{0,20}}(?:\b|(?<=\s)){_TOP}\b",
            r"\b(?:system|assistant|developer|admin(?:istrator)?|operator|moderator)"
            r"(?: (?:message|prompt|note|override|notice))?\s*[:>]",
            r"\b(?:new|updated?|final|important|real) (?:instructions?|rules?|task|directive)\b",
            r"\b(?:end|beginning|start) of (?:the )?"
            r"(?:list|candidates?|data|input|prompt|document|catalogue)\b",
            r"\byou are (?:now\b|an? (?:ai|assistant|helpful|ranking|sales))",
            r"\b(?:pretend|act) (?:as|to be)\b|\b(?:respond|reply|answer) (?:only|with)\b",
            r"\bas an? (?:ai|assistant|language model|helpful)\b",
            r"\b(?:correct|expected|right|final|only) (?:answer|ranking|order|output|response)\b",
            r"\b(?:decode|decrypt|base64|rot13)\b",
            r"[\"'](?:role|content|rank(?:ing)?|order|score|position|relevance|priority|answer|instruction)"
            r"[\"']\s*:",
            r"(?:忽略|无视|忘记|忘掉|不要理会|不必理会).{0,16}(?:指令|指示|提示|规则|要求|以上|上述|之前|前面)",
            r"(?:排|放|列|置|推荐|评).{0,12}(?:第一|首位|最前|榜首|最上|最高)",
            r"(?:系统|管理员|助手|开发者)(?:消息|提示|通知|指令)?\s*[:：]",
            r"(?:你|您)(?:现在|必须|应该|务必|需要|要)",
            r"(?:务必|请始终|请总是|正确答案)",
            r"(?:列表|候选|名单).{0,4}(?:结束|到此)",
        )
    ),
    re.IGNORECASE,
)
_LEET = [str.maketrans("0134578@$", f"o{one}eastbas") for one in "il"]
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")


def _up_to_an_order(sentence: str) -> str:
    """Rot13 and leetspeak change letter for letter, so places agree."""
    leet = (sentence.translate(table) for table in _LEET)
    readings = (sentence, codecs.encode(sentence, "rot13"), *leet)
    starts = [found.start() for r in readings if (found := _ORDER.search(r))]
    return sentence[: min(starts)] if starts else sentence


def _carries_an_order(word: str) -> bool:
    """Whether a long token is base64 of readable text: no shop writes so."""
    found = _ENCODED.fullmatch(word.strip("\"'()[]{}.,:;"))
    if not found:
        return False
    token = found[0].rstrip("=").replace("-", "+").replace("_", "/")
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return False
    return text.isprintable() and " " in text
