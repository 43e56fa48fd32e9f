"""A victim's digest: who it is, and whether an attack left it as it was."""

from typing import Protocol, runtime_checkable

from hardrank.files import digest_bytes
from hardrank.recommender import Recommender

__all__ = ["Fingerprinted", "digest_victim"]


@runtime_checkable
class Fingerprinted(Protocol):
    """A victim whose weights are elsewhere: it says itself who it is."""

    def fingerprint(self) -> str:
        """Hex digits that differ where its answers or its catalogue do; cheap, as it is read
        before and after each match."""
        ...


def digest_victim(victim: Recommender) -> str:
    """SHA-256 of everything learned and of the catalogue, as hex digits; the victim's own
    `fingerprint` where it has one."""
    if isinstance(victim, Fingerprinted):
        return victim.fingerprint()
    parts: list[bytes] = []
    for name, array in sorted(victim.arrays().items()):
        parts += [name.encode(), str(array.dtype).encode(), str(array.shape).encode()]
        parts.append(array.tobytes())
    return digest_bytes(*parts, victim.items.write_ndjson().encode())
