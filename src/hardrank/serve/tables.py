"""The tables. What made them is in `migrations/`; a test holds the two to each other."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

__all__ = [
    "audit",
    "cached",
    "events",
    "held",
    "held_reviews",
    "items",
    "keys",
    "metadata",
    "quarantine",
    "reviews",
    "settings",
    "tombstones",
    "usage",
    "versions",
]

metadata = MetaData()


def number() -> TypeEngine[int]:
    """A growing number: SQLite only counts in a column that is called INTEGER."""
    return BigInteger().with_variant(Integer(), "sqlite")


def name() -> TypeEngine[str]:
    """An id, compared byte by byte on both databases."""
    return String(256).with_variant(postgresql.VARCHAR(256, collation="C"), "postgresql")


events = Table(
    "events",
    metadata,
    Column("sequence", number(), primary_key=True, autoincrement=True),
    Column("event_id", name(), nullable=False, unique=True),
    Column("user_id", name(), nullable=False),
    Column("item_id", name(), nullable=False, index=True),
    Column("time", BigInteger, nullable=False),
    Column("kind", name(), nullable=False),
    Column("weight", Double, nullable=False),
    Column("received", BigInteger, nullable=False),
    Index("ix_events_user", "user_id", "time"),
    sqlite_autoincrement=True,  # a number that an erasure freed never comes back
)

held = Table(
    "held",
    metadata,
    Column("id", number(), primary_key=True, autoincrement=True),
    Column("event_id", name(), nullable=False, unique=True),
    Column("user_id", name(), nullable=False),
    Column("item_id", name(), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("kind", name(), nullable=False),
    Column("weight", Double, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decision", String(16)),
    Column("decider", Text),
    Column("decided", BigInteger),
    Index("ix_held_user", "user_id", "decision"),
    Index("ix_held_item", "item_id", "decision"),
    sqlite_autoincrement=True,
)
"""Events that wait for a person, or that one refused: their ids stay known. Those that one
admitted have moved to `events`."""

reviews = Table(
    "reviews",
    metadata,
    Column("sequence", number(), primary_key=True, autoincrement=True),
    Column("review_id", name(), nullable=False, unique=True),
    Column("user_id", name(), nullable=False, index=True),
    Column("item_id", name(), nullable=False, index=True),
    Column("text", Text, nullable=False),
    Column("rating", Double),
    Column("time", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

held_reviews = Table(
    "held_reviews",
    metadata,
    Column("id", number(), primary_key=True, autoincrement=True),
    Column("review_id", name(), nullable=False, unique=True),
    Column("user_id", name(), nullable=False, index=True),
    Column("item_id", name(), nullable=False),
    Column("text", Text, nullable=False),
    Column("rating", Double),
    Column("time", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("decision", String(16), index=True),
    Column("decider", Text),
    Column("decided", BigInteger),
    sqlite_autoincrement=True,
)
"""As `held`, of reviews."""

cached = Table(
    "cached",
    metadata,
    Column("user_id", name(), primary_key=True),
    Column("name", name(), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("updated", BigInteger, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("item_id", name(), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("live", Integer),
    Column("waiting", Integer),
    Column("latest", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("updated", BigInteger, nullable=False),
    Column("change", BigInteger, nullable=False, server_default=text("0"), index=True),
)
"""`change` is a new number, above all others, with every change of the item."""

versions = Table(
    "versions",
    metadata,
    Column("item_id", name(), ForeignKey("items.item_id"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("asked", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("guard", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("written", BigInteger, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", number(), primary_key=True, autoincrement=True),
    Column("item_id", name(), nullable=False),
    Column("version", Integer, nullable=False),
    Column("before", Integer),
    Column("spans", Text, nullable=False, server_default="[]"),
    Column("decision", String(16), index=True),
    Column("decider", Text),
    Column("decided", BigInteger),
    ForeignKeyConstraint(["item_id", "version"], ["versions.item_id", "versions.version"]),
    Index("ix_quarantine_version", "item_id", "version"),
    sqlite_autoincrement=True,
)

audit = Table(
    "audit",
    metadata,
    Column("id", number(), primary_key=True, autoincrement=True),
    Column("time", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_autoincrement=True,
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("quota", BigInteger),
    Column("digest", String(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("revoked", BigInteger),
)

usage = Table(
    "usage",
    metadata,
    Column("key_id", String(16), ForeignKey("keys.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("used", BigInteger, nullable=False),
)

tombstones = Table(
    "tombstones",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("erased", BigInteger, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
