"""Keys that lie side by side on a QWERTY keyboard."""

__all__ = ["NEIGHBOURS"]

_ROWS = (("1234567890", 0.0), ("qwertyuiop", 0.5), ("asdfghjkl", 0.75), ("zxcvbnm", 1.25))
"""Keys of each row and how far the row is shifted, in widths of a key (ISO/IEC 9995-2)."""
_REACH = 0.8
"""Keys of neighbouring rows whose middles are nearer than this, in widths, touch."""


def _neighbours() -> dict[str, str]:
    at = {
        key: (row, column + shift)
        for row, (keys, shift) in enumerate(_ROWS)
        for column, key in enumerate(keys)
    }
    found = {}
    for key, (row, x) in at.items():
        near = [
            other
            for other, (r, o) in at.items()
            if (r == row and abs(o - x) == 1) or (abs(r - row) == 1 and abs(o - x) < _REACH)
        ]
        found[key] = "".join(sorted(near, key=lambda o: (at[o][0] != row, o)))
    upper = {k.upper(): v.upper() for k, v in found.items() if k.isalpha()}
    return {**found, **upper}


NEIGHBOURS: dict[str, str] = _neighbours()
"""Key -> the keys that touch it, those of its own row first; upper case among upper case."""
