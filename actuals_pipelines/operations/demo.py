"""The main job, as customers' days run: orders pushed, files dropped, the PSP pulled, all reconciled, all proved.

Two tenants with known defects. Everything goes the real way: HTTPS to the inbox with a key, sFTP with a key pair,
OAuth 2 to an emulator of a PSP's API, Dagster's sensors and runs. The demo's home is its own, and is made anew.
"""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import paramiko
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.certificates import Certificates, ensure_certificates
from actuals_pipelines.operations.demo_data import DemoData, Wanted, compare, demo_tenant_yaml, write_demo_data
from actuals_pipelines.operations.init_home import init_home
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenant
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.operations.reconcile import packages_waiting
from actuals_pipelines.operations.reload import reload_and_wait
from actuals_pipelines.operations.runs import STEPS, client_of
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.services import Running, all_healthy, health, must_run, running, trusted
from actuals_pipelines.operations.take_in import sources_waiting
from actuals_pipelines.settings import HOME_FILE, Home, base_environment, find_home, key_environment
from actuals_pipelines.sources.sftp.host_key import host_key
from actuals_pipelines.store import catalogue, closes
from actuals_pipelines.tenants.secrets import set_secret

TENANTS = ("north", "south")
CLIENT_SECRET = "psp_client_secret"  # noqa: S105 - the name of a secret, not one
LOOK_EVERY_SECONDS = 2
UP_TIMEOUT_SECONDS = 120
QUIET_TIMEOUT_SECONDS = 600
PULL_TIMEOUT_SECONDS = 600
MARKER = "demo.json"
"""Says that a home is the demo's own, and may be made anew."""

Tell = Callable[[str], None]


class NotADemoHome(ActualsError):
    """The folder named for the demo holds somebody's home."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"{self.root} is not a home that the demo made, so it is left alone. Name another one with --home."


class DemoFailed(ActualsError):
    """A step of the demo did not come to its end."""

    def __init__(self, step: str, found: str) -> None:
        super().__init__(step, found)
        self.step, self.found = step, found

    def __str__(self) -> str:
        return f"The demo stopped at {self.step!r}: {self.found}."


@dataclass(slots=True)
class Timings:
    """Seconds per step, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, tell: Tell) -> Iterator[None]:
        """Time one step and tell that it began."""
        tell(name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 2)


@dataclass(frozen=True, slots=True)
class PackageOutcome:
    """One package of one tenant: its last close against the truth."""

    tenant: str
    package: str
    day: date
    scores: pa.Table  # demo_data.evaluate.SCORES

    @property
    def is_true(self) -> bool:
        """Every injected defect was found, and nothing else was called one."""
        rows = self.scores.to_pylist()
        return bool(rows) and all(row["found"] == row["injected"] and not row["false_alarms"] for row in rows)


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """What the demo did and found."""

    home: Home
    packages: tuple[PackageOutcome, ...]
    plaintext_hits: int  # of the order numbers searched for in every file of the home
    files_searched: int
    numbers_searched: int
    timings: Timings
    rows: int

    @property
    def holds(self) -> bool:
        """Whether truth and walls hold. A proof that does not hold would have stopped its close."""
        return all(one.is_true for one in self.packages) and self.plaintext_hits == 0 and self.files_searched > 0


