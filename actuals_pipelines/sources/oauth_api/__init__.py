"""APIs that we ask: OAuth 2, page by page, bounded. A connector is one declarative file; strategies are shared."""

from actuals_pipelines.sources.oauth_api.connector import Connector, load_connector
from actuals_pipelines.sources.oauth_api.container import page_container
from actuals_pipelines.sources.oauth_api.pull import Page, pull
from actuals_pipelines.sources.oauth_api.tokens import Credentials, DatabaseTokenStore, Token, TokenStore

__all__ = [
    "Connector",
    "Credentials",
    "DatabaseTokenStore",
    "Page",
    "Token",
    "TokenStore",
    "load_connector",
    "page_container",
    "pull",
]
