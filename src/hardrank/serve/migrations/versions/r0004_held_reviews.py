"""Reviews that the review guard holds until a person decides."""

import sqlalchemy as sa
from alembic import op

from hardrank.serve.migrations.columns import forward_only, name, number

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "held_reviews",
        sa.Column("id", number(), primary_key=True, autoincrement=True),
        sa.Column("review_id", name(), nullable=False, unique=True),
        sa.Column("user_id", name(), nullable=False),
        sa.Column("item_id", name(), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("rating", sa.Double),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("decision", sa.String(16)),
        sa.Column("decider", sa.Text),
        sa.Column("decided", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_held_reviews_user_id", "held_reviews", ["user_id"])
    op.create_index("ix_held_reviews_decision", "held_reviews", ["decision"])


def downgrade() -> None:
    forward_only()
