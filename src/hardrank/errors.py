"""Everything Hardrank raises on purpose.

    HardrankError
    ├── DataError          a file or table is wrong; names file, line, field and remedy
    │   ├── SchemaError    a column is missing or has the wrong type
    │   └── LeakError      a split lets the future or the target into training
    ├── ConfigError        an experiment file is wrong; lists every mistake at once
    ├── MissingExtra       an optional dependency is not installed
    ├── BundleError        a bundle is incomplete, altered or of an unknown format
    ├── Unsupported        this model cannot be asked that (a site, a goal, a knowledge)
    ├── Diverged           training met a number that is not finite
    ├── FoulPlay           an attack left its budget or looked where it may not
    └── VictimError        somebody else's recommender did not answer, or not as agreed

`HardrankError` is for users and speaks to the person who can mend it; a plain
`AssertionError` is a bug of ours.
"""

from pathlib import Path

__all__ = [
    "BundleError",
    "ConfigError",
    "DataError",
    "Diverged",
    "FoulPlay",
    "HardrankError",
    "LeakError",
    "MissingExtra",
    "SchemaError",
    "Unsupported",
    "VictimError",
]


class HardrankError(Exception):
    """Base of all errors meant for users. `exit_code` is what the command line returns."""

    exit_code = 1


class DataError(HardrankError):
    """A data file or table is wrong: `path, line N: what; how to mend it`."""

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        field: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.path, self.line, self.field, self.remedy = path, line, field, remedy
        where = ", ".join(
            part
            for part in (
                str(path) if path else "",
                f"line {line}" if line else "",
                f"field '{field}'" if field else "",
            )
            if part
        )
        text = f"{where}: {message}" if where else message
        super().__init__(f"{text}; {remedy}" if remedy else text)


class SchemaError(DataError):
    """A column is missing or cannot be read as its type."""


class LeakError(DataError):
    """A split lets the future, or a held-out target, into training."""


class ConfigError(HardrankError):
    """An experiment file is wrong. `mistakes` holds one line for each, with its path."""

    exit_code = 2

    def __init__(self, source: str, mistakes: list[str]) -> None:
        self.source, self.mistakes = source, mistakes
        super().__init__(f"{source}:\n" + "\n".join(f"  {m}" for m in mistakes))


class MissingExtra(HardrankError):
    """An optional dependency is missing; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; run: pip install 'hardrank[{extra}]'")


class BundleError(HardrankError):
    """A bundle is incomplete, altered or of an unknown format."""


class Unsupported(HardrankError):
    """This model, attack or guard cannot be asked that."""


class Diverged(HardrankError):
    """A loss, a gradient or a weight stopped being finite: says where, and how to go on."""


class FoulPlay(HardrankError):
    """An attack broke the rules: its budget, its targets, or what it may see."""


class VictimError(HardrankError):
    """Somebody else's recommender did not answer, or not as the contract says."""

    exit_code = 4
