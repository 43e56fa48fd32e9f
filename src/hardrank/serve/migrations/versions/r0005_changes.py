"""Items are numbered anew with every change, so that processes can follow each other."""

import sqlalchemy as sa
from alembic import op

from hardrank.serve.migrations.columns import forward_only

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    zero = sa.text("0")
    op.add_column("items", sa.Column("change", sa.BigInteger, nullable=False, server_default=zero))
    op.create_index("ix_items_change", "items", ["change"])


def downgrade() -> None:
    forward_only()
