"""The owner's consent: authorization code with PKCE, then refresh tokens that rotate."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from actuals_pipelines.sources.oauth_api.authorization import access_token, consent_url, redeem_code
from actuals_pipelines.sources.oauth_api.failures import GrantRefused
from actuals_pipelines_tests.sources.oauth_api.emulator import REDIRECT, Caller, Emulator, without_pace


@pytest.fixture
def owner(emulator: Emulator) -> Caller:
    """A source whose connector needs the owner's consent."""
    return Caller(emulator, connector=without_pace("psp_consent"))


def test_after_the_consent_the_account_can_be_read(owner: Caller) -> None:
    _consent(owner)

    assert owner.pull()


def test_without_a_consent_the_error_says_how_to_get_one(owner: Caller) -> None:
    with pytest.raises(GrantRefused, match="must consent again"):
        owner.pull()


def test_the_state_comes_back_with_the_code(owner: Caller) -> None:
    url = consent_url(owner.account(), REDIRECT, "state-17", secrets.token_urlsafe(48))

    assert owner.emulator.consent(url)["state"] == "state-17"


def test_every_refresh_keeps_the_new_refresh_token(owner: Caller) -> None:
    _consent(owner)
    first = owner.tokens.load()

    owner.ahead = timedelta(seconds=50)
    access_token(owner.account())
    second = owner.tokens.load()
    owner.ahead = timedelta(seconds=100)
    access_token(owner.account())
    third = owner.tokens.load()

    assert first is not None
    assert second is not None
    assert third is not None
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3


def test_a_refresh_token_that_somebody_else_has_used_ends_the_consent(owner: Caller) -> None:
    """RFC 9700, section 4.14.2: used twice, nobody may go on."""
    _consent(owner)
    stolen = owner.tokens.load()
    owner.ahead = timedelta(seconds=50)
    access_token(owner.account())
    owner.tokens.token = stolen

    with pytest.raises(GrantRefused, match="invalid_grant"):
        access_token(owner.account())


def test_a_withdrawn_consent_is_terminal(owner: Caller) -> None:
    _consent(owner)
    owner.emulator.revoke()

    with pytest.raises(GrantRefused):
        owner.pull()

    assert owner.pauses == []


def test_a_code_is_good_once(owner: Caller) -> None:
    code, verifier = _consent(owner)

    with pytest.raises(GrantRefused):
        redeem_code(owner.account(), code, REDIRECT, verifier)


def test_a_stolen_code_is_worth_nothing_without_the_verifier(owner: Caller) -> None:
    url = consent_url(owner.account(), REDIRECT, "state", secrets.token_urlsafe(48))
    code = owner.emulator.consent(url)["code"]

    with pytest.raises(GrantRefused):
        redeem_code(owner.account(), code, REDIRECT, "another-verifier-" * 4)


def _consent(owner: Caller) -> tuple[str, str]:
    verifier = secrets.token_urlsafe(48)
    url = consent_url(owner.account(), REDIRECT, secrets.token_urlsafe(16), verifier)
    code = owner.emulator.consent(url)["code"]
    redeem_code(owner.account(), code, REDIRECT, verifier)
    return code, verifier
