"""Column types as the first migrations wrote them; never to be changed."""

from sqlalchemy import BigInteger, Integer, String
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from hardrank.serve.errors import StoreError

__all__ = ["forward_only", "name", "number"]


def number() -> TypeEngine[int]:
    return BigInteger().with_variant(Integer(), "sqlite")


def name() -> TypeEngine[str]:
    return String(256).with_variant(postgresql.VARCHAR(256, collation="C"), "postgresql")


def forward_only() -> None:
    """Raises `StoreError`: dropping a table drops acknowledged events."""
    raise StoreError("schemas go forward only; to go back, restore a backup of before the upgrade")
