"""Alembic's entry: migrations run online, as the role that owns the schema."""

from alembic import context

import db.models  # noqa: F401 - fills the metadata
from db.session import make_engine
from db.types import Base

engine = make_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
