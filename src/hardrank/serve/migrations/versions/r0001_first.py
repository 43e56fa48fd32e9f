"""Events, items with versions, quarantine, audit log, keys."""

import sqlalchemy as sa
from alembic import op

from hardrank.serve.migrations.columns import forward_only, name, number

revision = "0001"
down_revision = None


def upgrade() -> None:
    _events()
    _items()
    _quarantine()
    _people()


def downgrade() -> None:
    forward_only()


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("sequence", number(), primary_key=True, autoincrement=True),
        sa.Column("event_id", name(), nullable=False, unique=True),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("item_id", name(), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_item_id", "events", ["item_id"])
    op.create_index("ix_events_user", "events", ["user_id", "time"])


def _items() -> None:
    op.create_table(
        "items",
        sa.Column("item_id", name(), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("live", sa.Integer),
        sa.Column("waiting", sa.Integer),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_items_state", "items", ["state"])
    op.create_table(
        "versions",
        sa.Column("item_id", name(), sa.ForeignKey("items.item_id"), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("guard", sa.Text, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("written", sa.BigInteger, nullable=False),
    )


def _quarantine() -> None:
    op.create_table(
        "quarantine",
        sa.Column("id", number(), primary_key=True, autoincrement=True),
        sa.Column("item_id", name(), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("before", sa.Integer),
        sa.Column("decision", sa.String(16)),
        sa.Column("decider", sa.Text),
        sa.Column("decided", sa.BigInteger),
        sa.ForeignKeyConstraint(["item_id", "version"], ["versions.item_id", "versions.version"]),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_decision", "quarantine", ["decision"])
    op.create_index("ix_quarantine_version", "quarantine", ["item_id", "version"])


def _people() -> None:
    op.create_table(
        "audit",
        sa.Column("id", number(), primary_key=True, autoincrement=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("quota", sa.BigInteger),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("revoked", sa.BigInteger),
    )