def run_demo(root: Path, orders: int, seed: int, now: datetime, tell: Tell) -> DemoOutcome:
    """Make the demo's home, run the main job in it and hold the results against the truth."""
    timings = Timings()
    last_day = last_friday(now.date())
    with tempfile.TemporaryDirectory(prefix="actuals-demo-") as outside:  # the customers' side: not in the home
        world = Path(outside)
        with timings.step("make the home: keys, PostgreSQL, certificates", tell):
            home = new_home(root, now)
        with timings.step(f"make demo data: {orders:,} orders for each of {len(TENANTS)} tenants", tell):
            data = {name: _demo_data(name, orders, seed + at, last_day, world) for at, name in enumerate(TENANTS)}
        with _kept_up(home, timings, tell), _emulator(home, world, data, now) as psp_url:
            with timings.step("provision tenants: databases, roles, keyrings, accounts", tell):
                keys = {name: _provision(home, name, psp_url, made, world) for name, made in data.items()}
            with timings.step("push orders to the inbox over HTTPS", tell):
                for name, made in data.items():
                    _push(home, keys[name], made)
            with timings.step("drop statements and settlements over sFTP", tell):
                for name, made in data.items():
                    _drop(home, name, made, world)
            days = data[TENANTS[0]].days
            with timings.step("pull the PSP's API by OAuth 2, as a Dagster run", tell):
                _pull(home, days, tell)
            with timings.step("sensors take in and reconcile what waits", tell):
                _wait_until_quiet(home, days[-1], tell)
            with timings.step("hold results against the truth", tell):
                outcomes = tuple(one for name, made in data.items() for one in _outcomes(home, name, made))
            with timings.step("search the home for order numbers in clear", tell):
                numbers = [number for made in data.values() for number in made.order_numbers(25)]
                hits, searched = plaintext_hits(home, numbers)
        rows = sum(sum(made.made.rows.values()) for made in data.values())
    return DemoOutcome(home, outcomes, hits, searched, len(numbers), timings, rows)


def last_friday(today: date) -> date:
    """The last Friday before today: a working week of demo data ends on it."""
    return today - timedelta(days=(today.weekday() - 4) % 7 or 7)


def new_home(root: Path, now: datetime) -> Home:
    """Make the demo's home, anew where the demo made one before; nobody else's is touched."""
    root = root.absolute()
    if (root / HOME_FILE).exists():
        if not (root / MARKER).exists():
            raise NotADemoHome(str(root))
        old = find_home(str(root))
        found = running(old)
        if found is not None:
            raise DemoFailed("make the home", f"the demo's home is running (process {found.pid}); stop it first")
        shutil.rmtree(root)
        old.kek_file.unlink(missing_ok=True)
    elif root.exists() and any(root.iterdir()):
        raise NotADemoHome(str(root))
    home = init_home(root, now).home
    (root / MARKER).write_text(json.dumps({"made_at": now.isoformat()}) + "\n")
    return home


@dataclass(frozen=True, slots=True)
class _TenantData:
    """One tenant's generated files and days."""

    made: DemoData
    days: list[date]

    def order_numbers(self, count: int) -> list[bytes]:
        """Order numbers of the shop, to search for."""
        numbers = []
        with self.made.shop[0].open("rb") as lines:
            for line in lines:
                numbers.append(json.loads(line)["data"]["reference"].removeprefix("ORD-").encode())
                if len(numbers) == count:
                    break
        return numbers


def _demo_data(name: str, orders: int, seed: int, last_day: date, world: Path) -> _TenantData:
    wanted = Wanted(orders, seed, last_day=last_day)
    return _TenantData(write_demo_data(wanted, world / name), wanted.dates)


@contextmanager
def _kept_up(home: Home, timings: Timings, tell: Tell) -> Iterator[None]:
    """`actuals up` in a process of its own, until the demo is done."""
    command = [sys.executable, "-m", "actuals_pipelines.cli", "up", "--home", str(home.root)]
    environment = {**base_environment(), **key_environment()}
    log = (home.run / "up.log").open("wb")
    with log:
        up = subprocess.Popen(
            [*command, "--look-every", str(LOOK_EVERY_SECONDS)], env=environment, stdout=log, stderr=log
        )
    try:
        with timings.step("start PostgreSQL, doors, Dagster and its daemon", tell):
            _wait_until_healthy(home, up)
        yield
    finally:
        up.send_signal(signal.SIGINT)
        try:
            up.wait(60)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


