"""Which arm of a run is what: any name that is not one of these is a hardened arm's."""

__all__ = ["UNHARDENED", "control_of", "is_hardened"]

UNHARDENED = ("base", "hidden", "control")
"""As trained; trained with some items hidden; trained on without an adversary."""


def is_hardened(subject: str) -> bool:
    """subject: `<label>/<arm>`, or the arm's name alone."""
    return subject.rpartition("/")[2] not in UNHARDENED


def control_of(subject: str) -> str:
    """The arm that a hardened one is compared with."""
    return f"{subject.rpartition('/')[0]}/control"
