"""Hold a reconciliation's results against the truth about the injected defects: found, missed, false alarms."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from actuals_pipelines.engine import connect
from actuals_pipelines.operations.demo_data.defects import KIND_OF_LABEL

SCORES = pa.schema(
    [
        pa.field("package", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("injected", pa.int64(), nullable=False),
        pa.field("found", pa.int64(), nullable=False),
        pa.field("false_alarms", pa.int64(), nullable=False),
    ]
)
"""Per package and kind. Found: every row of the defect has the status, reason, category and difference that are due.
False alarm: an open group that holds no row of any defect; its kind is what the result calls it."""

_TOLD = """
CREATE VIEW told AS
SELECT truth.*, r.group_id, r.status, r.reason, r.category, r.balance_difference AS difference_said,
    coalesce(r.status = expected_status
        AND (r.balance_difference IS NULL OR r.balance_difference = truth.balance_difference)
        AND (expected_category IS NULL OR r.category = expected_category)
        AND (len(expected_reasons) = 0 OR coalesce(list_contains(expected_reasons, r.reason), false)), false)
        AS is_found
FROM truth LEFT JOIN results r ON r.side = truth.side AND r.source = truth.source AND r.row_id = truth.row_id
"""
_SCORES = """
WITH mine AS (SELECT * FROM told WHERE package = $package),
defects AS (SELECT defect_id, kind, bool_and(is_found) AS is_found FROM mine GROUP BY ALL),
known AS (SELECT DISTINCT group_id FROM mine WHERE group_id IS NOT NULL),
alarms AS (
    SELECT coalesce(label.kind, results.category, results.reason, results.status) AS kind, results.group_id
    FROM results
    LEFT JOIN labels label ON label.label = coalesce(results.category, results.reason)
    LEFT JOIN known USING (group_id)
    LEFT JOIN truth ON package = $package AND truth.side = results.side AND truth.source = results.source
        AND truth.row_id = results.row_id
    WHERE results.status IN ('unmatched', 'explained', 'not_processed') AND known.group_id IS NULL
        AND truth.row_id IS NULL
)
SELECT $package AS package, kind, coalesce(any_value(injected), 0)::BIGINT AS injected,
    coalesce(any_value(found), 0)::BIGINT AS found, coalesce(any_value(false_alarms), 0)::BIGINT AS false_alarms
FROM (SELECT kind, count(*) AS injected, count(*) FILTER (is_found) AS found, NULL AS false_alarms
      FROM defects GROUP BY kind
      UNION ALL
      -- A row without a group stands for itself.
      SELECT kind, NULL, NULL, count(DISTINCT group_id) + count(*) FILTER (group_id IS NULL) FROM alarms GROUP BY kind)
GROUP BY kind ORDER BY kind
"""
_MISSED = """
SELECT defect_id, kind, day, side, source, row_id, expected_status, expected_reasons, expected_category,
    balance_difference, status, reason, category, difference_said
FROM told WHERE package = $package AND NOT is_found ORDER BY kind, defect_id, side
"""


def compare(truth: pa.Table, results: pa.Table, package: str) -> pa.Table:
    """Return the scores of one package, schema `SCORES`, sorted by kind.

    Args:
        truth: schema `defects.TRUTH`; may hold other packages too.
        results: schema `tables.RESULTS` of one close of `package`, with every day taken in.
    """
    with _tables(truth, results) as connection:
        return connection.sql(_SCORES, params={"package": package}).to_arrow_table().cast(SCORES)


def missed(truth: pa.Table, results: pa.Table, package: str) -> pa.Table:
    """Return the rows of defects whose result is not what is due, with what was due and what was said."""
    with _tables(truth, results) as connection:
        return connection.sql(_MISSED, params={"package": package}).to_arrow_table()


def _tables(truth: pa.Table, results: pa.Table) -> duckdb.DuckDBPyConnection:
    connection = connect()
    connection.register("truth", truth)
    connection.register("results", results)
    labels = {"label": list(KIND_OF_LABEL), "kind": list(KIND_OF_LABEL.values())}
    connection.register("labels", pa.table(labels))
    connection.execute(_TOLD)
    return connection
