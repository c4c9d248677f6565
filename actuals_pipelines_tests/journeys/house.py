"""A running home from outside: push, drop, upload, wait; and the small tenants of these journeys."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import paramiko
import psutil
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from actuals_pipelines.database.server import engine
from actuals_pipelines.domain.unit import Unit
from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.operations.health import all_healthy, health
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenant
from actuals_pipelines.operations.platform_credentials import DAGSTER, read_platform_credentials
from actuals_pipelines.operations.provision import Applied, apply
from actuals_pipelines.operations.reconcile import packages_waiting, state_of
from actuals_pipelines.operations.running import must_run, trusted
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.take_in import sources_waiting
from actuals_pipelines.operations.units import source_of, upload
from actuals_pipelines.settings import Home, base_environment, key_environment
from actuals_pipelines.sources.sftp.host_key import host_key
from actuals_pipelines.store import closes
from actuals_pipelines.store.live import live
from actuals_pipelines.tenants.environment import TenantEnvironment, open_environment

UP_TIMEOUT_SECONDS = 120
QUIET_TIMEOUT_SECONDS = 300

# A working week that lies a little back, so that no day is "in the future" in any time zone.
DAYS = [datetime.now(UTC).date() - timedelta(days=back) for back in range(9, 2, -1)]

TENANT = """\
name: {name}
time_zone: {zone}
start: {start}
sftp:
- {{user: {name}, public_keys: ["{key}"]}}
ids:
  order: {{field: transaction_id, find: "(?i)order-[0-9a-z]+", clean: lower}}
sources:
- name: shop
  kind: inbox
  format: ndjson
  day_from: timestamp
  mapping:
    row_id: id
    timestamp: timestamp
    transaction_id: json_extract_path_text(data, 'reference')
    amount: json_extract_path_text(data, 'total')
    currency: json_extract_path_text(data, 'currency')
    text: json_extract_path_text(data, 'comment')
- name: psp
  kind: upload
  format: csv
  mapping: {{row_id: line, transaction_id: reference, amount: gross, currency: currency, booked_on: day, text: memo}}
- name: bank
  kind: sftp
  format: camt053
packages:
- name: orders_vs_psp
  question: Is every order paid for its exact amount?
  soll: [{{source: shop}}]
  ist: [{{source: psp}}]
  passes: [{{name: order number, by: order}}]
  explanations:
  - {{name: fee kept, category: fee, when: "balance_difference = money('0.35 EUR')"}}
- name: psp_vs_bank
  soll: [{{source: psp}}]
  ist: [{{source: bank}}]
  passes: [{{name: order number, by: order}}]
"""
PSP_HEADER = "line,reference,gross,currency,day,memo"

Status = tuple[str, str]
"""A row's status and its explanation category (empty without one)."""


@dataclass
class House:
    """A home that runs, and what its customers hold: API keys and sFTP keys."""

    home: Home
    temporary: Path  # TMPDIR of its processes
    api_keys: dict[str, str] = field(default_factory=dict)
    sftp_keys: dict[str, paramiko.Ed25519Key] = field(default_factory=dict)
    applied: dict[str, Applied] = field(default_factory=dict)

    # --- Provision ----------------------------------------------------------------------------------------------------

    def add_tenant(self, name: str, zone: str = "Europe/Amsterdam", text: str = TENANT) -> LoadedTenant:
        """Apply a tenant of its own; its code location is not told."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        start = DAYS[0] - timedelta(days=7)
        with running_postgres(self.home) as platform:
            done = apply(platform, text.format(name=name, zone=zone, start=start, key=public), f"{name}.yaml")
        assert done is not None
        self.applied[name] = done
        self.sftp_keys[name] = paramiko.Ed25519Key.from_private_key(io.StringIO(private))
        self.api_keys[name] = next(one.text for one in done.api_keys_shown_once if one.mode == "prod")
        return self.tenant(name)

    def tenant(self, name: str) -> LoadedTenant:
        """The tenant as a process of its own would load it."""
        return load_tenant(self.home, name)

    @contextmanager
    def opened(self, name: str) -> Iterator[TenantEnvironment]:
        """The tenant's database and keys, for as long as the block; unguarded, so that a test's own failure shows."""
        environment = open_environment(self.home, name)
        try:
            yield environment
        finally:
            environment.close()

    # --- Deliver ------------------------------------------------------------------------------------------------------

    def push(self, name: str, events: Sequence[Mapping[str, Any]]) -> httpx.Response:
        """Send events to the inbox over HTTPS; the home's own authority is trusted, and nothing else."""
        lines = "".join(json.dumps(event) + "\n" for event in events)
        return httpx.post(
            must_run(self.home).url("inbox") + "/v1/raw_transactions/batch",
            content=lines,
            headers={"token": self.api_keys[name], "content-type": "application/x-ndjson"},
            verify=trusted(self.home),
            timeout=60,
            trust_env=False,
        )

    def drop(self, name: str, files: Mapping[str, bytes]) -> None:
        """Put files ("bank/statement.xml") into the drop over sFTP; the host key is checked."""
        port = must_run(self.home).ports["sftp"]
        doors = platform_key(provider_for(self.home), self.home.uuid, "doors")
        expected = host_key(self.home, doors).export_public_key().decode().split()[1]
        with paramiko.SSHClient() as client:
            known = paramiko.PKey.from_type_string("ssh-ed25519", base64.b64decode(expected))
            client.get_host_keys().add(f"[127.0.0.1]:{port}", "ssh-ed25519", known)
            client.set_missing_host_key_policy(paramiko.RejectPolicy())
            client.connect(
                "127.0.0.1",
                port=port,
                username=name,
                pkey=self.sftp_keys[name],
                allow_agent=False,
                look_for_keys=False,
                timeout=30,
            )
            with client.open_sftp() as sftp:
                for path, content in files.items():
                    sftp.putfo(io.BytesIO(content), path, confirm=False)  # the drop shows nothing back

    def upload(self, name: str, source: str, content: bytes, file: str, day: date) -> Unit:
        """Hand a file over, as `actuals source upload` does."""
        with self.opened(name) as env:
            return upload(env, source_of(env, source), io.BytesIO(content), name=file, day=day)

    # --- Look ---------------------------------------------------------------------------------------------------------

    def wait_until_quiet(self, name: str) -> None:
        """Wait until the sensors have taken in and reconciled all that can be."""
        with self.opened(name) as env:

            def is_quiet() -> bool:
                now = datetime.now(UTC)
                # In this order: what leaves the first question is in the second.
                return not sources_waiting(env, now=now) and not packages_waiting(env, today=now.date())

            wait_for(is_quiet, QUIET_TIMEOUT_SECONDS)

    def statuses(self, name: str, package: str) -> dict[tuple[str, str], Status]:
        """(source, row id) -> status and category, in the package's last close."""
        with self.opened(name) as env:
            last = closes.last_close(env, package)
            assert last is not None
            rows = state_of(env, package, last).rows.to_pylist()
        return {(row["source"], row["row_id"]): (row["status"], row["category"] or "") for row in rows}

    def live(self, name: str, source: str) -> dict[str, int]:
        """Row id -> minor units of what is live; a row that is live twice fails the test."""
        with self.opened(name) as env:
            rows = live(env, source).read_all().to_pylist()
        found = {row["row_id"]: row["amount_minor_units"] for row in rows}
        assert len(found) == len(rows)
        return found

    @contextmanager
    def dagsters_database(self) -> Iterator[sa.Connection]:
        """Dagster's own tables, as its role sees them."""
        found = must_run(self.home)
        passwords = read_platform_credentials(self.home, provider_for(self.home))
        database = engine(found.postgres, "dagster", "dagster", passwords[DAGSTER])
        try:
            with database.connect() as connection:
                yield connection
        finally:
            database.dispose()


