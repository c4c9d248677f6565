"""Run a home's services as children and start them again when they end: circus, in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from circus import get_arbiter

from actuals_pipelines.operations.services import Service

GRACE_SECONDS = 20


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
    watchers = [
        {
            "name": service.name,
            "cmd": service.command[0],
            "args": list(service.command[1:]),
            "env": dict(service.environment),
            "copy_env": False,  # a child gets what it needs, not what our shell had
            "graceful_timeout": GRACE_SECONDS,
            "stop_children": True,
            "max_retry": -1,
            "singleton": True,
            "stdout_stream": {"class": "FileStream", "filename": str(logs / f"{service.name}.log")},
            "stderr_stream": {"class": "FileStream", "filename": str(logs / f"{service.name}.log")},
        }
        for service in services
    ]
    arbiter = get_arbiter(
        watchers,
        controller=f"ipc://{sockets}/control",
        pubsub_endpoint=f"ipc://{sockets}/events",
        check_delay=1.0,
    )
    try:
        arbiter.start()
    finally:
        asyncio.set_event_loop(None)
