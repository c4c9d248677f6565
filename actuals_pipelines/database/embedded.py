"""The embedded PostgreSQL: a cluster of the home's own, from the programs in the wheel, started and stopped.

The home may lie below a folder that the server's account cannot enter (/root). No folder is opened for it: the server
starts *in* its data folder and knows it as /proc/self/cwd, which needs no rights above. Its socket lies in a short
folder of its own, because a path over 100 characters stops PostgreSQL.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from actuals_pipelines.database.binaries import Account, programs, server_account
from actuals_pipelines.database.cluster_files import SUPERUSER, write_cluster_files
from actuals_pipelines.database.server import ServerAddress
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.settings import Home

_READY_TIMEOUT_SECONDS = 300  # crash recovery replays at most max_wal_size; a slow disk takes minutes for it
_STOP_TIMEOUT_SECONDS = 60
_ATTEMPTS = 6
_LONGEST_SOCKET_FOLDER = 80  # 107 bytes is the kernel's bound on a socket's whole path
_INITDB = (
    f"-U {SUPERUSER} --auth=scram-sha-256 --pwfile=/dev/stdin --encoding=UTF8 --locale=C "
    "--locale-provider=builtin --builtin-locale=C.UTF-8 --data-checksums --no-instructions"
)
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}  # never ours: it may hold keys


class EmbeddedPostgresFailed(ActualsError):
    """The embedded server did not do what it was asked: made, started or stopped."""

    def __init__(self, doing: str, folder: str, found: str) -> None:
        super().__init__(doing, folder, found)
        self.doing, self.folder, self.found = doing, folder, found

    def __str__(self) -> str:
        return (
            f"The embedded PostgreSQL in {self.folder} could not be {self.doing}: {self.found}. "
            f"Its own words are in {self.folder}/server.log."
        )


class EmbeddedPostgres:
    """One cluster in one folder: `data` (the server's, 0700), `server.log`, `server.json` (its port and socket).

    All methods may be called twice and by several processes. The superuser `postgres` enters over the socket alone,
    with the password that the cluster was made with.
    """

    def __init__(self, home: Home | Path, superuser_password: str) -> None:
        self.folder = (home.postgres if isinstance(home, Home) else home).resolve()
        self.superuser = SUPERUSER
        self._password = superuser_password
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        """The cluster itself; belongs to the server's account."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """The server's course and who was refused; no statement, parameter or error text."""
        return self.folder / "server.log"

    @property
    def address(self) -> ServerAddress:
        """Where the server listens, or listened last. The port stays the same from start to start while it is free."""
        try:
            recorded = json.loads((self.folder / "server.json").read_text())
        except FileNotFoundError:
            raise EmbeddedPostgresFailed("found", str(self.folder), "it was never started") from None
        return ServerAddress("127.0.0.1", int(recorded["port"]), Path(recorded["socket_folder"]))

    @property
    def is_running(self) -> bool:
        """Whether the server of this data folder is alive (ready or about to be)."""
        return self._process() is not None

    def initialise(self) -> None:
        """Make the cluster if there is none: SCRAM, C.UTF-8, data checksums. All or nothing."""
        with self._locked():
            if (self.data / "PG_VERSION").exists():
                return
            account = server_account()
            new = self.folder / "data.new"
            shutil.rmtree(new, ignore_errors=True)  # an initdb that was interrupted
            new.mkdir(mode=0o700)
            os.chown(new, account.uid, account.gid)
            self._initdb(new, account)
            new.rename(self.data)

    def start(self) -> ServerAddress:
        """Make the cluster if needed, start the server and wait until it takes connections."""
        self.initialise()
        with self._locked():
            deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
            while time.monotonic() < deadline:
                process = self._process()
                if process is None:
                    self._start(server_account())
                elif self._is_ready(process.pid):
                    return self.address
                time.sleep(0.01)
            raise EmbeddedPostgresFailed("started", str(self.folder), f"not ready in {_READY_TIMEOUT_SECONDS} seconds")

    def stop(self) -> None:
        """Stop the server: sessions are ended, everything committed is on disk. Nothing to do if it is not running."""
        with self._locked():
            process = self._process()
            if process is not None:
                process.send_signal(signal.SIGINT)  # "fast": roll back and leave
                if not self._has_ended(process, _STOP_TIMEOUT_SECONDS):
                    process.send_signal(signal.SIGQUIT)  # leave at once; the next start recovers from the log
                    if not self._has_ended(process, _STOP_TIMEOUT_SECONDS):
                        raise EmbeddedPostgresFailed("stopped", str(self.folder), "it ignores the signal to leave")
            if (self.folder / "server.json").exists():
                shutil.rmtree(self.address.socket_folder or "", ignore_errors=True)

    def _start(self, account: Account) -> None:
        found = ""
        for attempt in range(_ATTEMPTS):
            port, socket_folder = self._port(is_new=attempt > 2), self._socket_folder(account)
            write_cluster_files(self.data, port, socket_folder)
            record = {"port": port, "socket_folder": str(socket_folder)}
            (self.folder / "server.json").write_text(json.dumps(record))
            self._spawn(account)
            ended = self._early_end()
            if ended is None:
                return
            found = ended
            # After a kill -9 the old server's children hold its shared memory for a moment; a port may be lost to
            # another process between the look and the start. Both pass.
            time.sleep(0.5 * (attempt + 1))
        raise EmbeddedPostgresFailed("started", str(self.folder), found)

    def _spawn(self, account: Account) -> None:
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._child = subprocess.Popen(
                [str(programs(account) / "postgres"), "-D", _own_folder(self.data, account)],
                cwd=self.data,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: we stop the server, in order
                umask=0o077,
                **_step_down(account),
            )
        finally:
            os.close(log)

    def _early_end(self) -> str | None:
        """Wait until the server is ready (None) or has ended (its exit code in words)."""
        assert self._child is not None  # noqa: S101 - for the type checker: set by _spawn
        deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                return f"it ended with exit code {self._child.returncode}"
            if self._is_ready(self._child.pid):
                return None
            time.sleep(0.01)
        raise EmbeddedPostgresFailed("started", str(self.folder), f"not ready after {_READY_TIMEOUT_SECONDS} seconds")

    def _is_ready(self, pid: int) -> bool:
        """Whether the server says that it is ready, and listens: after a crash its last words are still in the file."""
        lines = self._pid_file()
        if not (len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"):
            return False
        with socket.socket() as probe:
            probe.settimeout(5)
            return probe.connect_ex(("127.0.0.1", self.address.port)) == 0

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, PermissionError):
            return []

    def _process(self) -> psutil.Process | None:
        """The living server of this data folder; a process that merely got its old number is not it."""
        if self._child is not None:
            self._child.poll()  # a child that ended stays visible until it is waited for
        lines = self._pid_file()
        if not lines or not lines[0].isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
            is_ours = process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == self.data
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process if is_ours else None

    def _has_ended(self, process: psutil.Process, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if self._process() is None and not (self.data / "postmaster.pid").exists():
                return True
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
            time.sleep(0.01)
        return False

    def _initdb(self, new: Path, account: Account) -> None:
        # The password goes through a pipe, so that it never lies in a file; the account must own the pipe to open it.
        reader, writer = os.pipe()
        try:
            if account.steps_down:
                os.fchown(reader, account.uid, account.gid)
            os.write(writer, self._password.encode() + b"\n")
            os.close(writer)
            made = subprocess.run(
                [str(programs(account) / "initdb"), "-D", _own_folder(new, account), *_INITDB.split()],
                cwd=new,
                env=_ENVIRONMENT,
                stdin=reader,
                capture_output=True,
                timeout=_READY_TIMEOUT_SECONDS,
                check=False,
                umask=0o077,
                **_step_down(account),
            )
        finally:
            os.close(reader)
        if made.returncode:
            self.log_file.write_bytes(made.stdout + made.stderr)
            raise EmbeddedPostgresFailed("made", str(self.folder), f"initdb ended with exit code {made.returncode}")

    def _port(self, *, is_new: bool) -> int:
        """The recorded port if it is free, else one that the system gives."""
        wanted = 0
        if not is_new and (self.folder / "server.json").exists():
            wanted = self.address.port
        for port in (wanted, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL itself does
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise EmbeddedPostgresFailed("started", str(self.folder), "no port on 127.0.0.1 is free")

    def _socket_folder(self, account: Account) -> Path:
        """The recorded socket folder, made again if it is gone; else a new one. Short, the server's alone, 0700."""
        candidates = []
        if (self.folder / "server.json").exists():
            recorded = self.address.socket_folder
            if recorded is not None and _is_private(recorded, account):
                return recorded
            candidates += [recorded] if recorded is not None else []
        name = f"actuals-{secrets.token_hex(5)}"
        candidates += [Path(tempfile.gettempdir(), name), Path("/tmp", name)]  # noqa: S108 - private, random name
        for folder in candidates:
            parent = folder.parent
            if len(str(folder)) > _LONGEST_SOCKET_FOLDER or not parent.is_dir() or not account.may_enter(parent):
                continue
            try:
                folder.mkdir(mode=0o700)  # refuses what somebody else put there
            except OSError:
                continue
            os.chown(folder, account.uid, account.gid)
            return folder
        raise EmbeddedPostgresFailed(
            "started", str(self.folder), f"no folder for its socket; tried {', '.join(map(str, candidates))}"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time makes, starts or stops this cluster."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever holds it is bounded by the timeouts above
            yield


def _own_folder(folder: Path, account: Account) -> str:
    """How the server names the folder it is started in: without its parents where it may not be able to enter them."""
    return "/proc/self/cwd" if account.steps_down and Path("/proc/self/cwd").exists() else str(folder)


def _step_down(account: Account) -> dict[str, Any]:
    return {"user": account.uid, "group": account.gid, "extra_groups": []} if account.steps_down else {}


def _is_private(folder: Path, account: Account) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and stat.S_IMODE(found.st_mode) == 0o700
