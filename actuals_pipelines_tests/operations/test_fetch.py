"""Fetching from real OpenSSH: everything whole and once, whatever breaks, and nothing that tells a name or a key."""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from actuals_pipelines.database import tables, units
from actuals_pipelines.domain.source import FieldMapping, Source, SourceKind
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.keyring import TenantKeys
from actuals_pipelines.landing import delete_unnamed, open_unit, unit_name
from actuals_pipelines.operations.fetch import Look, fetch, look_once
from actuals_pipelines.settings import NOWHERE_PRIVATE, RemoteAccess
from actuals_pipelines.sources.remote_files.remote import AddressRefused, ConnectionLost, FolderRefused
from actuals_pipelines.sources.sftp_remote import HostKeyChanged, HostKeyUnknown, LoginRefused, SftpKeys
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.secrets import set_secret
from actuals_pipelines_tests.conftest import TenantDatabase
from actuals_pipelines_tests.sources.sftp_remote.servers import AServer, BreakingLine, lying, make_key, openssh

NOW = datetime(2026, 3, 5, 12, tzinfo=UTC)
TODAY = date(2026, 3, 5)
HERE = RemoteAccess(allow_private=True)
CANARY = "canary-7f3a"


@dataclass
class Fetcher:
    """A tenant with one source that fetches from a running sshd, its key known there and the host key accepted."""

    env: TenantEnvironment
    server: AServer
    name: str
    settings: dict[str, str] = field(default_factory=dict)
    day_from: str = "arrival"
    slept: list[float] = field(default_factory=list)

    @property
    def source(self) -> Source:
        where = {"host": "127.0.0.1", "port": str(self.server.port), "user": self.server.user}
        connection = {**where, "folder": str(self.server.folder), "stable_seconds": "5", **self.settings}
        return Source(
            self.name, SourceKind.SFTP_REMOTE, "csv", FieldMapping({}), connection=connection, day_from=self.day_from
        )

    @property
    def source_id(self) -> UUID:
        with self.env.engine.begin() as connection:
            return units.source_id(connection, self.name)

    @property
    def keys(self) -> SftpKeys:
        return SftpKeys(self.env.engine, self.env.keys, self.source_id)

    def fetch(
        self, *days: date, now: datetime = NOW, access: RemoteAccess = HERE, meanwhile: Callable[[], None] | None = None
    ) -> list[Unit]:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            if meanwhile is not None:
                meanwhile()

        return fetch(self.env, self.source, days or (TODAY,), access=access, now=now, sleep=sleep)

    def look(self) -> Look:
        return look_once(self.env, self.source, access=HERE, now=NOW)

    def contents(self, landed: list[Unit]) -> dict[str, bytes]:
        found = {}
        for unit in landed:
            with open_unit(self.env, unit) as stream:
                found[unit_name(self.env, unit) or ""] = stream.read()
        return found


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AServer]:
    with openssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def acme(tenant_database: Callable[..., TenantDatabase], tmp_path_factory: pytest.TempPathFactory) -> TenantEnvironment:
    database = tenant_database()
    keys = TenantKeys(database.ref, uuid4().bytes * 2, uuid4().bytes * 2, uuid4().bytes * 2)
    tenant = Tenant("acme", (), (), start=date(2026, 1, 1), time_zone="Europe/Amsterdam")
    return TenantEnvironment(database.ref, tenant, database.app, keys, tmp_path_factory.mktemp("acme"))


@pytest.fixture
def fetcher(sshd: AServer, acme: TenantEnvironment, tmp_path: Path) -> Iterator[Fetcher]:
    """Each test has a source and a folder of its own: what one left is nothing to the next."""
    made = Fetcher(replace(acme, prefix=tmp_path / "data"), sshd, f"bank_{uuid4().hex[:8]}")
    made.env.prefix.mkdir(mode=0o700)
    made.keys.accept_host_key(sshd.host_key)
    (sshd.folder.parent / "authorized_keys").write_text(made.keys.public_key() + "\n")
    yield made
    shutil.rmtree(sshd.folder)
    sshd.folder.mkdir()


