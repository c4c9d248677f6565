"""A connector: one declarative file that says how an API is asked. Strategies (grant, paging) are shared modules."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.resources import files

import msgspec

from actuals_pipelines.errors import ConfigurationError

_FOLDER = "actuals_pipelines.sources.oauth_api"


class Grant(StrEnum):
    """How the API lets us in."""

    CLIENT_CREDENTIALS = "client_credentials"  # RFC 6749 section 4.4
    AUTHORIZATION_CODE = "authorization_code"  # RFC 6749 section 4.1 with PKCE, then refresh tokens (section 6)


class ClientAuthentication(StrEnum):
    """Where the client's id and secret stand in a token request (RFC 6749 section 2.3.1)."""

    BASIC = "basic"
    BODY = "body"


class PagingStrategy(StrEnum):
    """How the next page is found."""

    CURSOR = "cursor"  # a value in the answer goes into a parameter of the next request
    LINK = "link"  # the answer holds the next page's URL, which must be on the same host


class Authentication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grant and its paths, below the source's base_url."""

    grant: Grant
    token_path: str
    authorize_path: str = ""
    client: ClientAuthentication = ClientAuthentication.BASIC
    scope: str = ""
    margin_seconds: int = 30  # a token is renewed so long before it ends, or in the last quarter of a shorter life


class Paging(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the next page stands in an answer, and how many records a page may have."""

    strategy: PagingStrategy
    next: str  # path in the answer: "next_cursor", "_links.next.href"; null or absent ends the pages
    parameter: str = ""  # cursor: the request's parameter
    limit_parameter: str = ""
    limit: int = 250


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One list that is read page by page for a day."""

    name: str
    path: str
    records: str  # path of the list in the answer: "data", "_embedded.payments"
    from_parameter: str  # gets the day, as YYYY-MM-DD
    to_parameter: str  # gets the same day: both ends count
    parameters: dict[str, str] = {}


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on one pull."""

    pages: int = 100_000
    page_bytes: int = 64 * 1024 * 1024
    seconds: int = 3600
    attempts: int = 5
    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    longest_pause_seconds: float = 120.0  # asked to wait longer, we give up until the next scheduled pull
    requests_per_second: float = 20.0


class Connector(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one API is asked."""

    name: str
    title: str
    authentication: Authentication
    endpoints: tuple[Endpoint, ...]
    paging: Paging
    limits: Limits = Limits()


class ConnectorMissing(ConfigurationError):
    """A source names a connector that there is no file for."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        known = ", ".join(self.known)
        return f"There is no connector {self.name!r}. There are: {known}. Correct the source's `connector`."


class ConnectorBroken(ConfigurationError):
    """A connector's file does not say what it must."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(name, what)
        self.name, self.what = name, what

    def __str__(self) -> str:
        return f"The connector {self.name!r} cannot be used: {self.what}. Correct connectors/{self.name}.yaml."


@cache
def load_connector(name: str) -> Connector:
    """Return the connector of that name. Raises ConnectorMissing, ConnectorBroken."""
    known = connector_names()
    if name not in known:
        raise ConnectorMissing(name, known)
    return read_connector(name, (files(_FOLDER) / "connectors" / f"{name}.yaml").read_bytes())


def read_connector(name: str, text: bytes) -> Connector:
    """Read a connector's YAML; an unknown or missing key is refused with its place."""
    try:
        connector = msgspec.yaml.decode(text, type=Connector)
    except msgspec.MsgspecError as error:
        raise ConnectorBroken(name, str(error)) from None
    if connector.paging.strategy is PagingStrategy.CURSOR and not connector.paging.parameter:
        raise ConnectorBroken(name, "paging by cursor needs `parameter`")
    return connector


def connector_names() -> tuple[str, ...]:
    """The connectors that are shipped, sorted."""
    found = (files(_FOLDER) / "connectors").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in found if file.name.endswith(".yaml")))
