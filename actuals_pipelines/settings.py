"""All settings enter here: no other module reads the environment, and none guesses where the home is.

A home is a folder with `home.json`. What lies in it opens nothing without the key that encrypts its keys (KEK),
which lies outside: `~/.config/actuals/keys/<home id>.kek` by default.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from platformdirs import user_config_path

from actuals_pipelines.errors import ConfigurationError

HOME_FOLDER = ".actuals"
HOME_FILE = "home.json"
COMMON_LOCATION = "actuals"
_NO_LOGIN = (1 << 32) - 1


class HomeNotFound(ConfigurationError):
    """No home was named and none lies above the working folder."""

    def __init__(self, looked_in: tuple[str, ...]) -> None:
        super().__init__(looked_in)
        self.looked_in = looked_in

    def __str__(self) -> str:
        places = "\n  ".join(self.looked_in)
        return f"No home was found. Looked in:\n  {places}\nMake one with `actuals init`, or name one with --home."


class HomeFileRefused(ConfigurationError):
    """A home's own description cannot be used."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found

    def __str__(self) -> str:
        return f"The home's {self.path} cannot be used: {self.found}. Correct it, or restore it from a backup."


@dataclass(frozen=True, slots=True)
class RemoteAccess:
    """Where sources may fetch files from: `"remote"` in home.json, which is the operator's and not a tenant's."""

    hosts: tuple[str, ...] = ()  # names, or patterns as *.bank.example; none: every host with a public address
    allow_private: bool = False  # whether a host's address may be private, loopback or link-local
    import_root: Path | None = None  # file:// URLs only below this folder; None: no file:// at all


NOWHERE_PRIVATE = RemoteAccess()
"""What holds where home.json says nothing: public addresses alone, and no folder of this machine."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where one home's things lie. Paths only: opening any of them is another room's work."""

    root: Path
    uuid: UUID
    four_eyes: bool = True  # whether a release needs a second person: `"four_eyes": false` in home.json waives it
    remote: RemoteAccess = NOWHERE_PRIVATE
    location: str | None = None  # the home as this code location sees it: views and keyrings of its own tenants

    @property
    def data(self) -> Path:
        """Encrypted files, one folder per tenant and environment (0700)."""
        return self.root / "data"

    @property
    def keyrings(self) -> Path:
        """One keyring file per tenant and environment, wrapped by the KEK."""
        return (self._projection or self.root) / "keyrings"

    @property
    def doors(self) -> Path:
        """What the inbox and the sFTP drop may know of each tenant, sealed under the door key."""
        return self.root / "doors"

    @property
    def locations(self) -> Path:
        """What a code location may know of each tenant it serves, sealed under the location key."""
        return (self._projection or self.root) / "locations"

    @property
    def projections(self) -> Path:
        """While the home runs: a folder for each code location, with views and keyrings under that location's key."""
        return self.run / "projections"

    def projected(self, location: str) -> Home:
        """The home as a code location sees it."""
        return replace(self, location=location)

    @property
    def _projection(self) -> Path | None:
        return self.projections / self.location if self.location else None

    @property
    def postgres(self) -> Path:
        """The embedded PostgreSQL's data folder."""
        return self.root / "postgres"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: generated dagster.yaml and workspace.yaml."""
        return self.root / "dagster"

    @property
    def tls(self) -> Path:
        """The home's local certificate authority and its leaf; private keys sealed or 0600."""
        return self.root / "tls"

    @property
    def run(self) -> Path:
        """What exists only while the home runs: ports, pids, logs."""
        return self.root / "run"

    @property
    def kek_file(self) -> Path:
        """The file provider's key, outside the home: a copy of the home alone opens nothing."""
        return keys_folder() / f"{self.uuid}.kek"


def keys_folder() -> Path:
    """Where key files lie: ACTUALS_KEYS, else the user's configuration folder."""
    named = os.environ.get("ACTUALS_KEYS")
    return Path(named) if named else user_config_path("actuals") / "keys"


def kek_from_environment() -> str | None:
    """ACTUALS_KEK: the KEK itself, base64, for the environment provider."""
    return os.environ.get("ACTUALS_KEK")


def find_home(named: str | None = None, start: Path | None = None) -> Home:
    """Find the home: --home, then ACTUALS_HOME, then `.actuals` in the working folder and above, as git does."""
    explicit = named or os.environ.get("ACTUALS_HOME")
    if explicit:
        candidates = [Path(explicit).resolve()]
    else:
        here = (start or Path.cwd()).resolve()
        candidates = [folder / HOME_FOLDER for folder in (here, *here.parents)]
    for folder in candidates:
        if (folder / HOME_FILE).is_file():
            return replace(read_home(folder), location=os.environ.get("ACTUALS_LOCATION"))
    raise HomeNotFound(("--home", "ACTUALS_HOME", *(str(folder) for folder in candidates)))


