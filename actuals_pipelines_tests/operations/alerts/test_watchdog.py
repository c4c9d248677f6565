"""One look at a home that does not run: what is wrong is found, kept and told, and nothing stops the look."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from actuals_pipelines.operations.alerts import book
from actuals_pipelines.operations.alerts.secrets import AlertSecretRefused, alert_secret, set_alert_secret
from actuals_pipelines.operations.alerts.watchdog import look_once
from actuals_pipelines.operations.platform import Platform
from actuals_pipelines.operations.provision import apply
from actuals_pipelines_tests.operations.test_locations import TENANT

NOW = datetime.now(UTC)
SERVICES = {"postgres", "inbox", "sftp", "dagster", "daemon", "actuals"}


def test_a_service_that_is_down_at_two_looks_is_told_and_so_is_a_place_that_cannot_be_looked_at(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """Dagster has no tables here: that it cannot be looked at is an alert; the tenants are looked at all the same."""
    assert apply(platform, TENANT.format(name="watched", isolation="shared"), "watched.yaml")
    (platform.home.root / "alerts.yaml").write_text(
        "channels: [{kind: webhook, name: chat, url: 'https://127.0.0.1:1/', token: chat_token}]\n"
    )
    try:
        with caplog.at_level(logging.INFO, "actuals.alerts"):
            sick = look_once(platform, NOW, set())
            first = {one.key for one in book.alerts(platform.control)}
            look_once(platform, NOW, sick)
            second = {one.key for one in book.alerts(platform.control)}
    finally:
        (platform.home.root / "alerts.yaml").unlink()

    assert sick >= SERVICES
    assert "watch dagster" in first
    assert not any(key.startswith("service") for key in first)
    assert second >= {f"service {name}" for name in SERVICES}
    assert not any(key.startswith("watch tenant") for key in second)
    assert "opened: inbox does not do its work" in caplog.text
    assert ("chat", "AlertSecretRefused") in {(name, kind) for name, kind, _ in book.failing_channels(platform.control)}


def test_a_channels_secret_is_kept_sealed_in_the_home(platform: Platform) -> None:
    set_alert_secret(platform, "mail_password", "s3cret-value")

    assert alert_secret(platform, "mail_password") == "s3cret-value"
    assert b"s3cret-value" not in (platform.home.root / "credentials.sealed").read_bytes()
    with pytest.raises(AlertSecretRefused):
        alert_secret(platform, "other")
