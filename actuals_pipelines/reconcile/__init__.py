"""The matching engine: rows in, groups, statuses, differences and proofs out. `MATCHING.md` is its definition.

Pure: Arrow tables in and out, DuckDB in memory between them; no file, no clock, no database, no Dagster.
`solve` reconciles a set of rows at once, `close` carries a state from day to day, `figures` sums either up.
"""
