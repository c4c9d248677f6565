"""Alembic, run by us: two trees of revisions, `tenant` and `control`, each with its own databases.

There is no alembic.ini: where to connect and as whom is decided by `provision`. A new revision is written by hand;
`test_migrations.py` fails while it does not make what `tables.py` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

Tree = Literal["tenant", "control"]

_FOLDER = Path(__file__).parent
_LOCK = 0x61637475616C73  # "actuals": one upgrade at a time in a database


def upgrade(engine: sa.Engine, tree: Tree, owner: str | None = None) -> None:
    """Bring a database to the newest revision of its tree, in one transaction; nothing to do if it is there.

    Args:
        owner: the role that shall own what is made; None is the engine's own role.
    """
    with engine.begin() as connection:
        upgrade_within(connection, tree, owner)


def one_upgrade_at_a_time(connection: sa.Connection) -> None:
    """Wait until no other process changes this database's schema or rights, until the transaction ends."""
    connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def upgrade_within(connection: sa.Connection, tree: Tree, owner: str | None = None) -> None:
    """`upgrade` in the caller's transaction."""
    one_upgrade_at_a_time(connection)
    if owner is not None:
        quoted = connection.dialect.identifier_preparer.quote_identifier(owner)
        connection.exec_driver_sql(f"set local role {quoted}")
    if revision(connection) == newest(tree):  # the common case, without loading Alembic's environment
        return
    config = _config(tree)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest(tree: Tree) -> str | None:
    """The newest revision that this version of the program knows."""
    return ScriptDirectory.from_config(_config(tree)).get_current_head()


def revision(connection: sa.Connection) -> str | None:
    """The revision that a database is at; None if nothing was ever made in it."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(tree: Tree) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(_FOLDER / tree).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")  # folders may have any other character in their names
    config.attributes["tree"] = tree
    return config
