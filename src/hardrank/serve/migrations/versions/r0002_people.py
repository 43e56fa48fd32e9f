"""Reviews, cached rows and erasure of users; quotas; settings; where guards saw something."""

import secrets

import sqlalchemy as sa
from alembic import op

from hardrank.serve.migrations.columns import forward_only, name, number

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    _users()
    op.create_table(
        "usage",
        sa.Column("key_id", sa.String(16), sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
    settings = op.create_table(
        "settings",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.bulk_insert(settings, [{"name": "salt", "value": secrets.token_hex(32)}])
    op.add_column("quarantine", sa.Column("spans", sa.Text, nullable=False, server_default="[]"))


def downgrade() -> None:
    forward_only()


def _users() -> None:
    op.create_table(
        "reviews",
        sa.Column("sequence", number(), primary_key=True, autoincrement=True),
        sa.Column("review_id", name(), nullable=False, unique=True),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("item_id", name(), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("rating", sa.Double),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_reviews_user_id", "reviews", ["user_id"])
    op.create_index("ix_reviews_item_id", "reviews", ["item_id"])
    op.create_table(
        "cached",
        sa.Column("user_id", name(), primary_key=True),
        sa.Column("name", name(), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("updated", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tombstones",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("erased", sa.BigInteger, nullable=False),
    )
