"""Events that the event guard holds until a person decides."""

import sqlalchemy as sa
from alembic import op

from hardrank.serve.migrations.columns import forward_only, name, number

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "held",
        sa.Column("id", number(), primary_key=True, autoincrement=True),
        sa.Column("event_id", name(), nullable=False, unique=True),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("item_id", name(), nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", name(), nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decision", sa.String(16)),
        sa.Column("decider", sa.Text),
        sa.Column("decided", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_held_user", "held", ["user_id", "decision"])
    op.create_index("ix_held_item", "held", ["item_id", "decision"])


def downgrade() -> None:
    forward_only()
