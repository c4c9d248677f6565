"""The OpenAPI document and the running inbox say the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

from actuals_pipelines.sources.inbox.app import OPENAPI, ROUTES
from actuals_pipelines.sources.inbox.problems import PROBLEMS
from actuals_pipelines_tests.sources.inbox.conftest import AnInbox
from actuals_pipelines_tests.sources.inbox.test_app import NDJSON, PATH, an_order, lines

DOCUMENT = json.loads(OPENAPI.read_text())


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


def test_it_is_served_as_it_is_checked_in(inbox: AnInbox) -> None:
    with inbox.client(None) as client:
        assert client.get("/openapi.json").json() == DOCUMENT


def test_every_path_every_problem_and_nothing_else_is_in_it() -> None:
    said = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert said == {(path, method) for path, method, _ in ROUTES}
    assert set(DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == set(PROBLEMS)


def test_what_is_answered_has_the_documented_shape(inbox: AnInbox) -> None:
    order = an_order()
    mixed = lines(order, an_order(id=""))
    with inbox.client() as client:
        answers = [
            ("Receipt", client.post(PATH, json=order)),
            ("Receipt", client.post(PATH, json=order)),
            ("Batch", client.post(f"{PATH}/batch", content=lines(order, an_order()), headers=NDJSON)),
            (
                "Batch",
                client.post(f"{PATH}/batch?per_item=true", content=mixed, headers=NDJSON),
            ),
            ("Page", client.get(PATH, params={"limit": "5"})),
            ("Problem", client.post(PATH, json=an_order(id=""))),
            ("Problem", client.post(f"{PATH}/batch", content=mixed, headers=NDJSON)),
        ]
    for name, answer in answers:
        assert [error.message for error in validator(name).iter_errors(answer.json())] == []


def test_schemathesis_finds_nothing(inbox: AnInbox, tmp_path: Path) -> None:
    """Requests made from the document, right ones and wrong ones, against the running inbox: no 500, no answer that is
    not documented, no key ignored. The source is given and the key sent one way, so that most get far."""
    document = json.loads(OPENAPI.read_text())
    document["security"] = [{"token": []}]
    document["components"]["schemas"]["RawTransaction"]["properties"]["source_id"] = {"enum": ["shop", "returns"]}
    # Per item a wrong record is answered with 200 and told within: test_batches.
    document["paths"]["/v1/raw_transactions/batch"]["post"]["parameters"] = []
    made = tmp_path / "openapi.json"
    made.write_text(json.dumps(document))
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(made), "--url", inbox.url]
    caller = ["--tls-verify", str(inbox.tls.ca), "--header", f"token: {inbox.keys['acme test'].text}"]
    bounds = ["--phases", "examples,coverage,fuzzing", "--max-examples", "8", "--max-time", "15", "--seed", "1"]
    # Not whether all that is right or wrong by the document is taken or refused: a made-up number may look like a card.
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    bounds += ["--checks", f"{checks},unsupported_method,ignored_auth"]
    done = subprocess.run(
        [*command, *caller, *bounds], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "failed" not in inbox.door.log.read_text()
