"""The demo tenants' YAML: sources and packages that fit the demo data."""

from __future__ import annotations

from datetime import date
from importlib.resources import files
from string import Template

_SETTLEMENT_SOURCE = """\
- name: settlement
  kind: sftp
  format: csv
  mapping:
    row_id: coalesce(nullif("Modification Reference", ''), "Psp Reference")
    psp_ref: coalesce(nullif("Modification Reference", ''), "Psp Reference")
    transaction_id: Merchant Reference
    timestamp: Creation Date
    booked_on: Booking Date
    currency: Net Currency
    kind: >-
      case "Type" when 'Settled' then 'payment' when 'Refunded' then 'refund' when 'Chargeback' then 'chargeback'
      when 'Fee' then 'fee' when 'MerchantPayout' then 'payout' else 'other' end
  iterations:
  - where: Type in ('Settled', 'Refunded', 'Chargeback')
    amount: coalesce(nullif("Gross Credit (GC)", ''), concat('-', "Gross Debit (GC)"))
  - where: Type in ('Settled', 'Refunded', 'Chargeback') and "Commission (NC)" <> ''
    row_id: concat(coalesce(nullif("Modification Reference", ''), "Psp Reference"), '/fee')
    amount: concat('-', "Commission (NC)")
    constants: {kind: fee}
  - where: Type not in ('Settled', 'Refunded', 'Chargeback')
    amount: coalesce(nullif("Net Credit (NC)", ''), concat('-', "Net Debit (NC)"))
"""
_SETTLEMENT_PACKAGE = """\
- name: settlement_vs_psp
  question: Does the PSP's settlement report hold exactly what its API shows?
  start: $start
  soll: [{source: psp, take: "kind in ('payment', 'refund', 'chargeback', 'fee')"}]
  ist: [{source: settlement, take: "kind in ('payment', 'refund', 'chargeback', 'fee')"}]
  tolerance: [0 EUR, 0 USD, 0 JPY, 0 KWD]
  missing: hold
  passes:
  - {name: PSP reference, by: psp_ref}
"""


def demo_tenant_yaml(
    name: str,
    emulator_url: str,
    *,
    start: date,
    client_id: str = "demo",
    client_secret: str = "psp_client_secret",  # noqa: S107 - the name of a secret, not one
    ca_file: str | None = None,
    sftp_public_key: str | None = None,
    has_settlement: bool = True,
) -> str:
    """Return the YAML of a demo tenant, as `actuals tenant apply` takes it.

    Args:
        name: the tenant's; also its sFTP user's.
        emulator_url: where the PSP emulator listens, "https://127.0.0.1:8447".
        start: nothing before this day counts: the first day of the data.
        client_id, client_secret: of the OAuth client; the second is the secret's *name* (`actuals secret set`).
        ca_file: the authority that the emulator's certificate is from; None trusts the public ones.
        sftp_public_key: OpenSSH form; None leaves the sFTP account out.
        has_settlement: False leaves out the settlement reports and their package, for the largest sizes.
    """
    template = Template((files("actuals_pipelines.operations.demo_data") / "demo_tenant.yaml").read_text("utf-8"))
    account = f"sftp:\n- user: {name}\n  public_keys: [{sftp_public_key}]\n" if sftp_public_key else ""
    return template.substitute(
        name=name,
        start=start,
        emulator_url=emulator_url,
        client_id=client_id,
        client_secret=client_secret,
        ca_file=f"    ca_file: {ca_file}\n" if ca_file else "",
        sftp=account,
        settlement_source=_SETTLEMENT_SOURCE if has_settlement else "",
        settlement_package=Template(_SETTLEMENT_PACKAGE).substitute(start=start) if has_settlement else "",
    )
