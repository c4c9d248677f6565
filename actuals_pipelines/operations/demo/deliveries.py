"""What the demo's customers do: get an environment, push orders, drop files; and the pull that the platform makes."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from actuals_pipelines.encryption.providers import platform_key, provider_for
from actuals_pipelines.operations.demo.house import DemoFailed
from actuals_pipelines.operations.demo_data import DemoData, demo_tenant_yaml
from actuals_pipelines.operations.loaded import LoadedTenant, load_tenant
from actuals_pipelines.operations.provision import apply
from actuals_pipelines.operations.reconcile import packages_waiting
from actuals_pipelines.operations.reload import reload_and_wait
from actuals_pipelines.operations.running import must_run, trusted
from actuals_pipelines.operations.runs import STEPS, client_of
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.operations.take_in import sources_waiting
from actuals_pipelines.settings import Home
from actuals_pipelines.sources.sftp.host_key import host_key
from actuals_pipelines.store import catalogue, closes
from actuals_pipelines.tenants.secrets import set_secret

CLIENT_SECRET = "psp_client_secret"  # noqa: S105 - the name of a secret, not one
QUIET_TIMEOUT_SECONDS = 900
PULL_TIMEOUT_SECONDS = 900

Tell = Callable[[str], None]


def provision(home: Home, name: str, psp_url: str, first_day: date, world: Path) -> str:
    """Apply the tenant's file, set its secret, let the running home take it up; return its inbox key."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (world / f"{name}.key").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    text = demo_tenant_yaml(
        name,
        psp_url,
        start=first_day,
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


def push(home: Home, key: str, data: DemoData) -> None:
    """Send the shop's orders to the inbox, a day's file in batches."""
    url = must_run(home).url("inbox") + "/v1/raw_transactions/batch"
    headers = {"token": key, "content-type": "application/x-ndjson"}
    with httpx.Client(verify=trusted(home), headers=headers, timeout=60, trust_env=False) as client:
        for path in data.shop:
            lines = path.read_bytes().splitlines(keepends=True)
            for start in range(0, len(lines), 2000):
                answer = client.post(url, content=b"".join(lines[start : start + 2000]))
                if answer.status_code not in (httpx.codes.OK, httpx.codes.CREATED):
                    raise DemoFailed("push orders", f"the inbox answered {answer.status_code}")


def drop(home: Home, name: str, data: DemoData, world: Path) -> None:
    """Put the tenant's files into its folders of the drop; the host key is checked against the home's own."""
    found = must_run(home)
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
            for folder, paths in (("bank", data.bank), ("settlement", data.settlement)):
                for path in paths:
                    sftp.put(str(path), f"{folder}/{path.name}", confirm=False)  # the drop shows nothing back


def pull(home: Home, tenants: Sequence[str], days: Sequence[date], tell: Tell) -> None:
    """One run that pulls the PSP for every tenant and day, as the nightly schedule asks for it."""
    client = client_of(home)
    assets = [(name, "psp", step) for name in tenants for step in STEPS]
    job = next(name for name in client.assets()[assets[0]] if name.startswith("take_in"))
    tags = {"actuals/tenants": ",".join(tenants), "actuals/asked_by": "demo"}
    run_id = client.launch(job, assets, days[0], days[-1], tags)
    end = client.wait(
        run_id,
        PULL_TIMEOUT_SECONDS,
        lambda state: tell(f"  pull: {state.status.lower()}, {state.steps_done}/{state.steps} steps"),
    )
    if end.status != "SUCCESS":
        raise DemoFailed("pull the PSP", f"run {run_id} ended as {end.status}; failed: {', '.join(end.failed_steps)}")


def wait_until_quiet(home: Home, names: Sequence[str], last_day: date, tell: Tell) -> None:
    """Wait until every source is published and every package closed to the last day, by the sensors alone."""
    tenants = [load_tenant(home, name) for name in names]
    deadline = time.monotonic() + QUIET_TIMEOUT_SECONDS
    told: list[str] = []
    while todo := [words for loaded in tenants for words in _todo(loaded, last_day)]:
        if todo != told:
            tell(f"  waiting: {'; '.join(todo[:4])}{' ...' if len(todo) > 4 else ''}")
            told = todo
        if time.monotonic() > deadline:
            raise DemoFailed("take in and reconcile", f"after {QUIET_TIMEOUT_SECONDS} s still: {'; '.join(todo)}")
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
