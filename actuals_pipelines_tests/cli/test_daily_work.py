"""The commands of daily work on a real home: report, explain, find, day, source, error."""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from actuals_pipelines.errors import Interrupted
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.reports import explanations, found_by, open_items_of, opened_close, overview_of
from actuals_pipelines.settings import find_home
from actuals_pipelines_tests.cli.daily_work import CANARY, DAY, a_day_of_work, a_home, take_in_and_close
from actuals_pipelines_tests.cli.test_tenants import Shell


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A home whose tenant acme has one closed day."""
    with a_home(tmp_path_factory.mktemp("work")) as shell:
        a_day_of_work(shell)
        yield shell


def document(shell: Shell, *words: str, code: int) -> Any:
    """The JSON of a command that ends with this code."""
    done = shell.run(*words, "--json")
    assert done.returncode == code, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_the_report_shows_figures_statuses_and_a_bridge_without_residual(shell: Shell) -> None:
    done = shell.run("report", "acme", "orders_vs_psp")

    assert done.returncode == 1, done.stderr  # something is unmatched
    assert done.stdout.startswith("orders_vs_psp: Is every order paid for its exact amount?\nClose of 2026-02-03")
    assert re.search(r"SOLL\s+shop\s+3\s+90\.00 EUR\s+1\s+20\.00 EUR\s+20\.00 EUR\s+66\.6 %", done.stdout)
    assert re.search(r"less explained: fee\s+1\s+-0\.35 EUR", done.stdout)
    assert re.search(r"residual\s+0\.00 EUR", done.stdout)
    assert "actuals report acme orders_vs_psp --open-items" in done.stdout


def test_the_report_as_json_has_the_same_in_minor_units(shell: Shell) -> None:
    [package] = document(shell, "report", "acme", "orders_vs_psp", code=1)["packages"]

    lines = {(line["source"], line["currency"]): line for line in package["sources"]}
    assert (lines["shop", "EUR"]["amount"], lines["shop", "EUR"]["impact_net"]) == (9000, 2000)
    assert lines["shop", "JPY"]["amount"] == 500
    assert all(bridge["residual"] == 0 for bridge in package["bridges"])


def test_a_package_without_a_close_is_named_and_not_forgotten(shell: Shell) -> None:
    assert document(shell, "report", "acme", code=1)["without_a_close"] == ["hooks_vs_psp"]
    assert "hooks_vs_psp: no close yet." in shell.run("report", "acme").stdout
    assert document(shell, "report", "acme", "--as-of", "2026-02-01", code=1)["packages"] == []


def test_open_items_come_with_age_reason_and_files_for_spreadsheets(shell: Shell) -> None:
    done = shell.run(
        "report", "acme", "orders_vs_psp", "--open-items", "--as-of", "2026-02-10", "--csv", "o.csv", "--xlsx", "o.xlsx"
    )

    assert done.returncode == 1, done.stderr
    assert re.search(r"36\s+2026-01-05\s+order-3\s+is in SOLL, not in IST", done.stdout)
    with (shell.folder / "o.csv").open(newline="") as file:
        items = {item["ids"]: item for item in csv.DictReader(file)}
    assert (items["order-3"]["difference"], items["order-3"]["age_days"]) == ("20.00", "36")
    assert items["order-2"]["category"] == "fee"
    assert "'=order-5" in items
    sheet = openpyxl.load_workbook(shell.folder / "o.xlsx").active
    assert sheet is not None
    assert sheet.max_row == len(items) + 1


def test_explain_tells_a_match_and_what_is_missing(shell: Shell) -> None:
    matched = shell.run("explain", "acme", "order-1")
    missing = shell.run("explain", "acme", "Order-3")  # the scheme cleans what is typed as it cleans what is delivered

    assert matched.returncode == 0, matched.stderr
    assert "pass 'order number' joined its rows, because they carry the same order id." in matched.stdout
    assert "No row of psp on IST (what is) has this id in EUR" in missing.stdout
    assert "due 1 business day after booking were over on 2026-01-06" in missing.stdout
    assert re.search(
        r"order-4\s+2026-01-05\s+20\.00 EUR\s+currency, amount\s+id differs in 1 character", missing.stdout
    )


def test_explain_as_json_names_the_rule_of_what_is_explained(shell: Shell) -> None:
    [found] = document(shell, "explain", "acme", "order-2", "--package", "orders_vs_psp", code=0)["explanations"]

    assert (found["status"], found["category"]) == ("explained", "fee")
    assert found["sentences"][-1].startswith("Explained as 'fee' by rule 'fee kept'")


def test_a_row_of_a_package_that_never_closed_is_not_processed(shell: Shell) -> None:
    found = document(shell, "explain", "acme", "order-4", "--package", "hooks_vs_psp", code=0)["explanations"]

    assert [one["status"] for one in found] == ["not_processed"]


def test_an_id_that_nobody_has_is_an_error_that_does_not_repeat_it(shell: Shell) -> None:
    for command in ("explain", "find"):
        done = shell.run(command, "acme", "nobody-4711")

        assert done.returncode == 2
        assert "No row of 'acme'" in done.stderr
        assert "4711" not in done.stderr


def test_find_shows_both_sides_and_their_status(shell: Shell) -> None:
    found = document(shell, "find", "acme", "order-1", code=0)

    assert {row["source"] for row in found["rows"]} == {"shop", "psp"}
    assert {outcome["status"] for outcome in found["outcomes"]} == {"matched"}
    assert "matched in orders_vs_psp as SOLL" in shell.run("find", "acme", "order-1").stdout


def test_day_shows_units_verdicts_publications_closes_and_rejects(shell: Shell) -> None:
    [unit] = document(shell, "day", "acme", "psp", str(DAY), "--rejects", code=0)["units"]

    assert unit["name"] == f"psp-{DAY}.csv"
    [generation] = unit["generations"]
    assert (generation["state"], generation["verdict"]) == ("published", "released")
    assert [check["check"] for check in generation["checks"] if check["outcome"] != "passed"] == ["rejects"]
    assert unit["closes"] == [{"package": "orders_vs_psp", "day": str(DAY), "version": 1}]
    assert [(reject["field"], reject["reason"]) for reject in unit["rejects"]] == [("amount", "more than 2 decimals")]
    assert "7.001" not in json.dumps(unit)
    words = shell.run("day", "acme", "psp", str(DAY)).stdout
    assert "published, verdict released: " in words
    assert "rejects failed (critical): records could not become transactions: 1 rejected records" in words
    assert "in the close of 2026-02-03 of orders_vs_psp" in words


def test_the_same_file_again_is_a_repeat_and_its_day_comes_from_its_name(shell: Shell) -> None:
    first, again = f"shop-{DAY}.csv", "copy.csv"
    (shell.folder / again).write_bytes((shell.folder / first).read_bytes())

    done = shell.run("source", "upload", "acme", "shop", again, "--day", "2026-02-05")

    assert done.returncode == 0, done.stderr
    assert re.search(r"Landed: unit [0-9a-f-]{36}, 0\.2 kB, for 2026-02-05\.", done.stdout)
    assert "The same content as unit " in done.stdout
    assert "sealing copy.csv: 0.2 kB of 0.2 kB" in done.stderr


def test_only_sources_of_files_take_files(shell: Shell) -> None:
    refused = shell.run("source", "upload", "acme", "hook", f"shop-{DAY}.csv")
    unknown = shell.run("source", "upload", "acme", "shoop", f"shop-{DAY}.csv")

    assert (refused.returncode, unknown.returncode) == (2, 2)
    assert "takes no files" in refused.stderr
    assert "There are: shop, psp, hook." in unknown.stderr


def test_an_unreadable_unit_is_held_explained_and_cannot_be_released(shell: Shell) -> None:
    (shell.folder / "shop-2026-02-04.csv").write_text("nothing,that,fits\n1,2,3\n")
    unit = shell.json("source", "upload", "acme", "shop", "shop-2026-02-04.csv")["unit"]
    take_in_and_close(shell.folder, DAY.replace(day=4), ("shop",), closes=False)

    day = shell.run("day", "acme", "shop", "2026-02-04")
    released = shell.run("source", "release", "acme", unit, "--reason", "looked at it")

    assert day.returncode == 1, day.stderr
    assert "readable failed (critical): " in day.stdout
    assert released.returncode == 2
    assert "could not be read" in released.stderr
    assert [s["units_held"] for s in shell.json("source", "list", "acme")["sources"]] == [1, 0, 0]


def test_what_is_not_held_is_not_released_and_a_reason_is_needed(shell: Shell) -> None:
    [unit] = document(shell, "day", "acme", "psp", str(DAY), code=0)["units"]

    assert "is not held" in shell.run("source", "release", "acme", unit["unit"], "--reason", "why not").stderr
    assert shell.run("source", "release", "acme", unit["unit"], "--reason", " ").returncode == 2
    assert "named by its id" in shell.run("source", "release", "acme", "psp", "--reason", "x").stderr


def test_one_person_released_alone_and_the_day_says_so(shell: Shell) -> None:
    [unit] = document(shell, "day", "acme", "psp", str(DAY), code=0)["units"]

    release = unit["generations"][0]["release"]
    assert (release["reason"], release["four_eyes"]) == ("a known typo", False)
    assert "alone: four eyes were off" in shell.run("day", "acme", "psp", str(DAY)).stdout


def test_a_release_needs_a_second_login(shell: Shell) -> None:
    day = "2026-02-06"
    (shell.folder / f"psp-{day}.csv").write_text("reference,gross,currency,day\norder-8,7.001,EUR,2026-02-06\n")
    unit = shell.json("source", "upload", "acme", "psp", f"psp-{day}.csv")["unit"]
    take_in_and_close(shell.folder, DAY.replace(day=6), ("psp",), closes=False)
    words = ("source", "approve", "acme", unit)
    try:
        Path("/proc/self/loginuid").write_text(Path("/proc/self/loginuid").read_text())
    except OSError:
        pytest.skip("this machine does not let a test log in as somebody else (CAP_AUDIT_CONTROL)")

    assert "Nobody has asked" in shell.run(*words).stderr
    asked = shell.run("source", "release", "acme", unit, "--reason", "the bank rounds", login=4711)
    alone = shell.run(*words, "--yes", login=4711)
    shown = shell.run(*words, given="n\n", login=4712)
    passed = shell.run(*words, "--yes", login=4712)

    assert (asked.returncode, alone.returncode, shown.returncode, passed.returncode) == (0, 2, 1, 0), alone.stderr
    assert f"actuals source approve acme {unit}" in asked.stdout
    assert "asked for by uid:4711, who is you" in alone.stderr
    assert "uid:4711 asks to release it: the bank rounds" in shown.stdout
    assert "rejects: records could not become transactions" in shown.stdout
    assert shell.run("day", "acme", "psp", day).returncode == 0


def test_the_audit_tells_who_did_what(shell: Shell) -> None:
    entries = document(shell, "audit", "list", "acme", code=0)["entries"]

    did = [entry["action"] for entry in entries]
    for action in ("tenant.apply", "api-key.create", "source.upload", "policy.set", "release.ask", "release.approve"):
        assert action in did
    assert "a known typo" in [entry["detail"] for entry in entries]
    assert all(entry["actor"].startswith("uid:") for entry in entries)
    assert "release.approve" in shell.run("audit", "list", "acme").stdout


def test_sources_are_listed_with_what_is_live(shell: Shell) -> None:
    shop, psp, _ = shell.json("source", "list", "acme")["sources"]

    assert (shop["live_rows"], shop["last_published"], psp["live_rows"]) == (4, str(DAY), 4)
    assert re.search(r"shop\s+upload\s+csv\s+add\s+4\s+2026-02-03", shell.run("source", "list", "acme").stdout)


def test_a_kept_error_is_shown_to_who_has_its_reference(shell: Shell) -> None:
    loaded = load_tenant(find_home(start=shell.folder), "acme")
    with pytest.raises(Interrupted) as failed, loaded.opened("test"):
        raise ValueError(f"a library's words about {CANARY}")

    [newest, *_] = document(shell, "error", "list", "acme", code=0)["errors"]
    assert (newest["reference"], newest["kind"], newest["place"]) == (
        failed.value.reference,
        "ValueError",
        "test of acme",
    )
    assert CANARY not in shell.run("error", "list", "acme").stdout
    shown = shell.run("error", "show", "acme", failed.value.reference)
    unknown = shell.run("error", "show", "acme", "4711")

    assert CANARY not in str(failed.value)
    assert f"a library's words about {CANARY}" in shown.stdout
    assert unknown.returncode == 2
    looked = [entry["about"] for entry in document(shell, "audit", "list", "acme", code=0)["entries"][-1:]]
    assert looked == [failed.value.reference]


def test_no_value_of_a_row_reaches_a_log(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    home = find_home(start=shell.folder)

    with load_tenant(home, "acme").opened("test") as environment:
        package = environment.tenant.package("orders_vs_psp")
        opened = opened_close(environment, package)
        assert opened is not None
        overview_of(environment, opened)
        assert any(CANARY in ids for ids in open_items_of(opened)["ids"].to_pylist())
        assert explanations(environment, f"order-{CANARY}")
        assert found_by(environment, f"order-{CANARY}").rows.num_rows == 1
        environment.close()

    assert CANARY not in caplog.text
    assert not _files_with(home.root, CANARY.encode())


def test_what_was_mistyped_is_answered_with_what_to_write(shell: Shell) -> None:
    command, day, unknown = shell.run("tenent"), shell.run("run", "acme", "--from", "yesterday"), shell.run("xyzzy")

    assert (command.returncode, day.returncode, unknown.returncode) == (2, 2, 2)
    assert "No such command 'tenent'. Did you mean 'tenant'?" in command.stderr
    assert "'yesterday' is no day. Write it as YYYY-MM-DD" in day.stderr
    assert "Did you mean" not in unknown.stderr


def test_every_command_is_listed_and_help_says_what_the_sides_are(shell: Shell) -> None:
    words = shell.run("--help").stdout

    for command in ("run", "report", "explain", "find", "day", "source", "error"):
        assert re.search(rf"^\s+{command}\s", words, re.MULTILINE)
    for command in ("report", "explain", "find"):
        assert "SOLL (what should be)" in " ".join(shell.run(command, "--help").stdout.split())


def test_what_was_published_after_the_close_is_counted_as_not_processed(shell: Shell) -> None:
    (shell.folder / "psp-2026-02-04.csv").write_text("reference,gross,currency,day\norder-77,1.00,EUR,2026-02-04\n")
    shell.json("source", "upload", "acme", "psp", "psp-2026-02-04.csv")
    take_in_and_close(shell.folder, DAY.replace(day=4), ("psp",), closes=False)

    [package] = document(shell, "report", "acme", "orders_vs_psp", code=1)["packages"]
    [found] = document(shell, "explain", "acme", "order-77", "--package", "orders_vs_psp", code=0)["explanations"]

    psp = next(line for line in package["sources"] if line["source"] == "psp")
    assert (psp["rows"], psp["not_processed_rows"]) == (4, 1)
    assert found["status"] == "not_processed"


def _files_with(folder: Path, text: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text in path.read_bytes()]
