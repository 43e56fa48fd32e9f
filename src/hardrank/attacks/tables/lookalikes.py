"""Characters of a plain keyboard that pass for another at a glance: leet and misreadings."""

__all__ = ["LEET", "MISREAD"]

LEET: dict[str, str] = {
    "a": "@4", "b": "8", "c": "(", "e": "3", "g": "9", "i": "1!", "l": "1|", "o": "0",
    "q": "9", "s": "$5", "t": "7+", "z": "2",
    "A": "4", "B": "8", "E": "3", "G": "6", "I": "1l", "L": "1", "O": "0", "S": "$5", "T": "7",
    "Z": "2", "0": "oO", "1": "lI", "2": "z", "3": "E", "4": "A", "5": "S", "6": "G", "7": "T",
    "8": "B", "9": "g",
}  # fmt: skip
"""Character -> those that look like it, the nearest first. The kind of substitution that
TextBugger (Li et al., NDSS 2019, arXiv:1812.05271, section III) calls Sub-C."""

MISREAD: dict[str, tuple[str, ...]] = {
    "a": ("o",), "b": ("h", "6"), "c": ("e", "o"), "d": ("cl",), "e": ("c", "o"), "f": ("t",),
    "g": ("q", "9"), "h": ("b", "li"), "i": ("l", "1", "j"), "j": ("i",), "k": ("lc",),
    "l": ("1", "I", "i"), "m": ("rn", "nn"), "n": ("ri", "h"), "o": ("0", "c"), "p": ("n",),
    "q": ("g",), "r": ("n",), "s": ("5",), "t": ("f",), "u": ("ii", "v"), "v": ("y", "u"),
    "w": ("vv",), "x": ("z",), "y": ("v",), "z": ("2",),
    "A": ("4",), "B": ("8", "R"), "C": ("G",), "D": ("O", "0"), "E": ("F",), "F": ("P",),
    "G": ("6", "C"), "H": ("N",), "I": ("l", "1"), "J": ("I",), "K": ("X",), "L": ("I",),
    "M": ("N",), "N": ("M",), "O": ("0", "Q"), "P": ("F",), "Q": ("O",), "R": ("B",),
    "S": ("5", "8"), "T": ("I",), "U": ("V",), "V": ("U",), "W": ("VV",), "X": ("K",),
    "Y": ("V",), "Z": ("2",),
    "0": ("O", "o"), "1": ("l", "I"), "2": ("Z",), "3": ("8",), "4": ("A",), "5": ("S",),
    "6": ("b", "G"), "7": ("1",), "8": ("B", "3"), "9": ("g",),
    ".": (",",), ",": (".",), ":": (";",), ";": (":",), "-": ("~",), "'": ("`",),
}  # fmt: skip
"""Character -> what optical character recognition takes it for."""
