"""Unicode letters that look like Latin ones and are other characters to a machine.

Cyrillic, Greek and mathematical twins have the same skeleton as their Latin letter in UTS 39's
table (https://www.unicode.org/Public/security/latest/confusables.txt), which is far longer:
listed here are single characters of scripts that every system has a font for. Fullwidth
twins are the compatibility forms U+FF01 to U+FF5E: wider, yet read without a thought.
"""

from typing import Literal

__all__ = ["READ_AS", "SCRIPTS", "Script", "alike"]

Script = Literal["cyrillic", "greek", "fullwidth", "mathematical"]

_CYRILLIC = dict(
    zip(
        "abcdehijlopqrsvwxyABCEGHIJKMOPSTX",
        "\u0430\u042c\u0441\u0501\u0435\u04bb\u0456\u0458\u04c0\u043e\u0440\u051b\u0433\u0455"
        "\u0475\u051d\u0445\u0443\u0410\u0412\u0421\u0415\u050c\u041d\u0406\u0408\u041a\u041c"
        "\u041e\u0420\u0405\u0422\u0425",
        strict=True,
    )
)
_GREEK = dict(
    zip(
        "acijopuvyABEHIKMNOPTXYZ",
        "\u03b1\u03f2\u03b9\u03f3\u03bf\u03c1\u03c5\u03bd\u03b3\u0391\u0392\u0395\u0397\u0399"
        "\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a7\u03a5\u0396",
        strict=True,
    )
)
_PRINTED = [chr(code) for code in range(0x21, 0x7F)]
_FULLWIDTH = {c: chr(ord(c) + 0xFEE0) for c in _PRINTED}
_MATHEMATICAL = {  # sans-serif: U+1D5A0 and after, digits at U+1D7E2
    c: chr(base + ord(c) - ord(first))
    for first, last, base in (("A", "Z", 0x1D5A0), ("a", "z", 0x1D5BA), ("0", "9", 0x1D7E2))
    for c in map(chr, range(ord(first), ord(last) + 1))
}
SCRIPTS: dict[Script, dict[str, str]] = {
    "cyrillic": _CYRILLIC,
    "greek": _GREEK,
    "fullwidth": _FULLWIDTH,
    "mathematical": _MATHEMATICAL,
}
"""Script -> Latin character -> its twin. Fullwidth and mathematical twins become the Latin
character again under NFKC; Cyrillic and Greek ones do not."""

_OTHERS = {
    "a": "\u0251", "b": "\u13cf\u0184", "f": "\u0192", "g": "\u0261\u0581", "h": "\u0570\u13c2",
    "i": "\u13a5", "j": "\u0575", "n": "\u0578", "o": "\u0585\u03c3\u2c9f", "q": "\u0566",
    "u": "\u057d", "y": "\u04af", "A": "\u13aa", "B": "\u13f4", "C": "\u13df\u2ca4", "D": "\u13a0",
    "E": "\u13ac", "G": "\u13c0", "H": "\u13bb", "J": "\u13ab", "K": "\u13e6", "L": "\u13de\u053c",
    "M": "\u13b7", "O": "\u0555\u2c9e", "P": "\u13e2", "R": "\u13a1", "S": "\u13da", "T": "\u13a2",
    "U": "\u054d", "V": "\u13d9", "W": "\u13b3", "Y": "\u04ae", "Z": "\u13c3",
}  # fmt: skip
"""Latin letter -> Armenian, Cherokee, Coptic and further Cyrillic and Greek twins of UTS 39, and
IPA letters."""
_SMALL_CAPITALS = dict(
    zip(
        "abcdefghijklmnoprstuvwyz",
        "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274"
        "\u1d0f\u1d18\u0280\ua731\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22",
        strict=True,
    )
)
READ_AS: dict[str, str] = {
    **{twin: letter for letter, twins in _OTHERS.items() for twin in twins},
    **{twin: letter for letter, twin in _SMALL_CAPITALS.items()},
    **{twin: letter for letter, twin in _GREEK.items()},
    **{twin: letter for letter, twin in _CYRILLIC.items()},
}
"""Twin -> the Latin letter that a reader takes it for; more than `SCRIPTS` offers to write."""


def alike(character: str, scripts: tuple[Script, ...]) -> tuple[str, ...]:
    """The twins of a character in these scripts, in their order; none for most."""
    found = (SCRIPTS[script].get(character) for script in scripts)
    return tuple(twin for twin in found if twin)
