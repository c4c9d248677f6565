"""The emulator behaves as a PSP's API is documented to: what it refuses, and how it says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from actuals_pipelines.operations.demo_data import Wanted, write_demo_data
from actuals_pipelines.operations.psp_emulator.app import Limits, make_app
from actuals_pipelines.operations.psp_emulator.authorization import Client

DAY = {"booked_from": "2026-01-13", "booked_to": "2026-01-13"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("books")
    for name, seed in (("north", 1), ("south", 2)):
        write_demo_data(Wanted(orders=300, seed=seed), folder / name)
    return folder


@pytest.fixture
def api(data: Path) -> Iterator[TestClient]:
    clients = [Client(name, f"{name}-secret", f"{name}/psp_api") for name in ("north", "south")]
    with TestClient(make_app(data, clients, Limits(most_per_page=20))) as client:
        yield client


def test_a_client_reads_its_own_books_only(api: TestClient, data: Path) -> None:
    for name in ("north", "south"):
        page = api.get("/v1/payouts", params=DAY, headers=_bearer(api, name)).json()

        mine = (data / name / "psp_api" / "payouts-2026-01-13.ndjson").read_text()
        assert page["data"]
        assert all(row["payout_reference"] in mine for row in page["data"])


def test_a_range_of_days_is_paged_across_its_files(api: TestClient, data: Path) -> None:
    headers, asked = _bearer(api, "north"), {"booked_from": "2026-01-12", "booked_to": "2026-01-16", "limit": "20"}
    ids: list[str] = []
    while True:
        page = api.get("/v1/transactions", params=asked, headers=headers).json()
        ids += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            break
        asked["cursor"] = page["next_cursor"]

    lines = [path.read_text().count("\n") for path in (data / "north" / "psp_api").glob("transactions-*")]
    assert len(ids) == len(set(ids)) == sum(lines)


@pytest.mark.parametrize("authorization", [None, "Bearer nothing", "Basic bm9ydGg6bm9ydGgtc2VjcmV0"], ids=str)
def test_without_a_live_token_it_answers_401_and_says_which_scheme(api: TestClient, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}

    answer = api.get("/v1/transactions", params=DAY, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "wrong",
    [{"limit": "21"}, {"limit": "0"}, {"limit": "x"}, {"booked_to": "13-01-2026"}, {"cursor": "AAAA"}, {"cursor": "%"}],
    ids=str,
)
def test_a_question_it_does_not_understand_is_a_400(api: TestClient, wrong: dict[str, str]) -> None:
    answer = api.get("/v1/transactions", params={**DAY, **wrong}, headers=_bearer(api, "north"))

    assert answer.status_code == 400


def test_a_cursor_serves_its_own_question_and_client_only(api: TestClient) -> None:
    page = api.get("/v1/transactions", params=DAY, headers=_bearer(api, "north")).json()
    asked = {**DAY, "cursor": page["next_cursor"]}

    assert api.get("/v1/transactions", params=asked, headers=_bearer(api, "north")).status_code == 200
    assert api.get("/v1/transactions", params=asked, headers=_bearer(api, "south")).status_code == 400
    other_day = {**asked, "booked_to": "2026-01-14"}
    assert api.get("/v1/transactions", params=other_day, headers=_bearer(api, "north")).status_code == 400


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"grant_type": "client_credentials", "client_id": "north", "client_secret": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nobody"}, 401, "invalid_client"),
        (
            {"grant_type": "password", "client_id": "north", "client_secret": "north-secret"},
            400,
            "unsupported_grant_type",
        ),
        ({"grant_type": "refresh_token", "client_id": "north", "client_secret": "north-secret"}, 400, "invalid_grant"),
    ],
    ids=["wrong secret", "unknown client", "unknown grant", "no refresh token"],
)
def test_the_token_endpoint_refuses_by_rfc_6749(api: TestClient, form: dict[str, str], status: int, error: str) -> None:
    answer = api.post("/oauth/token", data=form)

    assert (answer.status_code, answer.json()) == (status, {"error": error})


def test_faults_can_be_switched_only_where_they_were_allowed(api: TestClient) -> None:
    assert api.put("/admin/faults", json=[]).status_code == 404


def _bearer(api: TestClient, name: str) -> dict[str, str]:
    form = {"grant_type": "client_credentials", "client_id": name, "client_secret": f"{name}-secret"}
    return {"Authorization": f"Bearer {api.post('/oauth/token', data=form).json()['access_token']}"}
