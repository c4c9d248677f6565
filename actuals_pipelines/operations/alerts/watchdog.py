"""Look every minute at all that can be wrong, and tell what changed. It runs in the process that runs the home.

There it outlives every service it watches, and there the keys are that open the homes' passwords anyway.
"""

from __future__ import annotations

import logging
import smtplib
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import httpx
import sqlalchemy as sa

from actuals_pipelines.database.server import engine, tenant_engine
from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.alerts import book
from actuals_pipelines.operations.alerts.channels import AlertSettings, Smtp, Webhook, read_settings
from actuals_pipelines.operations.alerts.dagster_findings import dagster_findings
from actuals_pipelines.operations.alerts.finding import Finding, Look
from actuals_pipelines.operations.alerts.secrets import alert_secret
from actuals_pipelines.operations.alerts.tenant_findings import tenant_findings
from actuals_pipelines.operations.health import health, location_health
from actuals_pipelines.operations.loaded import asset_prefix
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.platform_credentials import DAGSTER, read_platform_credentials
from actuals_pipelines.settings import Home
from actuals_pipelines.tenants.credentials import credentials
from actuals_pipelines.tenants.registry import Registered, list_tenants

log = logging.getLogger("actuals.alerts")

LOOK_EVERY_SECONDS = 60
LOG_CHANNEL = "log"
_UNREACHABLE = (OSError, httpx.HTTPError, smtplib.SMTPException, ActualsError)


def watch(platform: Platform, stop: threading.Event) -> None:
    """Look until `stop` is set. What breaks a look is logged, and the next look is made all the same."""
    sick: set[str] = set()
    while not stop.is_set():
        try:
            sick = look_once(platform, datetime.now(UTC), sick)
        except (ActualsError, sa.exc.SQLAlchemyError, OSError) as error:
            log.error("look failed: kind=%s", type(error).__name__)
        stop.wait(LOOK_EVERY_SECONDS)


def look_once(platform: Platform, now: datetime, sick_before: set[str]) -> set[str]:
    """One look: find, record, tell.

    Args:
        sick_before: services that were unhealthy at the look before; a service that starts again is no alert yet.

    Returns:
        the services that are unhealthy now.
    """
    settings = read_settings(platform.home.root)
    look = Look()
    sick = _sick_services(platform.home)
    look.add("services", (_unhealthy(name) for name in sorted(sick & sick_before)))
    passwords = read_platform_credentials(platform.home, platform.provider)
    dagster = engine(platform.address, "dagster", "dagster", passwords[DAGSTER], name="actuals alerts")
    try:
        _guarded(look, "dagster", lambda: dagster_findings(dagster, now))
    finally:
        dagster.dispose()
    for registered in list_tenants(platform.control):
        for environment in registered.environments:
            name = asset_prefix(registered.tenant.name, registered.ref(environment))
            find = partial(_of_tenant, platform, name, registered, environment, settings.unclaimed_hours, now)
            _guarded(look, f"tenant {name}", find)
    book.record(platform.control, look, [LOG_CHANNEL, *(channel.name for channel in settings.channels)], now)
    deliver(platform, settings, now)
    return sick


def deliver(platform: Platform, settings: AlertSettings, now: datetime) -> None:
    """Tell every channel what it was not told yet. One that fails is tried again at the next look."""
    channels = {channel.name: channel for channel in settings.channels}
    broken: set[str] = set()
    for message in book.untold(platform.control, now):
        if message.channel in broken:
            continue
        failure = None
        try:
            if message.channel == LOG_CHANNEL:
                log.log(_level(message), "%s: %s", message.event, message.alert.what)
            elif message.channel in channels:
                send(platform, channels[message.channel], message)
        except _UNREACHABLE as error:
            failure = type(error).__name__
            broken.add(message.channel)
            log.error("channel failed: channel=%s kind=%s", message.channel, failure)
        book.told(platform.control, message, now, failure=failure)


def send(platform: Platform, channel: Webhook | Smtp, message: book.Message) -> None:
    """Send one message. Raises what the channel's library does, and ConfigurationError for a secret that is not set."""
    alert = message.alert
    facts = {
        "event": message.event,
        "severity": alert.severity,
        "tenant": alert.tenant,
        "key": alert.key,
        "opened_at": alert.opened_at.isoformat(timespec="seconds"),
    }
    text = alert.what if message.event == "resolved" else f"{alert.what}.\n{alert.advice}"
    subject = f"[actuals] {alert.severity} {message.event}: {alert.what}"
    channel.send(subject, f"{text}\nHome: {platform.home.root}", facts, lambda name: alert_secret(platform, name))


def _of_tenant(  # noqa: PLR0917 - bound by `partial`
    platform: Platform, name: str, registered: Registered, environment: str, unclaimed_hours: int, now: datetime
) -> list[Finding]:
    ref = registered.ref(environment)
    passwords = credentials(platform.control, platform.provider, ref) or {}
    database = tenant_engine(platform.address, ref, "ro", passwords.get("ro", ""), name="actuals alerts")
    try:
        return list(tenant_findings(database, name, registered.tenant, now, unclaimed_hours=unclaimed_hours))
    finally:
        database.dispose()


def _guarded(look: Look, scope: str, find: Callable[[], Iterable[Finding]]) -> None:
    """A place that cannot be looked at is itself a finding; what was found there before stays open."""
    watched = f"watch {scope}"
    try:
        look.add(scope, find())
    except sa.exc.SQLAlchemyError as error:
        what = f"the watchdog cannot look at {scope}: {type(error).__name__}"
        look.add(watched, [Finding(watched, "error", what, "See run/logs/alerts.log and the database's own log.")])
    else:
        look.add(watched, [])


def _sick_services(home: Home) -> set[str]:
    with suppress(sa.exc.SQLAlchemyError):
        sick = {one.name for one in health(home) if not one.healthy}
        return sick | {one.name for one in location_health(home) if not one.healthy}
    return {"postgres"}


def _unhealthy(name: str) -> Finding:
    advice = f"See run/logs/{name}.log of the home, and `actuals status`."
    return Finding(f"service {name}", "error", f"{name} does not do its work", advice)


def _level(message: book.Message) -> int:
    if message.event == "resolved":
        return logging.INFO
    return logging.ERROR if message.alert.severity == "error" else logging.WARNING
