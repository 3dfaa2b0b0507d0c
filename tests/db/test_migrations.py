import warnings

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SAWarning

from core.settings import Settings
from db.migrate import MIGRATIONS
from db.models import Staff
from db.session import make_engine


def test_the_models_are_what_the_migrations_made(installation: Settings, owner_dsn: str):
    engine = make_engine(owner_dsn)
    with engine.connect() as connection:
        partitions = set(connection.scalars(text("SELECT inhrelid::regclass::text FROM pg_inherits")))
        # What a partition has, its table has; expressions come back from PostgreSQL in other words, and collations
        # are not read back at all.
        reworded = set(
            connection.scalars(
                text(
                    "SELECT indexrelid::regclass::text FROM pg_index"
                    " WHERE indexprs IS NOT NULL OR indpred IS NOT NULL OR pg_get_indexdef(indexrelid) LIKE '%COLLATE%'"
                )
            )
        )

        def compared(_object: object, name: str | None, kind: str, _reflected: bool, _to: object) -> bool:
            return not (kind == "table" and name in partitions) and not (kind == "index" and name in reworded)

        context = MigrationContext.configure(
            connection, opts={"include_object": compared, "compare_type": True, "compare_server_default": False}
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Did not recognize type 'xid8'", SAWarning)
            warnings.filterwarnings("ignore", "Expression .* detected to include an operator clause", UserWarning)
            assert compare_metadata(context, Staff.metadata) == []
    engine.dispose()


def test_the_migrations_are_one_line():
    assert len(ScriptDirectory(str(MIGRATIONS)).get_heads()) == 1