def test_files_land_whole_and_sealed_and_a_second_fetch_does_nothing(fetcher: Fetcher) -> None:
    """Of eighty files each has its bytes and name; none of it is on our disk in clear; nothing is new the next time."""
    sent = {f"{CANARY}-{n}.csv": os.urandom(n * 1000 + 1) + CANARY.encode() for n in range(80)}
    sent["large.csv"] = os.urandom(5_000_000)
    for name, content in sent.items():
        fetcher.server.put(name, content)

    landed = fetcher.fetch()

    assert fetcher.contents(landed) == sent
    assert {unit.partition for unit in landed} == {TODAY}
    assert fetcher.fetch() == []
    on_disk = [path for path in fetcher.env.prefix.rglob("*") if path.is_file()]
    assert len(on_disk) == len(sent)
    assert not any(CANARY.encode() in path.read_bytes() or CANARY in path.name for path in on_disk)


def test_a_file_that_grows_between_two_looks_waits_until_it_is_whole(fetcher: Fetcher) -> None:
    """Half a statement is never taken: its size changed while we waited, so the next fetch has it, whole."""
    path = fetcher.server.put("statement.csv", b"half")

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b" and the rest")

    assert fetcher.fetch(meanwhile=grow) == []
    landed = fetcher.fetch(now=NOW + timedelta(minutes=15))

    assert fetcher.contents(landed) == {"statement.csv": b"half and the rest"}


def test_what_an_earlier_look_saw_as_it_is_is_fetched_without_waiting(fetcher: Fetcher) -> None:
    fetcher.server.put("a.csv", b"a")
    fetcher.look()

    assert len(fetcher.fetch(now=NOW + timedelta(minutes=15))) == 1
    assert fetcher.slept == []


def test_a_file_written_again_under_its_name_is_another_delivery(fetcher: Fetcher) -> None:
    fetcher.server.put("report.csv", b"monday", at=1_700_000_000)
    first = fetcher.fetch()
    fetcher.server.put("report.csv", b"tuesday", at=1_700_086_400)

    assert fetcher.contents(first) == {"report.csv": b"monday"}
    assert fetcher.contents(fetcher.fetch()) == {"report.csv": b"tuesday"}


