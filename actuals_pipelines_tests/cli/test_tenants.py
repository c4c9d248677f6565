"""The commands around tenants, as a person or a script calls them: words, JSON, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actuals_pipelines_tests.tenants.examples import ACME, changed

_MAIN = "from actuals_pipelines.cli import main; main()"
_LOGIN = "open('/proc/self/loginuid', 'w').write('{}');"


@dataclass(frozen=True)
class Shell:
    """A working folder with a home, in which commands are called as processes of their own."""

    folder: Path

    def run(self, *words: str, given: str = "", login: int | None = None) -> subprocess.CompletedProcess[str]:
        """Call `actuals`; `login` is the user who logged in and works under this account, as with sudo."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ACTUALS_")}
        environment["ACTUALS_KEYS"] = str(self.folder / "keys")
        return subprocess.run(
            [sys.executable, "-c", _MAIN if login is None else _LOGIN.format(login) + _MAIN, *words],
            input=given,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environment,
            timeout=120,
            check=False,
        )

    def json(self, *words: str, given: str = "") -> Any:
        done = self.run(*words, "--json", given=given)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def file(self, text: str) -> str:
        (self.folder / "acme.yaml").write_text(text)
        return "acme.yaml"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A home with the tenant acme."""
    made = Shell(tmp_path_factory.mktemp("shell"))
    assert made.run("init").returncode == 0
    assert made.json("tenant", "apply", made.file(ACME))["is_new"]
    yield made


def test_init_says_where_the_key_is_and_can_be_repeated(shell: Shell) -> None:
    again = shell.json("init")

    assert again["was_made"] is False
    assert Path(again["key"]).parent == shell.folder / "keys"
    assert Path(again["ca_certificate"]).exists()


def test_applying_the_same_file_again_is_done_without_asking(shell: Shell) -> None:
    done = shell.run("tenant", "apply", shell.file(ACME))

    assert done.returncode == 0
    assert "Nothing changes: version " in done.stdout


def test_a_home_that_does_not_run_loads_the_change_when_it_starts(shell: Shell) -> None:
    assert shell.json("tenant", "apply", shell.file(ACME))["loaded"] is False


def test_a_change_is_shown_and_needs_a_yes(shell: Shell) -> None:
    file = shell.file(changed("title: Acme Retail", "title: Acme Group"))

    refused = shell.run("tenant", "apply", file, given="n\n")
    asked = shell.run("tenant", "apply", file, "--json")
    agreed = shell.run("tenant", "apply", file, "--yes")

    assert refused.returncode == 1
    assert "~ title: Acme Retail -> Acme Group" in refused.stdout
    assert asked.returncode == 1
    assert json.loads(asked.stdout) == {
        "tenant": "acme",
        "applied": False,
        "difference": ["~ title: Acme Retail -> Acme Group"],
    }
    assert agreed.returncode == 0
    assert "Applied: version 2" in agreed.stdout
    assert shell.run("tenant", "apply", shell.file(ACME), "--yes").returncode == 0


def test_a_broken_file_is_refused_with_file_line_and_column(shell: Shell) -> None:
    done = shell.run("tenant", "apply", shell.file(changed("kind: inbox", "kind: letter")))

    assert done.returncode == 2
    assert (
        "acme.yaml:12:9: expected one of upload, sftp, inbox, oauth_api, sftp_remote, files, found 'letter'"
        in done.stderr
    )


def test_a_file_comes_back_as_it_was_applied(shell: Shell) -> None:
    assert shell.run("tenant", "show", "acme", "--yaml", "--version", "1").stdout == ACME


def test_tenants_are_listed(shell: Shell) -> None:
    [listed] = shell.json("tenant", "list")["tenants"]

    assert (listed["name"], listed["environments"], listed["sources"]) == ("acme", ["prod"], ["shop", "psp", "bank"])
    assert "acme" in shell.run("tenant", "list").stdout


def test_an_unknown_tenant_is_an_error_for_people_and_for_scripts(shell: Shell) -> None:
    done = shell.run("tenant", "show", "acmee", "--json")

    assert done.returncode == 2
    assert json.loads(done.stdout)["error"] == "TenantUnknown"
    assert "There are: acme" in done.stderr


def test_a_secret_comes_from_standard_input_and_is_listed_by_name_alone(shell: Shell) -> None:
    done = shell.run("secret", "set", "acme", "psp_secret", given="hunter2-hunter2\n")
    listed = shell.run("secret", "list", "acme", "--json")

    assert done.returncode == 0
    assert [each["name"] for each in json.loads(listed.stdout)["secrets"]] == ["psp_secret"]
    assert "hunter2" not in done.stdout + done.stderr + listed.stdout


def test_an_empty_secret_is_refused(shell: Shell) -> None:
    done = shell.run("secret", "set", "acme", "psp_secret", given="\n")

    assert done.returncode == 2
    assert "the value is empty" in done.stderr


def test_an_api_key_is_made_listed_and_revoked(shell: Shell) -> None:
    made = shell.json("api-key", "create", "acme", "--owner", "web shop", "--source", "shop", "--expires", "2020-01-01")
    other = shell.json("api-key", "create", "acme", "--owner", "script", "--mode", "test")
    assert shell.run("api-key", "revoke", "acme", other["id"]).returncode == 0

    listed = {key["id"]: key for key in shell.json("api-key", "list", "acme")["api_keys"]}

    assert made["key"].startswith(f"prod_{made['id']}_")
    assert listed[made["id"]]["state"] == "expired"
    assert listed[other["id"]]["state"] == "revoked"
    assert [key["state"] for key in listed.values() if key["owner"] == "acme"] == ["valid"]
    [tenant] = shell.json("tenant", "list")["tenants"]
    assert tenant["environments"] == ["prod", "test"]  # made with its first key: what it sends has a place to go
    assert made["key"] not in json.dumps(listed)


def test_an_api_key_is_rotated_with_an_overlap_and_keeps_what_it_may(shell: Shell) -> None:
    made = shell.json(
        "api-key", "create", "--tenant", "acme", "--owner", "jo@example.com", "--owner-kind", "person",
        "--network", "192.0.2.0/24", "--sign", "hmac-sha256",
    )  # fmt: skip
    rotated = shell.json("api-key", "rotate", "--tenant", "acme", made["id"], "--overlap-hours", "2")

    listed = {key["id"]: key for key in shell.json("api-key", "list", "--tenant", "acme")["api_keys"]}
    old, new = listed[made["id"]], listed[rotated["id"]]
    assert made["signing_secret"] != rotated["signing_secret"]
    assert (new["owner"], new["owner_kind"], new["networks"]) == ("jo@example.com", "person", ["192.0.2.0/24"])
    assert (old["state"], new["state"], new["replaces"]) == ("valid", "valid", made["id"])
    assert old["expires_at"] is not None
    assert new["expires_at"] is None
    assert new["last_used_at"] is None
    assert not {made["signing_secret"], rotated["signing_secret"], made["key"]} & set(json.dumps(listed).split('"'))
    actions = [(entry["action"], entry["about"]) for entry in shell.json("audit", "list", "acme")["entries"]]
    assert ("api-key.rotate", f"{made['id']} -> {rotated['id']}") in actions


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["create", "acme", "--network", "everywhere"], "'everywhere' is not a network"),
        (["create", "acme", "--sign", "ed25519"], "--public-key"),
        (["create"], "Name the tenant once"),
        (["create", "acme", "--tenant", "acme"], "Name the tenant once"),
        (["rotate", "acme", "0123456789abcdef"], "has no API key with the id"),
        (["rotate", "--tenant", "acme"], "KEY_ID"),
    ],
)
def test_a_key_that_cannot_be_made_says_what_to_write(shell: Shell, words: list[str], says: str) -> None:
    done = shell.run("api-key", *words)
    assert done.returncode == 2
    assert says in done.stderr


def test_without_a_home_the_error_lists_where_it_looked(shell: Shell, tmp_path: Path) -> None:
    done = Shell(tmp_path).run("tenant", "list")

    assert done.returncode == 2
    assert str(tmp_path / ".actuals") in done.stderr
