"""A victim's digest: who it is, and whether an attack left it as it was."""

from hardrank.files import digest_bytes
from hardrank.recommender import Recommender

__all__ = ["digest_victim"]


def digest_victim(victim: Recommender) -> str:
    """SHA-256 of everything learned and of the catalogue, as hex digits."""
    parts: list[bytes] = []
    for name, array in sorted(victim.arrays().items()):
        parts += [name.encode(), str(array.dtype).encode(), str(array.shape).encode()]
        parts.append(array.tobytes())
    return digest_bytes(*parts, victim.items.write_ndjson().encode())