@contextmanager
def kept_up(home: Home) -> Iterator[None]:
    """`actuals up` in a process of its own; at the end it is stopped as by Ctrl-C, and whatever is left is killed."""
    command = [sys.executable, "-m", "actuals_pipelines.cli", "up", "--home", str(home.root), "--look-every", "2"]
    with (home.run / "up.log").open("wb") as log:
        up = subprocess.Popen(command, env={**base_environment(), **key_environment()}, stdout=log, stderr=log)
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: up.poll() is not None or all_healthy(health(home)), UP_TIMEOUT_SECONDS)
        assert up.poll() is None, (home.run / "up.log").read_text()
        yield
    finally:
        if up.poll() is None:
            family = psutil.Process(up.pid).children(recursive=True)
            up.send_signal(signal.SIGINT)
        try:
            up.wait(60)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()
        with suppress(
            FileNotFoundError
        ):  # some kernels say so of a process that ended just now, and psutil passes it on
            _gone, left = psutil.wait_procs(family, timeout=10)
            for process in left:
                process.kill()


def wait_for(is_done: Callable[[], bool], timeout_seconds: float, every_seconds: float = 0.5) -> None:
    """Ask again and again; a journey that does not come to its end fails here."""
    deadline = time.monotonic() + timeout_seconds
    while not is_done():
        assert time.monotonic() < deadline, f"not done after {timeout_seconds} seconds"
        time.sleep(every_seconds)


def order(number: str, total: str, day: date, comment: str = "") -> dict[str, Any]:
    """An event of the shop."""
    return {
        "source_id": "shop",
        "id": f"e-{number}",
        "timestamp": f"{day}T12:00:00Z",
        "data": {"reference": f"order-{number}", "total": total, "currency": "EUR", "comment": comment},
    }


def psp_file(*lines: str) -> bytes:
    """A CSV file of the PSP."""
    return "".join(f"{line}\n" for line in (PSP_HEADER, *lines)).encode()


def statement(day: date, opening: str, closing: str, entries: Sequence[tuple[str, str]], memo: str = "") -> bytes:
    """A CAMT.053 statement of one day: (order number, credit) per entry, and the balances that it claims."""
    lines = "".join(
        f'<Ntry><NtryRef>{number}</NtryRef><Amt Ccy="EUR">{amount}</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>'
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>B-{day}-{number}</AcctSvcrRef>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>order-{number}</EndToEndId></Refs>"
        f"<RmtInf><Ustrd>{memo or 'thanks'}</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>\n"
        for number, amount in entries
    )
    balances = "".join(
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{amount}</Amt>'
        f"<CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>{day}</Dt></Dt></Bal>"
        for code, amount in (("OPBD", opening), ("CLBD", closing))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"><BkToCstmrStmt>\n'
        f"<Stmt><Id>S-{day}</Id><Acct><Id><IBAN>NL02ABNA0123456789</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{balances}\n{lines}</Stmt></BkToCstmrStmt></Document>\n"
    ).encode()
