"""Alembic runs this file: in the connection, and the transaction, that it was given."""

from alembic import context

from hardrank.serve.schema import TABLE

context.configure(connection=context.config.attributes["connection"], version_table=TABLE)
context.run_migrations()
