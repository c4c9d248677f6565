"""Getting and renewing tokens: client credentials, or the owner's consent (authorization code with PKCE) and refresh.

A token is renewed shortly before it ends, and once when the API answers 401; never by two at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error, WebApplicationClient
from oauthlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from actuals_pipelines.sources.failures import SourceFailed
from actuals_pipelines.sources.oauth_api.answers import check_status
from actuals_pipelines.sources.oauth_api.connector import ClientAuthentication, Connector, Grant
from actuals_pipelines.sources.oauth_api.failures import (
    AnswerUnreadable,
    ClientRefused,
    GrantRefused,
    RequestRefused,
)
from actuals_pipelines.sources.oauth_api.https import https_session, joined
from actuals_pipelines.sources.oauth_api.tokens import Credentials, Token, TokenStore
from actuals_pipelines.sources.retry import Sleep, persistently

_LIFE_SECONDS = 3600  # where the API does not say (expires_in is only recommended); a 401 tells us otherwise


@dataclass(frozen=True, slots=True)
class Account:
    """One source's access to one API: everything a token request needs."""

    connector: Connector
    base_url: str
    credentials: Credentials
    tokens: TokenStore
    ca_file: Path | None
    now: Callable[[], datetime]
    sleep: Sleep

    @property
    def who(self) -> str:
        """For errors."""
        return f"connector {self.connector.name}"


def access_token(account: Account, *, dead: str | None = None) -> str:
    """Return a live access token, renewed where needed.

    Args:
        dead: an access token that the API has just refused; it is renewed unless another process did so meanwhile.

    Raises:
        ClientRefused, GrantRefused: terminal; and what a request raises.
    """
    margin = account.connector.authentication.margin_seconds
    kept = account.tokens.load()
    if kept is not None and kept.access_token != dead and kept.is_fresh(account.now(), margin):
        return kept.access_token
    with account.tokens.locked():
        kept = account.tokens.load()  # another process may have renewed it while we waited
        if kept is not None and kept.access_token != dead and kept.is_fresh(account.now(), margin):
            return kept.access_token
        token = _renewed(account, kept)
        account.tokens.save(token)
        return token.access_token


def consent_url(account: Account, redirect_uri: str, state: str, verifier: str) -> str:
    """Where the account's owner consents in a browser; `state` and `verifier` (PKCE) are random and kept until then."""
    authentication = account.connector.authentication
    client = WebApplicationClient(account.credentials.client_id)
    challenge = client.create_code_challenge(verifier, "S256")
    url: str = client.prepare_request_uri(
        joined(account.base_url, authentication.authorize_path),
        redirect_uri=redirect_uri,
        scope=authentication.scope or None,
        state=state,
        code_challenge=challenge,
        code_challenge_method="S256",
    )
    return url


def redeem_code(account: Account, code: str, redirect_uri: str, verifier: str) -> None:
    """Exchange the code that the owner's browser brought back for tokens, and keep them.

    It is asked once: a code is good once.

    Raises:
        GrantRefused: the code is used up, too old, or not for this client.
    """

    def exchange(session: OAuth2Session, url: str) -> None:
        session.redirect_uri = redirect_uri
        session.fetch_token(
            url,
            code=code,
            code_verifier=verifier,
            auth=_basic(account),
            include_client_id=_is_in_body(account),
            client_secret=_body_secret(account),
        )

    with account.tokens.locked():
        account.tokens.save(_asked(account, WebApplicationClient(account.credentials.client_id), exchange))


def _renewed(account: Account, kept: Token | None) -> Token:
    """Get the next token, by the connector's grant; asks again where the API fails."""
    limits = account.connector.limits
    if account.connector.authentication.grant is Grant.CLIENT_CREDENTIALS:
        return persistently(lambda: _by_credentials(account), limits, account.sleep)
    if kept is None or kept.refresh_token is None:
        raise GrantRefused(account.who, "no owner has consented yet")
    refresh = kept.refresh_token
    return persistently(lambda: _by_refresh(account, refresh), limits, account.sleep)


def _by_credentials(account: Account) -> Token:
    def fetch(session: OAuth2Session, url: str) -> None:
        session.fetch_token(
            url,
            auth=_basic(account),
            include_client_id=_is_in_body(account),
            client_secret=_body_secret(account),
        )

    scope = account.connector.authentication.scope or None
    return _asked(account, BackendApplicationClient(account.credentials.client_id, scope=scope), fetch)


def _by_refresh(account: Account, refresh: str) -> Token:
    def renew(session: OAuth2Session, url: str) -> None:
        given = account.credentials
        proof: dict[str, Any] = {}
        if _is_in_body(account):
            proof = {"client_id": given.client_id, "client_secret": given.client_secret}
        session.refresh_token(url, refresh_token=refresh, auth=_basic(account), **proof)

    token = _asked(account, WebApplicationClient(account.credentials.client_id), renew)
    # An API that does not rotate sends no new refresh token: the old one stays good (RFC 6749 section 6).
    return token if token.refresh_token else replace(token, refresh_token=refresh)


def _asked(
    account: Account,
    client: BackendApplicationClient | WebApplicationClient,
    ask: Callable[[OAuth2Session, str], None],
) -> Token:
    """One token request; the library's errors become ours, without their words."""
    authentication = account.connector.authentication
    url = joined(account.base_url, authentication.token_path)
    where = f"{account.who}, POST {url}"

    def checked(response: requests.Response) -> requests.Response:
        if response.status_code == 429 or response.status_code >= 500:
            check_status(response, where, account.now)  # 4xx carry an error code, which the library reads
        return response

    issued_at = account.now()
    session = https_session(account.base_url, account.connector.limits, account.ca_file, who=account.who, client=client)
    session.register_compliance_hook("access_token_response", checked)
    session.register_compliance_hook("refresh_token_response", checked)
    try:
        ask(session, url)
    except SourceFailed:
        raise
    except InvalidClientError:
        raise ClientRefused(where, "invalid_client") from None
    except InvalidGrantError:
        raise GrantRefused(where, "invalid_grant") from None
    except OAuth2Error as error:
        kind = type(error).__name__
        if kind == "MissingTokenError":  # an answer without a token, or broken JSON
            raise AnswerUnreadable(where, "it holds no token") from None
        raise RequestRefused(where, kind) from None
    except (ValueError, Warning) as error:
        raise AnswerUnreadable(where, type(error).__name__) from None
    finally:
        session.close()
    return _token(dict(session.token), issued_at)


def _is_in_body(account: Account) -> bool:
    return account.connector.authentication.client is ClientAuthentication.BODY


def _basic(account: Account) -> HTTPBasicAuth | None:
    """RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined."""
    if _is_in_body(account):
        return None
    given = account.credentials
    return HTTPBasicAuth(quote(given.client_id, safe=""), quote(given.client_secret, safe=""))


def _body_secret(account: Account) -> str | None:
    return account.credentials.client_secret if _is_in_body(account) else None


def _token(answer: dict[str, object], issued_at: datetime) -> Token:
    life = answer.get("expires_in")
    seconds = float(life) if isinstance(life, int | float | str) else _LIFE_SECONDS
    refresh = answer.get("refresh_token")
    return Token(
        access_token=str(answer["access_token"]),
        refresh_token=str(refresh) if refresh else None,
        issued_at=issued_at,
        expires_at=issued_at + timedelta(seconds=seconds),
    )
