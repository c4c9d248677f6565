"""Where alerts go: mail over TLS and webhooks over HTTPS, as `alerts.yaml` of the home says; secrets by name.

    unclaimed_hours: 4
    channels:
    - {kind: webhook, name: chat, url: https://chat.example/hooks/1, token: chat_token}
    - {kind: smtp, name: mail, host: mail.example, port: 587, sender: actuals@example.com, to: [ops@example.com],
       user: actuals, password: mail_password}

`token` and `password` are names of secrets (`actuals alert secret NAME`). A webhook is sent one JSON object; its
`text` is the whole message, as most chats take it. The log of alerts needs no channel: it is always written.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from actuals_pipelines.errors import ConfigurationError
from actuals_pipelines.yaml_text import load, read_text

FILE = "alerts.yaml"
TIMEOUT_SECONDS = 20
Secrets = Callable[[str], str]
"""Gives the secret of that name; raises ConfigurationError if it was not set."""


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"):
    """An address that takes a POST."""

    name: str
    url: str
    token: str | None = None  # the name of a secret, sent as a bearer token
    ca_certificate: str | None = None  # a file; else the machine's authorities

    def send(self, subject: str, text: str, facts: Mapping[str, str | None], secrets: Secrets) -> None:
        """Post it. Raises httpx.HTTPError."""
        headers = {"authorization": f"Bearer {secrets(self.token)}"} if self.token else {}
        answer = httpx.post(
            self.url,
            json={"text": f"{subject}\n{text}", **facts},
            headers=headers,
            verify=ssl.create_default_context(cafile=self.ca_certificate),
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,  # the token goes where the operator said, and nowhere else
            trust_env=False,
        )
        if not answer.is_success:
            raise httpx.HTTPStatusError("not taken", request=answer.request, response=answer)


class Smtp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="smtp"):
    """A mail server; TLS is not optional."""

    name: str
    host: str
    sender: str
    to: list[str]
    port: int = 587
    tls: Literal["starttls", "implicit"] = "starttls"
    user: str | None = None
    password: str | None = None  # the name of a secret
    ca_certificate: str | None = None

    def send(self, subject: str, text: str, facts: Mapping[str, str | None], secrets: Secrets) -> None:
        """Send one mail to all. Raises OSError, smtplib.SMTPException."""
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = subject, self.sender, ", ".join(self.to)
        mail.set_content(text)
        context = ssl.create_default_context(cafile=self.ca_certificate)
        server: smtplib.SMTP
        if self.tls == "implicit":
            server = smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT_SECONDS, context=context)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)
        with server:
            if self.tls == "starttls":
                server.starttls(context=context)
            if self.user:
                server.login(self.user, secrets(self.password or ""))
            server.send_message(mail)


class AlertSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a home's alerts.yaml says."""

    channels: list[Webhook | Smtp] = []
    unclaimed_hours: int = 4  # how long an arrival may wait


class AlertsRefused(ConfigurationError):
    """alerts.yaml is not right."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path, self.found = path, found

    def __str__(self) -> str:
        return f"{self.path} is refused: {self.found}. `actuals alert --help` shows what it may say."


def read_settings(root: Path) -> AlertSettings:
    """The home's alerts.yaml; without one there is only the log. Raises AlertsRefused, YamlRefused."""
    path = root / FILE
    if not path.exists():
        return AlertSettings()
    try:
        settings = msgspec.convert(load(read_text(path), str(path)).data, AlertSettings, strict=False)
    except msgspec.ValidationError as error:  # names keys and kinds; it quotes tags and unknown keys alone
        raise AlertsRefused(str(path), str(error)) from None
    names = [channel.name for channel in settings.channels]
    if len(set(names)) < len(names):
        raise AlertsRefused(str(path), "two channels have the same name")
    for channel in settings.channels:
        if isinstance(channel, Webhook) and not channel.url.startswith("https://"):
            raise AlertsRefused(str(path), f"the url of {channel.name!r} is not https://")
        if isinstance(channel, Smtp) and bool(channel.user) != bool(channel.password):
            raise AlertsRefused(str(path), f"{channel.name!r} needs both user and password, or neither")
    return settings
