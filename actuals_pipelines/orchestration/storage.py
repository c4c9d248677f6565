"""Dagster's PostgreSQL storage, for range runs: connections are kept, and planned days are written together.

The stock storage opens a connection for each thing it writes: a login costs the server 4,096 rounds of SCRAM and a new
backend, several times what the event costs, and a range run writes thousands of events. And of what a run announces it
writes each asset and day by itself, though it is handed over as one batch; and each evaluation of a check in three
statements of its own.

What this rests on is private (`_engine`, `_store_asset_event`): pyproject pins the minor release, and the tests write
events through these classes.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast
from uuid import uuid4

import sqlalchemy as sa
from dagster import AssetCheckEvaluation, AssetExecutionContext, DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.events import DagsterEventBatchMetadata
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status
from dagster._core.storage.config import PostgresStorageConfig
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData, serialize_value
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import pg_url_from_config

KEPT, AT_MOST = 2, 24
"""Connections a process keeps, and has at once: the daemon's threads each write."""


class PooledPostgresStorage(DagsterPostgresStorage):
    """`storage.custom` of the home's dagster.yaml; takes what `storage.postgres` takes.

    One pool serves the three storages of a process, and every instance that Dagster makes in it (one a sensor's tick).
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        is_first = _kept_connections.cache_info().currsize == 0  # tables are looked for once a process
        super().__init__(postgres_url, should_autocreate_tables and is_first, inst_data)
        self._event_log_storage = BatchingEventLog(postgres_url, should_autocreate_tables=False)
        for part in (self._run_storage, self._event_log_storage, self._schedule_storage):
            part._engine = _kept_connections(postgres_url)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PooledPostgresStorage":
        """As Dagster's own, which names its own class."""
        return PooledPostgresStorage(
            postgres_url=pg_url_from_config(cast(PostgresStorageConfig, config_value)),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
        )


class BatchingEventLog(PostgresEventLogStorage):
    """Writes the planned days of a run in one statement, as the stock one does with days that are done."""

    supports_asset_checks = True  # the home's tables are made before anything starts; asked for each evaluation

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write a batch; what is neither a planned day nor a check's evaluation goes the stock way."""
        by_type = defaultdict(list)
        for each in events:
            by_type[each.dagster_event_type].append(each)
        if planned := by_type.pop(DagsterEventType.ASSET_MATERIALIZATION_PLANNED, None):
            self._store_planned(planned)
        if evaluated := by_type.pop(DagsterEventType.ASSET_CHECK_EVALUATION, None):
            self._store_evaluated(evaluated)
        if others := [each for same_type in by_type.values() for each in same_type]:
            super().store_event_batch(others)

    def _store_planned(self, events: Sequence[EventLogEntry]) -> None:
        """Each day is an event; of an asset's row only the last writing counts, so there is one an asset."""
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self._connect() as connection:
            ids = [int(row[0]) for row in connection.execute(statement)]
        last = {event.get_dagster_event().asset_key: (event, id_) for event, id_ in zip(events, ids, strict=True)}
        with self.index_transaction() as connection:
            for event, id_ in last.values():
                self._store_asset_event(connection, event, id_)

    def _store_evaluated(self, events: Sequence[EventLogEntry]) -> None:
        """Each evaluation fills the row that its run planned for it; where there is none, it goes the stock way."""
        statement = self.prepare_insert_event_batch(events).returning(SqlEventLogStorageTable.c.id)
        with self._connect() as connection:
            ids = [int(row[0]) for row in connection.execute(statement)]
        rows = [
            (
                one.asset_key.to_string(),
                one.check_name,
                one.partition,
                event.run_id,
                (Status.SUCCEEDED if one.passed else Status.FAILED).value,
                serialize_value(event),
                self._event_insert_timestamp(event),  # type: ignore[no-untyped-call]
                id_,
            )
            for event, id_ in zip(events, ids, strict=True)
            for one in (event.get_dagster_event().asset_check_evaluation_data,)
        ]
        done = sa.values(*_FILLED, name="done").data(rows)
        planned = AssetCheckExecutionsTable.c
        fill = (
            sa.update(AssetCheckExecutionsTable)
            .where(*(planned[name] == done.c[name] for name in ("asset_key", "check_name", "partition", "run_id")))
            .values({column.name: done.c[column.name] for column in _FILLED[4:]})
            .returning(planned.evaluation_event_storage_id)
        )
        with self.index_transaction() as connection:
            filled = {int(row[0]) for row in connection.execute(fill)}
        for event, id_ in zip(events, ids, strict=True):
            if id_ not in filled:
                self.store_asset_check_event(event, id_)


def log_evaluations(context: AssetExecutionContext, evaluations: Sequence[AssetCheckEvaluation]) -> None:
    """Log the evaluations of a range run's days as one batch: `log_event` would write each by itself."""
    step, batch = context.get_step_execution_context(), str(uuid4())
    for number, one in enumerate(evaluations, start=1):
        DagsterEvent.from_step(
            DagsterEventType.ASSET_CHECK_EVALUATION,
            step,
            one,
            f"{one.check_name} of {one.partition} {'passed' if one.passed else 'did not pass'}.",
            DagsterEventBatchMetadata(batch, is_end=number == len(evaluations)),
        )


_FILLED: tuple[sa.ColumnClause[Any], ...] = (
    *(sa.column(name, sa.Text) for name in ("asset_key", "check_name", "partition", "run_id")),
    *(sa.column(name, sa.Text) for name in ("execution_status", "evaluation_event")),
    sa.column("evaluation_event_timestamp", sa.DateTime),
    sa.column("evaluation_event_storage_id", sa.BigInteger),
)
"""Of a row in asset_check_executions: what finds it, and what an evaluation writes into it."""


@cache
def _kept_connections(url: str) -> sa.Engine:
    """One pool for a process. A connection that a restarted server cut is noticed before it is used."""
    return sa.create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=KEPT,
        max_overflow=AT_MOST - KEPT,
        pool_recycle=3600,
        pool_pre_ping=True,
        hide_parameters=True,
    )