def _wait_until_healthy(home: Home, up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_TIMEOUT_SECONDS
    while not all_healthy(states := health(home)):
        if up.poll() is not None or time.monotonic() > deadline:
            missing = ", ".join(state.name for state in states if not state.healthy)
            raise DemoFailed("start the home", f"not healthy: {missing}; see {home.run / 'logs'}")
        time.sleep(0.3)


@contextmanager
def _emulator(home: Home, world: Path, data: dict[str, _TenantData], now: datetime) -> Iterator[str]:
    """A PSP's API on this machine, behind OAuth 2 and TLS; another secret for each tenant."""
    certificates: Certificates = ensure_certificates(home, provider_for(home), now)
    clients = world / "clients.json"
    clients.write_text(
        json.dumps(
            [{"client_id": name, "client_secret": f"secret of {name}", "folder": f"{name}/psp_api"} for name in data]
        )
    )
    tls = ["--certificate", str(certificates.certificate), "--key", str(certificates.key), "--passphrase-stdin"]
    command = [sys.executable, "-m", "actuals_pipelines.operations.psp_emulator", "--data", str(world), *tls]
    emulator = subprocess.Popen(
        [*command, "--clients", str(clients)],
        env=base_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert emulator.stdin is not None and emulator.stdout is not None  # noqa: S101 - they are pipes
        emulator.stdin.write(certificates.passphrase + "\n")
        emulator.stdin.close()
        line = emulator.stdout.readline()
        if not line:
            raise DemoFailed("start the PSP's emulator", f"it ended with exit code {emulator.wait(10)}")
        yield json.loads(line)["url"]
    finally:
        emulator.terminate()
        emulator.wait(20)


def _provision(home: Home, name: str, psp_url: str, data: _TenantData, world: Path) -> str:
    """Apply the tenant's file, set its secret, let the running home take it up; return its inbox key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (world / f"{name}.key").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    text = demo_tenant_yaml(
        name,
        psp_url,
        start=data.days[0],
        client_id=name,
        client_secret=CLIENT_SECRET,
        ca_file=str(home.tls / "ca.pem"),
        sftp_public_key=public,
    )
    with running_postgres(home) as platform:
        applied = apply(platform, text, f"{name}.yaml")
    if applied is None:
        raise DemoFailed("provision tenants", f"{name} was not applied")
    loaded = load_tenant(home, name)
    with loaded.opened("demo") as environment:
        set_secret(environment, CLIENT_SECRET, f"secret of {name}".encode())
    reload_and_wait(home, applied.tenant, applied.ref)
    return next(one.text for one in applied.api_keys_shown_once if one.mode == "prod")


def _push(home: Home, key: str, data: _TenantData) -> None:
    """Send the shop's orders to the inbox, a day's file in batches."""
    url = must_run(home).url("inbox") + "/v1/raw_transactions/batch"
    headers = {"token": key, "content-type": "application/x-ndjson"}
    with httpx.Client(verify=trusted(home), headers=headers, timeout=60, trust_env=False) as client:
        for path in data.made.shop:
            lines = path.read_bytes().splitlines(keepends=True)
            for start in range(0, len(lines), 2000):
                answer = client.post(url, content=b"".join(lines[start : start + 2000]))
                if answer.status_code not in (httpx.codes.OK, httpx.codes.CREATED):
                    raise DemoFailed("push orders", f"the inbox answered {answer.status_code}")


def _drop(home: Home, name: str, data: _TenantData, world: Path) -> None:
    """Put the tenant's files into its folders of the drop; the host key is checked against the home's own."""
    found: Running = must_run(home)
    doors = platform_key(provider_for(home), home.uuid, "doors")
    expected = host_key(home, doors).export_public_key().decode().split()[1]
    client = paramiko.SSHClient()
    client.get_host_keys().add(
        f"[127.0.0.1]:{found.ports['sftp']}",
        "ssh-ed25519",
        paramiko.PKey.from_type_string("ssh-ed25519", base64.b64decode(expected)),
    )
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    with client:
        client.connect(
            "127.0.0.1",
            port=found.ports["sftp"],
            username=name,
            key_filename=str(world / f"{name}.key"),
            allow_agent=False,
            look_for_keys=False,
            timeout=30,
        )
        with client.open_sftp() as sftp:
            for folder, paths in (("bank", data.made.bank), ("settlement", data.made.settlement)):
                for path in paths:
                    sftp.put(str(path), f"{folder}/{path.name}", confirm=False)  # the drop shows nothing back


def _pull(home: Home, days: Sequence[date], tell: Tell) -> None:
    """One run that pulls the PSP for every tenant and day, as the nightly schedule asks for it."""
    client = client_of(home)
    assets = [(name, "psp", step) for name in TENANTS for step in STEPS]
    job = next(name for name in client.assets()[assets[0]] if name.startswith("take_in"))
    tags = {"actuals/tenants": ",".join(TENANTS), "actuals/asked_by": "demo"}
    run_id = client.launch(job, assets, days[0], days[-1], tags)
    end = client.wait(
        run_id,
        PULL_TIMEOUT_SECONDS,
        lambda state: tell(f"  pull: {state.status.lower()}, {state.steps_done}/{state.steps} steps"),
    )
    if end.status != "SUCCESS":
        raise DemoFailed("pull the PSP", f"run {run_id} ended as {end.status}; failed: {', '.join(end.failed_steps)}")


def _wait_until_quiet(home: Home, last_day: date, tell: Tell) -> None:
    """Wait until every source is published and every package closed to the last day, by the sensors alone."""
    tenants = [load_tenant(home, name) for name in TENANTS]
    deadline = time.monotonic() + QUIET_TIMEOUT_SECONDS
    while True:
        todo = [words for loaded in tenants for words in _todo(loaded, last_day)]
        if not todo:
            return
        tell(f"  waiting: {'; '.join(todo[:4])}{' ...' if len(todo) > 4 else ''}")
        if time.monotonic() > deadline:
            raise DemoFailed(
                "take in and reconcile", f"after {QUIET_TIMEOUT_SECONDS} s still waiting: {'; '.join(todo)}"
            )
        time.sleep(1)


def _todo(loaded: LoadedTenant, last_day: date) -> list[str]:
    with loaded.opened("demo") as environment:
        now = datetime.now(UTC)
        waiting = [f"{loaded.asset_prefix}/{name}" for name in sources_waiting(environment, now=now)]
        held = [f"{loaded.asset_prefix}/{unit.source} held" for unit, _ in catalogue.held(environment)]
        if held:
            raise DemoFailed("take in", "; ".join(held))
        open_packages = set(packages_waiting(environment, today=now.date()))
        for package in loaded.tenant.packages:
            last = closes.last_close(environment, package.name)
            if last is None or last.day < last_day:
                open_packages.add(package.name)
        return waiting + [f"{loaded.asset_prefix}/{name}" for name in sorted(open_packages)]


def _outcomes(home: Home, name: str, data: _TenantData) -> Iterator[PackageOutcome]:
    loaded = load_tenant(home, name)
    truth = pq.read_table(data.made.truth)
    with loaded.opened("demo") as environment:
        for package in loaded.tenant.packages:
            last = closes.last_close(environment, package.name)
            if last is None:
                raise DemoFailed("hold results against the truth", f"{name}/{package.name} has no close")
            state = closes.state(environment, last).to_table()
            yield PackageOutcome(name, package.name, last.day, compare(truth, _results(state), package.name))


def _results(state: pa.Table) -> pa.Table:
    """A close's state as results: a group's own key stands for its id."""
    groups = pc.binary_join_element_wise(state["group_key"].cast(pa.string()), state["currency"], "/")
    columns = {
        "side": state["side"],
        "source": state["source"],
        "row_id": state["row_id"],
        "status": state["status"],
        "reason": state["reason"],
        "category": state["category"],
        "balance_difference": state["difference"],
        "group_id": groups,
    }
    return pa.table(columns)


def plaintext_hits(home: Home, needles: Sequence[bytes]) -> tuple[int, int]:
    """Search every file of the home for these bytes; return (hits, files searched)."""
    hits = searched = 0
    for path in home.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # PostgreSQL recycles its files while we look
                continue
            searched += 1
            hits += sum(content.count(needle) for needle in needles)
    return hits, searched
