"""Unicode letters that look like Latin ones and are other characters to a machine.

Cyrillic, Greek and mathematical twins have the same skeleton as their Latin letter in UTS 39's
table (https://www.unicode.org/Public/security/latest/confusables.txt), which is far longer:
listed here are single characters of scripts that every system has a font for. Fullwidth
twins are the compatibility forms U+FF01 to U+FF5E: wider, yet read without a thought.
"""

from typing import Literal

__all__ = ["SCRIPTS", "Script", "alike"]

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


def alike(character: str, scripts: tuple[Script, ...]) -> tuple[str, ...]:
    """The twins of a character in these scripts, in their order; none for most."""
    found = (SCRIPTS[script].get(character) for script in scripts)
    return tuple(twin for twin in found if twin)