def test_a_dropped_connection_is_made_again_and_the_file_goes_on_where_it_was(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actuals_pipelines.sources.retry._growing", lambda state: 0.0)
    content = os.urandom(6_000_000)
    fetcher.server.put("large.csv", content)
    line = BreakingLine(fetcher.server.port, [100_000_000, 2_500_000, 2_500_000])  # the first connection only looks
    fetcher.settings["port"] = str(line.port)

    landed = fetcher.fetch()

    assert fetcher.contents(landed) == {"large.csv": content}
    assert line.connections == 4
    line.close()


def test_a_line_that_never_holds_leaves_nothing_and_says_so(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actuals_pipelines.sources.retry._growing", lambda state: 0.0)
    fetcher.server.put("large.csv", os.urandom(3_000_000))
    line = BreakingLine(fetcher.server.port, [100_000_000] + [200_000] * 20)
    fetcher.settings["port"] = str(line.port)

    with pytest.raises(ConnectionLost, match="at the last of 5 attempts"):
        fetcher.fetch()

    assert list((fetcher.env.prefix / "raw").iterdir()) == []
    line.close()


def test_killed_in_the_middle_the_next_fetch_has_all_of_it_once(fetcher: Fetcher) -> None:
    content = os.urandom(4_000_000)
    fetcher.server.put("large.csv", content)
    line = BreakingLine(fetcher.server.port, [100_000_000, 2_500_000], stall=True)
    fetcher.settings["port"] = str(line.port)

    def in_child() -> None:
        fetcher.env.engine.dispose(close=False)
        fetcher.fetch()

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    assert line.reached.wait(30)
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    fetcher.settings["port"] = str(fetcher.server.port)
    landed = fetcher.fetch()

    assert fetcher.contents(landed) == {"large.csv": content}
    assert len(list((fetcher.env.prefix / "raw").iterdir())) == 2
    assert delete_unnamed(fetcher.env, datetime.now(UTC) + timedelta(hours=1)) == 1
    line.close()


def test_without_an_accepted_host_key_no_login_is_sent(fetcher: Fetcher) -> None:
    fetcher.server.put("a.csv", b"a")
    with fetcher.env.engine.begin() as connection:
        connection.execute(
            sa.update(tables.sftp_connection)
            .where(tables.sftp_connection.c.source_id == fetcher.source_id)
            .values(host_key=None)
        )

    with pytest.raises(HostKeyUnknown, match="SHA256:"):
        fetcher.fetch()


def test_a_changed_host_key_stops_the_source_until_a_person_accepts_it(fetcher: Fetcher, tmp_path: Path) -> None:
    fetcher.server.put("a.csv", b"a")
    other = make_key(tmp_path / "other")
    fetcher.keys.accept_host_key(other)
    logins = fetcher.server.log.read_text().count("Accepted publickey")

    with pytest.raises(HostKeyChanged) as stopped:
        fetcher.fetch()

    assert stopped.value.accepted.startswith("SHA256:") and stopped.value.offered.startswith("SHA256:")
    assert fetcher.server.log.read_text().count("Accepted publickey") == logins
    with fetcher.env.engine.begin() as connection:
        noted = connection.execute(
            sa.select(tables.sftp_connection.c.refused_host_key).where(
                tables.sftp_connection.c.source_id == fetcher.source_id
            )
        ).scalar_one()
    assert noted == stopped.value.offered
    fetcher.keys.accept_host_key(fetcher.server.host_key)
    assert len(fetcher.fetch()) == 1
    with fetcher.env.engine.begin() as connection:
        of_ours = tables.audit_outbox.c.object.startswith(str(fetcher.source_id))
        audited = list(connection.scalars(sa.select(tables.audit_outbox.c.action).where(of_ours)))
    assert audited.count("source.host_key.accept") == 3


def test_a_login_that_the_server_refuses_says_which_key_to_hand_over(fetcher: Fetcher) -> None:
    (fetcher.server.folder.parent / "authorized_keys").write_text("")

    with pytest.raises(LoginRefused, match="public-key TENANT SOURCE"):
        fetcher.fetch()


@pytest.mark.parametrize(
    "access", [NOWHERE_PRIVATE, RemoteAccess(("*.bank.example",), True)], ids=["private address", "other hosts only"]
)
def test_an_address_that_the_home_does_not_allow_is_not_connected_to(fetcher: Fetcher, access: RemoteAccess) -> None:
    with pytest.raises(AddressRefused):
        fetcher.fetch(access=access)


def test_names_and_sizes_from_outside_are_looked_at_before_they_are_used(fetcher: Fetcher) -> None:
    """A line end in a name, a link, a folder and a file that claims ten gigabytes are not fetched; the good one is."""
    fetcher.server.put("good.csv", b"good")
    fetcher.server.put("bad\nname.csv", b"bad")
    fetcher.server.put("part.csv.filepart", b"part")
    (fetcher.server.folder / "link.csv").symlink_to("/etc/passwd")
    (fetcher.server.folder / "folder.csv").mkdir()
    with (fetcher.server.folder / "huge.csv").open("wb") as huge:
        huge.truncate(10 << 30)

    assert fetcher.contents(fetcher.fetch()) == {"good.csv": b"good"}
    assert sorted(entry.refused or "" for entry in fetcher.look().refused) == [
        "it is larger than `limit_mb` of the source's connection",
        "its name holds a path or a character that is not printed",
    ]


def test_a_folder_of_five_thousand_files_gives_those_that_fit_the_pattern(fetcher: Fetcher) -> None:
    for number in range(5000):
        (fetcher.server.folder / f"{number:05}.xml").touch()
    fetcher.server.put("00001.csv", b"wanted")
    fetcher.settings["files"] = "*.csv"

    assert fetcher.contents(fetcher.fetch()) == {"00001.csv": b"wanted"}


def test_an_empty_file_is_refused_and_taken_when_it_has_bytes(fetcher: Fetcher) -> None:
    fetcher.server.put("report.csv", b"")
    assert fetcher.fetch() == []
    assert [entry.refused for entry in fetcher.look().refused] == ["it has no bytes: a broken export looks like this"]

    fetcher.server.put("report.csv", b"now", at=1_700_000_100)

    assert fetcher.contents(fetcher.fetch()) == {"report.csv": b"now"}


def test_by_a_manifest_only_what_it_lists_is_whole(fetcher: Fetcher) -> None:
    fetcher.settings |= {"ready": "manifest", "manifest": ".done"}
    fetcher.server.put("a.csv", b"a")
    fetcher.server.put("a.csv.done", b"")
    fetcher.server.put("b.csv", b"b")

    assert fetcher.contents(fetcher.fetch()) == {"a.csv": b"a"}
    assert fetcher.slept == []


def test_a_listed_digest_that_is_another_refuses_the_file(fetcher: Fetcher) -> None:
    fetcher.settings |= {"ready": "manifest", "manifest": "sums*.txt"}
    fetcher.server.put("a.csv", b"a")
    fetcher.server.put("b.csv", b"b")
    of_a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    fetcher.server.put("sums1.txt", f"{of_a}  a.csv\n{of_a}  b.csv\n".encode())

    assert fetcher.contents(fetcher.fetch()) == {"a.csv": b"a"}
    assert [entry.refused for entry in fetcher.look().refused] == ["its SHA-256 is not the one in the manifest"]


def test_after_the_commit_files_are_moved_and_a_name_that_is_taken_there_stays(fetcher: Fetcher) -> None:
    fetcher.settings |= {"after": "move", "move_to": "done", "ready": "renamed"}
    fetcher.server.put("done/report.csv", b"older", at=1_600_000_000)
    fetcher.server.put("report.csv", b"newer")

    assert len(fetcher.fetch()) == 1

    assert (fetcher.server.folder / "done/report.csv").read_bytes() == b"older"
    assert (fetcher.server.folder / "done/report.csv.1700000000").read_bytes() == b"newer"
    assert not (fetcher.server.folder / "report.csv").exists()


def test_after_the_commit_files_are_deleted(fetcher: Fetcher) -> None:
    fetcher.settings |= {"after": "delete", "ready": "renamed"}
    fetcher.server.put("report.csv", b"once")

    landed = fetcher.fetch()

    assert fetcher.contents(landed) == {"report.csv": b"once"}
    assert list(fetcher.server.folder.iterdir()) == []


def test_old_days_are_fetched_from_the_archive_by_the_day_in_the_name(fetcher: Fetcher) -> None:
    """A backfill of two days takes those two; one before the tenant's start is not taken even by today's look."""
    fetcher.day_from = "name"
    fetcher.settings |= {"archive": "old", "day_pattern": r"_(?P<day>\d\d)(?P<month>\d\d)(?P<year>\d{4})\."}
    for name in ("s_01022026.csv", "s_02022026.csv", "s_03022026.csv"):
        fetcher.server.put(f"old/{name}", name.encode())
    fetcher.server.put("s_05032026.csv", b"today's")
    fetcher.server.put("s_31122025.csv", b"before the start")

    old = fetcher.fetch(date(2026, 2, 1), date(2026, 2, 2))
    new = fetcher.fetch(TODAY)

    assert {(unit.partition, name) for unit in old for name in [unit_name(fetcher.env, unit)]} == {
        (date(2026, 2, 1), "s_01022026.csv"),
        (date(2026, 2, 2), "s_02022026.csv"),
    }
    assert fetcher.contents(new) == {"s_05032026.csv": b"today's"}


def test_a_file_that_its_sender_moved_to_the_archive_is_known_there(fetcher: Fetcher) -> None:
    fetcher.day_from = "name"
    fetcher.settings |= {"archive": "old", "ready": "renamed"}
    path = fetcher.server.put("s_2026-03-01.csv", b"content")
    (fetcher.server.folder / "old").mkdir()
    assert len(fetcher.fetch()) == 1
    path.rename(fetcher.server.folder / "old" / path.name)

    assert fetcher.fetch(date(2026, 3, 1)) == []


def test_neither_names_nor_keys_reach_a_log_or_an_error(fetcher: Fetcher, caplog: pytest.LogCaptureFixture) -> None:
    """With all of Python's logging on, through a fetch that works, one that breaks, and a listing that is refused."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("paramiko").propagate = True
    fetcher.server.put(f"{CANARY}.csv", CANARY.encode())
    private = fetcher.keys.private_key()
    assert len(fetcher.fetch()) == 1
    path = fetcher.server.put(f"{CANARY}-2.csv", b"x" * 100)
    told = io.StringIO()
    fetcher.fetch(meanwhile=path.unlink)
    fetcher.settings["folder"] = f"{fetcher.server.folder}/missing"
    with pytest.raises(FolderRefused) as refused:
        fetcher.fetch()
    print(caplog.text, refused.value, repr(refused.value), repr(fetcher.keys), file=told)

    assert "fetched: tenant=" in told.getvalue()
    assert CANARY not in told.getvalue()
    assert not any(line in told.getvalue() for line in private.splitlines()[1:-1])


def test_what_a_hostile_server_lists_is_never_a_path_of_ours(fetcher: Fetcher, tmp_path: Path) -> None:
    """Parents, absolute paths, undecodable bytes and a name of a thousand letters are refused; the password works."""
    (tmp_path / "lies").mkdir()
    (tmp_path / "lies" / "good.csv").write_bytes(b"good")
    os.utime(tmp_path / "lies" / "good.csv", (1_700_000_000, 1_700_000_000))
    names = [b"../x.csv", b"/etc/x.csv", b"a\\..\\x.csv", b"\xff\xfe.csv", b"n" * 1000 + b".csv", b"good.csv"]
    with lying(tmp_path / "lies", CANARY, names) as server:
        made = replace(fetcher, server=server, settings={"password": "bank_password", "folder": "/"})
        set_secret(made.env, "bank_password", CANARY.encode())
        made.keys.accept_host_key(server.host_key)

        assert made.contents(made.fetch()) == {"good.csv": b"good"}
        assert len(made.look().refused) == 5
        set_secret(made.env, "bank_password", b"another")
        with pytest.raises(LoginRefused) as refused:
            made.fetch()

    assert CANARY not in str(refused.value)


def test_an_import_folder_is_fetched_from_below_the_operators_root_alone(fetcher: Fetcher, tmp_path: Path) -> None:
    root = tmp_path / "import"
    (root / "acme").mkdir(parents=True)
    (root / "acme" / "a.csv").write_bytes(b"a" * 3_000_000)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.csv").write_bytes(b"b")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "acme" / "link.csv").symlink_to(tmp_path / "secret" / "b.csv")

    def from_url(folder: Path, access: RemoteAccess) -> list[Unit]:
        connection = {"url": f"file://{folder}", "ready": "renamed"}
        source = replace(fetcher.source, kind=SourceKind.FILES, connection=connection)
        return fetch(fetcher.env, source, (TODAY,), access=access, now=NOW)

    access = RemoteAccess(import_root=root)
    assert fetcher.contents(from_url(root / "acme", access)) == {"a.csv": b"a" * 3_000_000}
    assert from_url(root / "acme", access) == []
    for folder, allowed in ((root / "out", access), (root / ".." / "secret", access), (root / "acme", HERE)):
        with pytest.raises(Exception, match="URL is not allowed"):
            from_url(folder, allowed)
