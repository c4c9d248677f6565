"""Run a home's services as children and start them again when they end: circus, in this process.

A running supervisor is told of code locations that came or went over its own socket, in the 0700 folder of sockets.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from circus import get_arbiter
from circus.client import CircusClient
from circus.exc import CallError

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations.services import Service

GRACE_SECONDS = 20
CALL_TIMEOUT_SECONDS = 60


class SupervisorSilent(ActualsError):
    """The process that runs the home did not take an order."""

    def __init__(self, order: str) -> None:
        super().__init__(order)
        self.order = order

    def __str__(self) -> str:
        return f"`actuals up` did not {self.order}. See its terminal; stop it with Ctrl-C and start it again."


def run(services: Sequence[Service], logs: Path, sockets: Path) -> None:
    """Start the services in their order and keep them until SIGINT or SIGTERM; then stop them all.

    Args:
        logs: folder (0700) for a file a service; services log identifiers, never values.
        sockets: short folder (0700) for the supervisor's own control socket: on TCP any local user could command it.
    """
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.getLogger("circus").setLevel(logging.WARNING)
    # While it stops, circus' own periodic check runs into its stop and tornado logs that, harmlessly, with a traceback.
    logging.getLogger("tornado.application").setLevel(logging.CRITICAL)
    arbiter = get_arbiter(
        [_watcher(service, logs) for service in services],
        controller=_control(sockets),
        pubsub_endpoint=f"ipc://{sockets}/events",
        check_delay=1.0,
    )
    try:
        arbiter.start()
    finally:
        asyncio.set_event_loop(None)


def follow_locations(locations: Sequence[Service], logs: Path, sockets: Path) -> bool:
    """Start the locations that do not run yet and stop those that are gone; true if there were any.

    The daemon is started again then: it reads its workspace once a minute, and nobody waits that long. Runs go on, as
    children of their code servers.

    Args:
        locations: all of the home's, named as their services.
    """
    client = CircusClient(endpoint=_control(sockets), timeout=CALL_TIMEOUT_SECONDS)
    try:
        there = {name for name in _call(client, "list")["watchers"] if _is_location(name)}
        wanted = {service.name: service for service in locations}
        for name in sorted(there - set(wanted)):
            _call(client, "rm", name=name, waiting=True)
        for name in sorted(set(wanted) - there):
            watcher = _watcher(wanted[name], logs)
            command = {key: watcher.pop(key) for key in ("name", "cmd", "args")}
            _call(client, "add", **command, options=watcher, start=True, waiting=True)
        changed = there != set(wanted)
        if changed:
            _call(client, "restart", name="daemon", waiting=True)
        return changed
    finally:
        client.stop()


def _is_location(name: str) -> bool:
    return name.startswith("tenant_") or name == "actuals"


def _watcher(service: Service, logs: Path) -> dict[str, Any]:
    log_file = {"class": "FileStream", "filename": str(logs / f"{service.name}.log")}
    return {
        "name": service.name,
        "cmd": service.command[0],
        "args": list(service.command[1:]),
        "env": dict(service.environment),
        "copy_env": False,  # a child gets what it needs, not what our shell had
        "graceful_timeout": GRACE_SECONDS,
        "stop_children": True,
        "max_retry": -1,
        "singleton": True,
        "stdout_stream": log_file,
        "stderr_stream": dict(log_file),
    }


def _control(sockets: Path) -> str:
    return f"ipc://{sockets}/control"


def _call(client: CircusClient, command: str, **properties: Any) -> Mapping[str, Any]:
    try:
        answer: Mapping[str, Any] = client.call({"command": command, "properties": properties})
    except CallError:
        raise SupervisorSilent(command) from None
    if answer.get("status") != "ok":
        raise SupervisorSilent(f"{command} {properties.get('name', '')}".rstrip())
    return answer
