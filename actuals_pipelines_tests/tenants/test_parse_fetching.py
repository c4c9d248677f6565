"""A source that fetches files, as its YAML says it: every wrong line is told with its place and what to write."""

from __future__ import annotations

import pytest

from actuals_pipelines.domain.fetching import After, Fetching, Ready
from actuals_pipelines.domain.source import SourceKind
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines.yaml_text import YamlRefused

YAML = """\
name: acme
sources:
- name: bank
  kind: {kind}
  format: csv
  day_from: {day_from}
  connection: {{{connection}}}
  mapping: {{row_id: Id, transaction_id: Order, booked_on: Day, amount: Amount, currency: Currency}}
"""
SFTP = "host: sftp.bank.example, user: acme"


def yaml(connection: str, *, kind: str = "sftp_remote", day_from: str = "arrival") -> str:
    return YAML.format(connection=connection, kind=kind, day_from=day_from)


def test_a_source_says_which_files_are_fetched_when_and_what_becomes_of_them() -> None:
    more = (
        "files: '*.csv', ready: manifest, after: move, move_to: done, limit_mb: 10, connections: 2, password: bank_pw"
    )

    [source] = parse_tenant(yaml(f"{SFTP}, {more}", day_from="name"), origin="acme.yaml").sources

    assert (source.kind, source.day_from) == (SourceKind.SFTP_REMOTE, "name")
    how = Fetching.of(source.connection)
    assert (how.files, how.ready, how.after, how.move_to) == ("*.csv", Ready.MANIFEST, After.MOVE, "done")
    assert (how.limit_bytes, how.connections) == (10 << 20, 2)


def test_files_are_fetched_from_a_bucket_with_secrets_by_name() -> None:
    text = "url: s3://exports/acme, access_key: s3_id, secret_key: s3_secret, region: eu-west-1"

    [source] = parse_tenant(yaml(text, kind="files"), origin="acme.yaml").sources

    assert source.connection["url"] == "s3://exports/acme"


@pytest.mark.parametrize(
    ("connection", "kind", "expected"),
    [
        ("user: acme", "sftp_remote", "a key 'host'"),
        (f"{SFTP}, hots: x", "sftp_remote", "a key of a connection of this kind"),
        (f"{SFTP}, port: '70000'", "sftp_remote", "a port from 1 to 65535"),
        (f"{SFTP}, ready: soon", "sftp_remote", "one of stable, renamed, manifest"),
        (f"{SFTP}, after: move", "sftp_remote", "`after: move` together with `move_to: FOLDER`"),
        (f"{SFTP}, day_pattern: '(\\d+'", "sftp_remote", "the groups year, month and day"),
        (f"{SFTP}, password: 'Geheim!9'", "sftp_remote", "the name of a secret"),
        ("url: http://exports/acme", "files", "a URL of scheme s3 or gs or gcs or abfs or file"),
        ("url: s3://id:geheim@exports/acme", "files", "a URL without credentials"),
    ],
)
def test_a_wrong_connection_is_refused_with_what_is_expected(connection: str, kind: str, expected: str) -> None:
    with pytest.raises(YamlRefused) as refused:
        parse_tenant(yaml(connection, kind=kind), origin="acme.yaml")

    assert expected in str(refused.value)
    assert "eheim" not in str(refused.value)