def read_home(folder: Path) -> Home:
    """The home that a folder's `home.json` describes. Raises HomeFileRefused."""
    file = folder / HOME_FILE
    try:
        content = json.loads(file.read_text())
        home, four_eyes = UUID(content["home"]), content.get("four_eyes", True)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise HomeFileRefused(str(file), "it is not the JSON that `actuals init` wrote") from None
    if not isinstance(four_eyes, bool):
        raise HomeFileRefused(str(file), '"four_eyes" is neither true nor false')
    return Home(root=folder, uuid=home, four_eyes=four_eyes, remote=_remote_access(file, content.get("remote", {})))


def _remote_access(file: Path, content: object) -> RemoteAccess:
    if not isinstance(content, dict) or content.keys() - {"hosts", "allow_private", "import_root"}:
        raise HomeFileRefused(str(file), '"remote" may hold "hosts", "allow_private" and "import_root" alone')
    hosts, allow, root = content.get("hosts", []), content.get("allow_private", False), content.get("import_root")
    if not isinstance(hosts, list) or not all(isinstance(host, str) and host for host in hosts):
        raise HomeFileRefused(str(file), '"hosts" in "remote" is no list of host names')
    if not isinstance(allow, bool):
        raise HomeFileRefused(str(file), '"allow_private" in "remote" is neither true nor false')
    if root is not None and not (isinstance(root, str) and Path(root).is_absolute()):
        raise HomeFileRefused(str(file), '"import_root" in "remote" is no absolute path')
    return RemoteAccess(tuple(hosts), allow, Path(root) if root else None)


def operator() -> str:
    """Who runs this process, as the machine knows them: "uid:1000".

    Linux keeps the user who logged in through `sudo` and `su` (loginuid, audit(7)), so that two persons who work under
    the home's one account are two. Where there is none (a container, a service), it is the process's own user.
    """
    try:
        login = int(Path("/proc/self/loginuid").read_text())
    except (OSError, ValueError):
        login = _NO_LOGIN
    return f"uid:{os.getuid() if login == _NO_LOGIN else login}"


def operator_name(actor: str) -> str:
    """An actor for people to read, as in uid:1000 (anna), where the machine still knows the name."""
    try:
        return f"{actor} ({pwd.getpwuid(int(actor.removeprefix('uid:'))).pw_name})"
    except (KeyError, ValueError):
        return actor


def door_key() -> bytes:
    """ACTUALS_DOOR_KEY: the key under which doors read what they may know, base64; `actuals up` hands it over."""
    text = os.environ.get("ACTUALS_DOOR_KEY")
    if not text:
        raise ConfigurationError("ACTUALS_DOOR_KEY is not set: a door is started by `actuals up`, which hands it over.")
    return base64.b64decode(text, validate=True)


def tls_passphrase() -> str | None:
    """ACTUALS_TLS_PASSPHRASE: opens the TLS leaf's private key; `actuals up` hands it over."""
    return os.environ.get("ACTUALS_TLS_PASSPHRASE")


def gateway_token() -> str:
    """ACTUALS_GATEWAY_TOKEN: the secret of the link to Dagster's UI; `actuals up` makes a new one at each start."""
    token = os.environ.get("ACTUALS_GATEWAY_TOKEN")
    if not token:
        raise ConfigurationError("ACTUALS_GATEWAY_TOKEN is not set: the gateway is started by `actuals up`.")
    return token


def look_every_seconds() -> int:
    """ACTUALS_LOOK_EVERY_SECONDS: how often sensors look into the tenants' catalogues."""
    return int(os.environ.get("ACTUALS_LOOK_EVERY_SECONDS", "30"))


def keep_runs_days() -> int:
    """ACTUALS_KEEP_RUNS_DAYS: how long Dagster's runs are kept at least; `actuals up` hands it on."""
    return int(os.environ.get("ACTUALS_KEEP_RUNS_DAYS", "90"))


def serves_the_common_location() -> bool:
    """Whether this process is the code location that every home has, and not a tenant's own."""
    return os.environ.get("ACTUALS_LOCATION", COMMON_LOCATION) == COMMON_LOCATION


def base_environment() -> dict[str, str]:
    """What every child process gets of our own environment: where programs and the user's folders are, no secret."""
    names = ("PATH", "HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "SSL_CERT_FILE", "VIRTUAL_ENV")
    return {"LC_ALL": "C.UTF-8", **{name: os.environ[name] for name in names if name in os.environ}}


def location_environment(name: str, key: str) -> dict[str, str]:
    """What makes a process the code location of that name: its projection, and the key (base64) that opens it."""
    return {"ACTUALS_LOCATION": name, "ACTUALS_KEK": key}


def key_environment() -> dict[str, str]:
    """What a process that opens keyrings gets beside it: where the KEK is."""
    return {name: os.environ[name] for name in ("ACTUALS_KEYS", "ACTUALS_KEK") if name in os.environ}
