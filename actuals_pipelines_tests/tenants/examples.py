"""A tenant's YAML for tests: three sources in three ways, two packages, and one small change at a time."""

from __future__ import annotations

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHUKt1cWRZcYb9mQ0r9zQ8i6Hk3pTq9mZqGf5mW2c1aD ops@acme"

ACME = f"""\
name: acme
title: Acme Retail
time_zone: Europe/Amsterdam
start: 2026-01-01
sftp:
- user: acme_drop
  public_keys: [{PUBLIC_KEY}]
ids:
  order: {{field: transaction_id, find: "ORD[^0-9]{{0,3}}([0-9]{{10}})", clean: upper}}
sources:
- name: shop
  kind: inbox
  format: ndjson
  mapping: {{transaction_id: order_id, amount: total, currency: currency, timestamp: created_at}}
- name: psp
  kind: oauth_api
  format: ndjson
  connector: psp
  connection: {{base_url: "https://127.0.0.1:8000/v1", client_secret: psp_secret}}
  mapping: {{transaction_id: reference, amount: gross, currency: currency, booked_on: day, text: memo}}
- name: bank
  kind: sftp
  format: camt053
packages:
- name: orders_vs_psp
  soll: [{{source: shop}}]
  ist: [{{source: psp, take: "kind in ('payment', 'refund')"}}]
  tolerance: [0.05 EUR, 5 JPY, 25 bp]
  due: {{ist: 3 business days}}
  passes:
  - {{name: order number, by: order}}
  - {{name: order number in text, by: order, look_in: text}}
- name: psp_vs_bank
  soll: [{{source: psp}}]
  ist: [{{source: bank}}]
"""


def changed(old: str, new: str, text: str = ACME) -> str:
    """The example with one piece replaced; the piece must be there."""
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)
