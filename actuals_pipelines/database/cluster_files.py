"""The embedded server's own configuration: what it logs (nothing of customers), who may enter (roles of the database).

Both files are written anew at every start, so that an older cluster gets the newest rules.
"""

from __future__ import annotations

from pathlib import Path

SUPERUSER = "postgres"

_SETTINGS = """\
# Written by actuals at every start; changes here are lost.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 200
superuser_reserved_connections = 5
shared_buffers = '128MB'
max_wal_size = '512MB'
wal_compression = on
max_parallel_workers_per_gather = 0  # small queries; containers have 64 MB of shared memory for parallel ones
timezone = 'UTC'
log_timezone = 'UTC'
password_encryption = 'scram-sha-256'
fsync = on
synchronous_commit = on
full_page_writes = on
# No statement, parameter or error text: they carry values. `log` keeps out every ERROR, whose text quotes its input;
# FATAL (who was refused), PANIC and the server's own course remain.
log_min_messages = 'log'
log_min_error_statement = 'panic'
log_error_verbosity = 'terse'
log_statement = 'none'
log_duration = off
log_min_duration_statement = -1
log_min_duration_sample = -1
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_lock_waits = off
log_temp_files = -1
log_autovacuum_min_duration = -1
log_checkpoints = off
log_replication_commands = off
debug_print_parse = off
debug_print_rewritten = off
debug_print_plan = off
"""

# `samerole`: a role enters the database of its own name and those whose group it belongs to: no other, whatever
# CONNECT says. The superuser comes in by the first line alone, over the socket; the second is needed because a
# database has its name.
_ENTRANCES = f"""\
# Written by actuals at every start; changes here are lost.
# type  database  user         address       method
local   all       {SUPERUSER}                   scram-sha-256
host    all       {SUPERUSER}     all           reject
local   samerole  all                        scram-sha-256
host    samerole  all          127.0.0.1/32  scram-sha-256
local   all       all                        reject
host    all       all          all           reject
"""


def write_cluster_files(data: Path, port: int, socket_folder: Path) -> None:
    """Write `postgresql.conf` and `pg_hba.conf` into the data folder; nothing else there is read at start."""
    settings = _SETTINGS.format(port=port, socket_folder=str(socket_folder).replace("'", "''"))
    (data / "postgresql.conf").write_text(settings)
    (data / "pg_hba.conf").write_text(_ENTRANCES)
    # `alter system` of some earlier superuser session must not win over what stands above.
    (data / "postgresql.auto.conf").write_text("")
