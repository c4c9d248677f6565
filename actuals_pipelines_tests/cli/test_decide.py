"""Decisions over a home's closed day: in effect at once, and gone without a trace when withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pytest

from actuals_pipelines.errors import ActualsError
from actuals_pipelines.operations import decisions
from actuals_pipelines.operations.decisions import Taken
from actuals_pipelines.operations.drafts import try_draft
from actuals_pipelines.operations.loaded import load_tenant
from actuals_pipelines.operations.releases import follow_policy
from actuals_pipelines.operations.reports import explanations
from actuals_pipelines.operations.servers import running_postgres
from actuals_pipelines.report.explain import Explanation
from actuals_pipelines.settings import find_home
from actuals_pipelines.store import closes
from actuals_pipelines.store.decisions import NeedsAnotherPerson
from actuals_pipelines.tenants.environment import TenantEnvironment
from actuals_pipelines.tenants.parse import parse_tenant
from actuals_pipelines_tests.cli.daily_work import TENANT, a_day_of_work, a_home
from actuals_pipelines_tests.cli.test_tenants import Shell

PACKAGE = "orders_vs_psp"
WHY = {"comment": "as the bank wrote"}


@dataclass(frozen=True)
class Books:
    """One closed day: order-3 lacks a payment, payment order-4 an order, both of 20.00; order-2 was paid 0.35 less."""

    shell: Shell
    env: TenantEnvironment

    def explained(self, name: str) -> Explanation:
        [one] = explanations(self.env, name, PACKAGE)
        return one

    def digest(self) -> bytes:
        last = closes.last_close(self.env, PACKAGE)
        assert last is not None
        return last.digest

    def withdraw(self, taken: Taken, by: str = "anna") -> Taken:
        return decisions.withdraw(self.env, str(taken.decision.id), by=by, comment="it was not so")


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    with a_home(tmp_path_factory.mktemp("decide")) as shell:
        a_day_of_work(shell)
        home = find_home(start=shell.folder)
        loaded = load_tenant(home, "acme")
        with running_postgres(home) as platform, loaded.opened("test") as env:
            follow_policy(platform, loaded.ref)  # one person alone had released a unit
            yield Books(shell, env)
            env.close()


def test_a_match_is_in_effect_at_once_and_withdrawn_leaves_nothing(books: Books) -> None:
    before = books.digest()

    made = decisions.match(books.env, PACKAGE, ["order-3", "order-4"], by="anna", said=WHY)
    together = books.explained("order-3")
    back = books.withdraw(made)

    assert (made.state, back.state) == ("in force", "withdrawn")
    assert (together.status, together.row_count) == ("matched", 2)
    assert "put together by hand" in together.sentences[0]
    assert books.digest() == before
    assert len(closes.history(books.env, PACKAGE)) == 3  # each taking of the day is kept


def test_what_does_not_balance_waits_for_another_person(books: Books) -> None:
    """10.00 against 20.00; the approval is of these 10.00 less."""
    fee = str(books.explained("order-2").rows["row_uid"][0].as_py())

    made = decisions.match(books.env, PACKAGE, [fee, "order-4"], by="anna", said=WHY)
    with pytest.raises(NeedsAnotherPerson):
        decisions.approve(books.env, str(made.decision.id), by="anna", comment=None)
    approved = decisions.approve(books.env, str(made.decision.id), by="ben", comment="looked at it")
    status = books.explained("order-4").status
    asked = books.withdraw(made)
    gone = decisions.approve(books.env, str(made.decision.id), by="ben", comment=None)

    assert (made.state, approved.state, status) == ("waits", "in force", "matched")
    assert (asked.state, gone.state) == ("in force", "withdrawn")  # what two put in force, two take back


def test_an_open_group_is_explained_until_the_words_are_taken_back(books: Books) -> None:
    until = date(2026, 12, 31)

    made = decisions.explain(books.env, PACKAGE, "order-3", "lost parcel", expires_on=until, by="anna", said=WHY)
    explained = books.explained("order-3")
    books.withdraw(made)

    assert (made.state, explained.status, explained.category) == ("in force", "explained", "lost parcel")
    assert books.explained("order-3").status == "unmatched"


def test_a_row_with_another_id_joins_the_group_of_that_id(books: Books) -> None:
    made = decisions.rekey(books.env, PACKAGE, "order-4", "Order-3", scheme=None, by="anna", said=WHY)
    joined = books.explained("order-3")
    books.withdraw(made)

    assert (joined.status, joined.row_count) == ("matched", 2)


def test_a_write_off_is_a_row_of_two_persons(books: Books) -> None:
    made = decisions.adjust(books.env, PACKAGE, "order-3", posted_on=None, by="anna", said=WHY)
    waiting = books.explained("order-3").status
    decisions.approve(books.env, str(made.decision.id), by="ben", comment=None)
    written_off = books.explained("order-3")
    books.withdraw(made, by="ben")
    decisions.approve(books.env, str(made.decision.id), by="anna", comment=None)

    assert (made.state, waiting) == ("waits", "unmatched")
    assert (written_off.status, set(written_off.rows["source"].to_pylist())) == ("matched", {"shop", "adjustments"})
    assert books.explained("order-3").status == "unmatched"


def test_what_could_not_hold_is_refused_with_what_to_do(books: Books) -> None:
    """Nothing of it is in the log."""
    env = books.env
    known = len(decisions.listed(env, PACKAGE))

    for rows, says in (
        (["order-3", "order-3"], "each named once"),
        (["order-3", "order-99"], "Row 2 of the command names no row"),
        (["order-1", "order-3"], "Name one by its row_uid"),
    ):
        with pytest.raises(ActualsError, match=says):
            decisions.match(env, PACKAGE, rows, by="anna", said=WHY)
    with pytest.raises(ActualsError, match="has no close yet"):
        decisions.match(env, "hooks_vs_psp", ["order-1", "order-3"], by="anna", said=WHY)
    with pytest.raises(ActualsError, match="the group is matched"):
        decisions.adjust(env, PACKAGE, "order-1", posted_on=None, by="anna", said=WHY)
    with pytest.raises(ActualsError, match="0 schemes"):
        decisions.rekey(env, PACKAGE, "order-3", "4711", scheme="none", by="anna", said=WHY)
    with pytest.raises(ActualsError, match="none of this id"):
        decisions.found_decision(env, "4711")

    assert len(decisions.listed(env, PACKAGE)) == known


def test_the_commands_say_what_became_of_a_decision(books: Books) -> None:
    """As JSON and in words; a comment is asked for."""
    made = books.shell.json("decide", "detach", "acme", PACKAGE, "order-4", "--comment", "not ours")
    listed = books.shell.run("decide", "list", "acme", PACKAGE)
    refused = books.shell.run("decide", "detach", "acme", PACKAGE, "order-3", "--comment", " ")
    books.withdraw(decisions.Taken(decisions.found_decision(books.env, made["decision"]), "", ""))

    assert (made["state"], made["kind"], made["comment"]) == ("in force", "detach", "not ours")
    assert made["decision"] in listed.stdout
    assert refused.returncode == 2
    assert "must say why" in refused.stderr


def test_a_draft_shows_what_it_would_gain_and_keeps_nothing(books: Books) -> None:
    """With a tolerance of 0.35 EUR, order-2 is matched and not explained."""
    before = books.digest()
    draft = parse_tenant(TENANT.replace("  due: {ist", "  tolerance: [0.35 EUR]\n  due: {ist"), "draft")

    [tried] = try_draft(books.env, draft)

    assert tried.groups is not None
    [gained] = tried.groups.to_pylist()
    assert (tried.package, gained["what"], gained["amount"]) == (PACKAGE, "gained", 1000)
    assert (gained["was_status"], gained["status"], gained["difference"]) == ("explained", "matched", 35)
    assert try_draft(books.env, books.env.tenant) == []
    assert books.digest() == before
