"""What can go wrong with a pull, beside what its two bases say. Texts name connector, method, host and path."""

from __future__ import annotations

from actuals_pipelines.sources.failures import Terminal, Transient


class ConnectionLost(Transient):
    """No connection, or it broke off, or the answer did not come in time."""

    what = "The API could not be reached"
    advice = "Nothing was taken in; the pull is tried again. If it stays so, check the address and the network."


class ServerFailed(Transient):
    """The API answered 5xx (or 408)."""

    what = "The API failed on its own side"
    advice = "Nothing was taken in; the pull is tried again. If it stays so, ask the API's operator."


class RateLimited(Transient):
    """429: too many requests. Source: RFC 6585 section 4; Retry-After: RFC 9110 section 10.2.3."""

    what = "The API asks us to slow down"
    advice = "Nothing was taken in; the pull is tried again. If it stays so, lower the connector's requests_per_second."


class AnswerUnreadable(Transient):
    """An answer that is not whole: broken JSON."""

    what = "The API's answer cannot be read"
    advice = "Nothing was taken in; the pull is tried again. If it stays so, ask the API's operator."


class TokenBusy(Transient):
    """Another process is renewing the source's token and does not come to an end."""

    what = "The source's token is being renewed by another process"
    advice = "Nothing was taken in; the pull is tried again."


class RequestRefused(Terminal):
    """The API does not accept the question: 400, 404 and other 4xx."""

    what = "The API refused the request"
    advice = "The connector's paths or parameters do not fit this API: compare them with its documentation."


class AccessRefused(Terminal):
    """403, or 401 with a token that was just renewed."""

    what = "The API does not give this account access"
    advice = "Ask the account's owner to give the client the rights that the connector needs (reading is enough)."


class ClientRefused(Terminal):
    """invalid_client: the client id or its secret is wrong."""

    what = "The API does not know this client id and secret"
    advice = "Check client_id in the tenant's file and set the secret again with `actuals secret set`."


class GrantRefused(Terminal):
    """invalid_grant, or no consent yet: the refresh token is used up, expired or withdrawn."""

    what = "The consent to read this account is missing or has ended"
    advice = (
        "The account's owner must consent again, and there is no command for that yet. Where the API offers client "
        "credentials, use a connector with those: they need no consent."
    )


class CertificateRefused(Terminal):
    """The server's certificate does not prove that it is the configured host."""

    what = "The API's certificate cannot be trusted"
    advice = "Nothing was sent. Check the address; a private authority's certificate belongs into the trust file."


class RedirectRefused(Terminal):
    """The API wants to send us elsewhere; a token goes to the configured host alone."""

    what = "The API redirects to another address"
    advice = "Redirects are not followed. Write the API's real address into the source's base_url."


class AddressRefused(Terminal):
    """A URL outside the configured host, or not https."""

    what = "A request to another address than the configured one was refused"
    advice = "base_url must be https, and every page must come from that host."


class AnswerRefused(Terminal):
    """An answer beyond a bound, or of another shape than the connector declares."""

    what = "The API's answer is not what the connector declares"
    advice = "If the API changed, mend the connector; if the answer is rightly so large, raise the connector's limits."
