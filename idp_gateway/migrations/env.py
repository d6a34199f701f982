"""What Alembic runs: on the connection it was given, inside that connection's transaction."""

from alembic import context
from sqlmodel import SQLModel

import idp_gateway.tables
import idp_gateway.tables_of_cas
import idp_gateway.tables_of_lists
import idp_gateway.tables_of_requests  # noqa: F401 - registers the models that "autogenerate" compares with

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
    transaction_per_migration=False,
)
context.run_migrations()
