"""The embedded PostgreSQL starts anywhere, comes back after a crash, and logs nothing of customers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from actuals_pipelines.database import binaries, embedded
from actuals_pipelines.database.embedded import EmbeddedPostgres
from actuals_pipelines.database.server import administrator
from actuals_pipelines_tests.conftest import RunningPostgres

IS_ROOT = os.geteuid() == 0
CANARY = "canary-DE89370400440532013000"


@pytest.fixture
def closed_folder(tmp_path: Path) -> Path:
    """A home's folder below a folder that only its owner may enter, with a path too long for a socket."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / ("long" * 20) / ("path" * 20)
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(closed_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(closed_folder, "a superuser's password")
    yield server
    server.stop()
    shutil.rmtree(closed_folder)


def one(server: EmbeddedPostgres, statement: str) -> object:
    engine = administrator(server.address.url("postgres", server.superuser, "a superuser's password"))
    with engine.connect() as connection:
        return connection.scalar(sa.text(statement))


def test_it_starts_below_a_closed_folder_and_opens_none(server: EmbeddedPostgres, closed_folder: Path) -> None:
    server.start()

    assert one(server, "select 1") == 1
    assert stat.S_IMODE(closed_folder.parent.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(closed_folder.stat().st_mode) & 0o077 in (0o055, 0)  # as it was made


def test_it_is_made_with_checksums_scram_and_a_sorting_that_no_system_update_changes(server: EmbeddedPostgres) -> None:
    server.start()

    assert one(server, "show data_checksums") == "on"
    assert one(server, "select left(rolpassword, 14) from pg_authid where rolname = 'postgres'") == "SCRAM-SHA-256$"
    assert (
        one(server, "select datlocprovider::text || datlocale from pg_database where datname = 'template1'")
        == "bC.UTF-8"
    )
    assert one(server, "select count(*) from pg_hba_file_rules where error is not null") == 0
    assert (
        one(server, "select count(*) from pg_hba_file_rules where auth_method not in ('scram-sha-256', 'reject')") == 0
    )
    assert [one(server, f"show {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3


def test_starting_and_stopping_twice_does_nothing_more(server: EmbeddedPostgres) -> None:
    assert not server.is_running
    server.stop()
    first = server.start()
    started = one(server, "select pg_postmaster_start_time()")

    assert server.start() == first
    assert one(server, "select pg_postmaster_start_time()") == started
    assert server.is_running
    server.stop()
    server.stop()
    assert not server.is_running
    assert first.socket_folder is not None
    assert not first.socket_folder.exists()


def test_it_listens_at_the_same_place_after_a_restart(server: EmbeddedPostgres) -> None:
    first = server.start()
    server.stop()

    assert server.start() == first


def test_a_port_that_was_taken_meanwhile_gives_another(server: EmbeddedPostgres) -> None:
    first = server.start()
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", first.port))
        other.listen()

        assert server.start().port != first.port
        assert one(server, "select 1") == 1


def test_what_an_interrupted_making_left_behind_is_made_anew(server: EmbeddedPostgres) -> None:
    (server.folder / "data.new" / "base").mkdir(parents=True)
    (server.folder / "data.new" / "PG_VERSION").write_text("18\n")

    server.start()

    assert one(server, "select 1") == 1
    assert not (server.folder / "data.new").exists()


def test_several_processes_may_start_it_at_once(closed_folder: Path) -> None:
    servers = [EmbeddedPostgres(closed_folder, "a superuser's password") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        addresses = list(threads.map(lambda server: server.start(), servers))

    assert len(set(addresses)) == 1
    servers[0].stop()
    assert not any(server.is_running for server in servers)
    shutil.rmtree(closed_folder)


def test_another_process_sees_it_running_and_stops_it(server: EmbeddedPostgres, closed_folder: Path) -> None:
    server.start()
    other = EmbeddedPostgres(closed_folder, "a superuser's password")

    assert other.is_running
    other.stop()

    assert not server.is_running


def test_it_comes_back_with_all_that_was_committed_after_its_process_was_killed(server: EmbeddedPostgres) -> None:
    server.start()
    engine = administrator(server.address.url("postgres", server.superuser, "a superuser's password"))
    with engine.begin() as connection:
        connection.execute(sa.text("create table kept as select 4711 as number"))
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    server._child.wait(timeout=10)  # type: ignore[union-attr]  # gone, its pid file stays
    assert (server.data / "postmaster.pid").exists()

    server.start()

    assert one(server, "select number from kept") == 4711


def test_a_stale_pid_that_now_belongs_to_another_process_does_not_stop_it(server: EmbeddedPostgres) -> None:
    server.initialise()
    (server.data / "postmaster.pid").write_text(f"{os.getppid()}\n{server.data}\n1\n1\n\n\n\nready\n")
    os.chown(server.data / "postmaster.pid", server.data.stat().st_uid, server.data.stat().st_gid)

    assert not server.is_running
    (server.data / "postmaster.pid").unlink()  # what an operator, or the next boot, would find
    server.start()
    assert one(server, "select 1") == 1


def test_the_server_gets_nothing_of_our_environment(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTUALS_KEK", CANARY)

    server.start()

    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    assert CANARY not in psutil.Process(pid).environ().values()


def test_the_password_is_in_no_file(server: EmbeddedPostgres, closed_folder: Path) -> None:
    server.start()

    assert [p for p in closed_folder.rglob("*") if p.is_file() and b"a superuser's password" in p.read_bytes()] == []


@pytest.mark.parametrize(
    "statement",
    [
        f"select '{CANARY}'::int",
        f'table "{CANARY}"',
        f"select '{CANARY}' from",
        f"do $$ begin raise warning '{CANARY}'; end $$",
        f"do $$ begin raise exception '{CANARY}'; end $$",
        f"do $$ begin raise log '{CANARY[:6]}'; end $$",
    ],
    ids=["value", "name", "syntax", "warning", "exception", "the log can be read"],
)
def test_no_statement_value_or_error_text_reaches_the_log(postgres: RunningPostgres, statement: str) -> None:
    """`raise log` is the neighbour that does reach it: it shows that this test reads the right file."""
    with postgres.admin.connect() as connection, contextlib.suppress(sa.exc.DBAPIError):
        connection.exec_driver_sql(statement)

    words = postgres.server.log_file.read_text()
    assert CANARY not in words
    if "raise log" in statement:
        assert CANARY[:6] in words


def test_a_bound_parameter_of_a_failing_statement_reaches_neither_log_nor_error(postgres: RunningPostgres) -> None:
    with postgres.admin.connect() as connection, pytest.raises(sa.exc.DBAPIError) as failed:
        connection.execute(sa.text("select 1 / length(:a)"), {"a": ""}).all()
    with postgres.admin.connect() as connection, pytest.raises(sa.exc.DBAPIError) as refused:
        connection.execute(sa.text("select 1 where :a = 1 / 0"), {"a": CANARY}).all()

    assert "parameters hidden" in str(failed.value)
    assert CANARY not in str(refused.value).split("[SQL", 1)[1]  # the server's own words are for the error wrapper
    assert CANARY not in postgres.server.log_file.read_text()


def test_log_and_record_are_readable_by_their_owner_alone(postgres: RunningPostgres) -> None:
    assert stat.S_IMODE(postgres.server.log_file.stat().st_mode) == 0o600
    assert postgres.address.socket_folder is not None
    assert stat.S_IMODE(postgres.address.socket_folder.stat().st_mode) == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="only root steps down to another account")
def test_root_steps_down_to_an_account_of_its_own_without_login(postgres: RunningPostgres) -> None:
    entry = pwd.getpwnam(binaries.ACCOUNT)
    pid = int((postgres.server.data / "postmaster.pid").read_text().split()[0])
    process = psutil.Process(pid)

    assert process.uids() == (entry.pw_uid,) * 3
    assert process.gids() == (entry.pw_gid,) * 3
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()
    assert "Groups:\t \n" in Path(f"/proc/{pid}/status").read_text()
    assert entry.pw_shell.endswith("nologin")


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user; run as one, every test here shows it")
def test_an_ordinary_user_runs_it_too() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        # Forked, because an interpreter below a closed /root could not be started by that user.
        child = multiprocessing.get_context("fork").Process(target=_run_as, args=(nobody, Path(folder)))
        child.start()
        child.join(timeout=120)

    assert child.exitcode == 0


def _run_as(user: pwd.struct_passwd, folder: Path) -> None:
    programs = binaries.programs(binaries.Account(user.pw_uid, user.pw_gid, steps_down=True))
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    embedded.programs = lambda account: programs
    server = EmbeddedPostgres(folder / "postgres", "a superuser's password")
    server.start()
    try:
        assert one(server, "select current_user") == "postgres"
        assert server.data.stat().st_uid == user.pw_uid
    finally:
        server.stop()
    assert not server.is_running


@pytest.mark.skipif(not IS_ROOT, reason="only root copies programs")
def test_programs_below_a_closed_folder_are_copied_once_to_where_the_account_may_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr(binaries, "_COPIES", tmp_path / "copies")
    monkeypatch.setattr(binaries.Account, "may_enter", lambda self, folder: False)
    account = binaries.server_account()

    first, second = binaries.programs(account), binaries.programs(account)

    assert first == second
    assert first.is_relative_to(tmp_path)
    said = subprocess.run([first / "initdb", "--version"], capture_output=True, text=True, timeout=30, check=True)
    assert "PostgreSQL) 18" in said.stdout
    (first.parents[2]).chmod(0o777)
    with pytest.raises(binaries.EmbeddedPostgresUnavailable):
        binaries.programs(account)
