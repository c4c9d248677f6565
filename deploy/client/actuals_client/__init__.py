"""Sends raw transactions to the inbox of an actuals home.

A raw transaction is a dict: `source_id`, `id` (yours: what is sent again under it is not stored twice), `timestamp`
(RFC 3339 with an offset), `data` (an object), and optionally `type`.

    with InboxClient("https://inbox.example:8444", key, ca_file="ca.pem") as inbox:
        inbox.post({"source_id": "shop", "id": "order-123", "timestamp": "2026-01-31T09:00:00Z", "data": {...}})

What must survive a crash of the sender goes through a `Spool`:

    with Spool("outbox.sqlite") as spool, InboxClient(url, key) as inbox:
        spool.put(raw_transaction)     # durable when this returns
        inbox.deliver(spool)           # sends what waits; what the inbox refuses is kept in the spool with its reason
"""

from __future__ import annotations

from actuals_client.client import AsyncInboxClient, InboxClient
from actuals_client.exchange import Delivered, Receipt, Refused, Unavailable
from actuals_client.signing import Signing
from actuals_client.spool import Spool

__all__ = ["AsyncInboxClient", "Delivered", "InboxClient", "Receipt", "Refused", "Signing", "Spool", "Unavailable"]
