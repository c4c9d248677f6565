"""The tables of the tenant databases and of the control database, as SQLAlchemy Core; migrations make them.

Amounts, free text, file names, rejected values and comments are sealed columns (`*_sealed`): AES-GCM under the
tenant's column key (or, where a door writes, to the tenant's public key) with table, column and row id in the AAD.
Digests are keyed. What is left in clear are ids, states, counts and times.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

TENANT = sa.MetaData()
CONTROL = sa.MetaData()

_NOW = sa.text("now()")
_TIME = sa.DateTime(timezone=True)


def _id() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid, primary_key=True)


# --- What doors write (role `door`: INSERT, and SELECT on the idempotency columns alone) -----------------------------

arrival = sa.Table(
    "arrival",
    TENANT,
    _id(),
    sa.Column("door", sa.Text, nullable=False),  # upload | sftp | inbox | pull | fetch
    sa.Column("source_id", sa.Uuid),  # null: no source claims it; kept sealed, shown, alerted
    sa.Column("delivery", sa.Text),  # sftp: account/handle; pull: cursor window; never the file's own name
    sa.Column("name_sealed", sa.LargeBinary),  # the file's name, sealed to the tenant's public key
    sa.Column("partition", sa.Date),  # the day it belongs to, where the door knows (a pull of day D)
    sa.Column("path", sa.Text, nullable=False),  # the sealed container, relative to the tenant's prefix
    sa.Column("size_bytes", sa.BigInteger, nullable=False),  # of the plaintext
    sa.Column("container_sha256", sa.LargeBinary, nullable=False),  # only what a row names, with this digest, is opened
    sa.Column("sealed_key", sa.LargeBinary),  # of the container, to the public key; goes to the unit that is made of it
    sa.Column("content_mac", sa.LargeBinary, nullable=False),  # HMAC of the plaintext under the door's key: duplicates
    sa.Column("received_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("refused", sa.Text),  # why no unit was made of it: it is not what its row says; the file is kept
    sa.Column("refused_on", sa.Date),  # the source-day that lacks it
)

inbox_data_key = sa.Table(  # one random key per tenant and minute, sealed to the public key; rows are AES-GCM under it
    "inbox_data_key",
    TENANT,
    _id(),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

inbox_key = sa.Table(  # idempotency, for ever and not per day
    "inbox_key",
    TENANT,
    sa.Column("id_mac", sa.Uuid, primary_key=True),  # MAC of source, mode and the caller's id under the door's key
    sa.Column("body_mac", sa.Uuid, nullable=False),  # same id, other body: 409
    sa.Column("receipt_id", sa.Uuid, nullable=False, unique=True),
    sa.Column("body_id", sa.Uuid, nullable=False),
)

inbox_body = sa.Table(  # bodies that were stored together, of one source and mode
    "inbox_body",
    TENANT,
    _id(),
    sa.Column("source_id", sa.Uuid, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),  # test | prod
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("data_key_id", sa.Uuid, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),  # nonce | AES-256-GCM of NDJSON, a line a receipt, in order
    sa.Column("received_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("state", sa.Text, nullable=False, server_default="received"),  # received | landed | rejected
    sa.Column("changed_at", _TIME, nullable=False, server_default=_NOW),  # of the state, or of a reject
    sa.Index("inbox_body_waiting", "source_id", "received_at", postgresql_where=sa.text("state = 'received'")),
    sa.Index("inbox_body_changed", "changed_at"),
)

inbox_landed = sa.Table(  # which lines of a body are which lines of a unit; a body may hold several days
    "inbox_landed",
    TENANT,
    sa.Column("body_id", sa.Uuid, primary_key=True),
    sa.Column("first_row", sa.Integer, primary_key=True),  # 0-based in the body
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("unit_id", sa.Uuid, nullable=False),
    sa.Column("first_line", sa.Integer, nullable=False),  # 1-based in the unit
    sa.Index("inbox_landed_unit", "unit_id", "first_line"),
)

inbox_reject = sa.Table(  # what the tenant's own process could not normalise: what a receipt tells of it
    "inbox_reject",
    TENANT,
    sa.Column("receipt_id", sa.Uuid, primary_key=True),
    sa.Column("unit_id", sa.Uuid, nullable=False, index=True),
    sa.Column("reason", sa.Text, nullable=False),  # field and rule, never a value
)

inbox_nonce = sa.Table(  # of signed requests, until a replay would be too old anyway
    "inbox_nonce",
    TENANT,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("nonce_mac", sa.Uuid, primary_key=True),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)

inbox_key_use = sa.Table(  # when an API key was last used, written once a minute at most
    "inbox_key_use",
    TENANT,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("used_at", _TIME, nullable=False),
)

# --- The catalogue: what landed, what became of it, what is live ------------------------------------------------------

source = sa.Table(
    "source",
    TENANT,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

unit = sa.Table(
    "unit",
    TENANT,
    _id(),
    sa.Column("source_id", sa.Uuid, sa.ForeignKey("source.id"), nullable=False),
    sa.Column("partition", sa.Date, nullable=False),
    sa.Column("delivery", sa.Text, nullable=False),  # arrival id, pull window, inbox batch
    sa.Column("digest", sa.LargeBinary, nullable=False),  # keyed digest of the plaintext
    sa.Column("path", sa.Text, nullable=False),  # raw container, relative to the prefix
    sa.Column("container_sha256", sa.LargeBinary, nullable=False),
    sa.Column("sealed_key", sa.LargeBinary),  # the container's, and nowhere else: null destroys it, in every copy
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("name_sealed", sa.LargeBinary),
    sa.Column("landed_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("sequence", sa.BigInteger, sa.Identity(), nullable=False, unique=True),  # "newest" means highest
    sa.Column("raw_state", sa.Text, nullable=False, server_default="kept"),  # kept | destroyed
    sa.Column("repeat_of", sa.Uuid),  # the same content delivered again: recorded, not processed
    sa.UniqueConstraint("source_id", "partition", "delivery", "digest"),
    sa.CheckConstraint("raw_state = 'kept' or sealed_key is null", name="destroyed_has_no_key"),
)

data_file = sa.Table(
    "data_file",
    TENANT,
    _id(),
    sa.Column(
        "kind", sa.Text, nullable=False
    ),  # transactions | removals | rejects | profile | changes | state | results
    sa.Column("owner_id", sa.Uuid, nullable=False),  # the source or package it belongs to: in its AAD
    sa.Column(
        "generation_id", sa.Uuid, nullable=False
    ),  # the generation, publication or close it belongs to: in its AAD
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("key_wrapped", sa.LargeBinary, nullable=False),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("collected_at", _TIME),  # set when the file was deleted
)

generation = sa.Table(  # a unit's result under one reader, mapping and minimisation
    "generation",
    TENANT,
    _id(),
    sa.Column("unit_id", sa.Uuid, sa.ForeignKey("unit.id"), nullable=False),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # unit digest + reader + mapping + minimisation version
    sa.Column("state", sa.Text, nullable=False),  # candidate | passed | held | published | superseded
    sa.Column("verdict", sa.Text),  # passed | held | released | could_not_run
    sa.Column("suite_digest", sa.LargeBinary),
    sa.Column("mapping_digest", sa.LargeBinary, nullable=False),
    sa.Column("counts", JSONB, nullable=False, server_default="{}"),  # raw, rows, rejects: counts only
    sa.Column("profile_sealed", sa.LargeBinary),  # the unit's profile: control totals, ranges; judged by the suite
    sa.Column("checks", JSONB, nullable=False, server_default="[]"),  # [{check, severity, outcome}]: no values
    sa.Column("transactions_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),
    sa.Column("rejects_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
    sa.UniqueConstraint("unit_id", "fingerprint"),
    # Whoever materialises `stored`: what has not passed is not published.
    sa.CheckConstraint("state <> 'published' or verdict in ('passed', 'released')", name="published_has_passed"),
)

release = sa.Table(  # one person asks to let a held generation through, another approves
    "release",
    TENANT,
    _id(),
    sa.Column("generation_id", sa.Uuid, sa.ForeignKey("generation.id"), nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("asked_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("reason_sealed", sa.LargeBinary, nullable=False),
    sa.Column("needs_another", sa.Boolean, nullable=False, server_default=sa.true()),  # by `policy`, when approved
    sa.Column("approved_by", sa.Text),
    sa.Column("approved_at", _TIME),
    sa.CheckConstraint("not needs_another or approved_by <> asked_by", name="release_has_four_eyes"),
    sa.Index("release_open", "generation_id", unique=True, postgresql_where=sa.text("approved_by is null")),
)

publication = sa.Table(  # one unit made live, as a difference of rows
    "publication",
    TENANT,
    _id(),
    sa.Column("sequence", sa.BigInteger, sa.Identity(), nullable=False, unique=True),
    sa.Column("source_id", sa.Uuid, sa.ForeignKey("source.id"), nullable=False),
    sa.Column("partition", sa.Date, nullable=False),  # the source-day
    sa.Column("generation_id", sa.Uuid, sa.ForeignKey("generation.id"), nullable=False),
    sa.Column("adds_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),  # rows that became live
    sa.Column("removes_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),  # rows, whole, that ceased to be live
    sa.Column("counts", JSONB, nullable=False),  # added, removed, changed, repeats
    sa.Column("totals_sealed", sa.LargeBinary, nullable=False),  # added and removed per currency, rows and minor units
    sa.Column("published_at", _TIME, nullable=False, server_default=_NOW),
)

# --- Matching ---------------------------------------------------------------------------------------------------------

package = sa.Table(
    "package",
    TENANT,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

close = sa.Table(
    "close",
    TENANT,
    _id(),
    sa.Column("package_id", sa.Uuid, sa.ForeignKey("package.id"), nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),  # a restate keeps both
    sa.Column("state", sa.Text, nullable=False),  # running | published | superseded
    sa.Column("is_provisional", sa.Boolean, nullable=False),  # a source-day is missing
    sa.Column("pins", JSONB, nullable=False),  # publications taken in, versions, coverage, as_of: ids and digests only
    sa.Column("digest", sa.LargeBinary),
    sa.Column("counts", JSONB, nullable=False, server_default="{}"),
    sa.Column("figures_sealed", sa.LargeBinary),  # overview, bridge, stock and flow
    sa.Column("changes_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),
    sa.Column("proposals_file_id", sa.Uuid, sa.ForeignKey("data_file.id")),  # null: nothing was proposed
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
    sa.UniqueConstraint("package_id", "day", "version"),
    sa.Index("close_published", "package_id", "day", unique=True, postgresql_where=sa.text("state = 'published'")),
)

close_part = sa.Table(  # the files of the state a close left: a checkpoint, and the changes since, oldest first
    "close_part",
    TENANT,
    sa.Column("close_id", sa.Uuid, sa.ForeignKey("close.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("file_id", sa.Uuid, sa.ForeignKey("data_file.id"), nullable=False),
)

close_input = sa.Table(  # which publications a close took in: none twice in a package
    "close_input",
    TENANT,
    sa.Column("close_id", sa.Uuid, sa.ForeignKey("close.id"), primary_key=True),
    sa.Column("publication_id", sa.Uuid, sa.ForeignKey("publication.id"), primary_key=True),
)

decision = sa.Table(  # what people decided: entries are added, never changed; approve and withdraw answer another
    "decision",
    TENANT,
    _id(),
    sa.Column("sequence", sa.BigInteger, sa.Identity(), nullable=False, unique=True),  # the position in the log: a pin
    sa.Column("package_id", sa.Uuid, sa.ForeignKey("package.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target_id", sa.Uuid, sa.ForeignKey("decision.id")),  # approve, withdraw: what they answer
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("decided_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("expires_on", sa.Date),  # the last day it holds
    sa.Column("pass", sa.Text),  # match: the pass that made it; null: a person
    sa.Column("needs_another", sa.Boolean, nullable=False, server_default=sa.true()),  # by `policy`, when written
    sa.Column("detail_sealed", sa.LargeBinary, nullable=False),  # comment, attachment, category, amounts
    sa.UniqueConstraint("target_id", "kind", name="decision_answered_once"),
    sa.CheckConstraint(
        "kind in ('match', 'adjust', 'detach', 'rekey', 'explain', 'approve', 'withdraw')", name="decision_kind"
    ),
    sa.CheckConstraint("(target_id is not null) = (kind in ('approve', 'withdraw'))", name="decision_has_target"),
    # Time moves no row between groups: only a label expires.
    sa.CheckConstraint("expires_on is null or kind = 'explain'", name="decision_expires"),
)

decision_row = sa.Table(  # the rows a decision is about
    "decision_row",
    TENANT,
    sa.Column("decision_id", sa.Uuid, sa.ForeignKey("decision.id"), primary_key=True),
    sa.Column("row_uid", sa.Uuid, primary_key=True),
    sa.Column("package_id", sa.Uuid, sa.ForeignKey("package.id"), nullable=False),
    sa.Column("family", sa.Text, nullable=False),  # claim (match, adjust) | key (detach, rekey) | label (explain)
    sa.Column("is_active", sa.Boolean, nullable=False, server_default=sa.true()),  # until it is withdrawn
    # A row is in one match of a package at most, and has its keys decided once.
    sa.Index(
        "decision_row_once",
        "package_id",
        "row_uid",
        "family",
        unique=True,
        postgresql_where=sa.text("is_active and family <> 'label'"),
    ),
)

# --- The tenant's own keeping -----------------------------------------------------------------------------------------

secret = sa.Table(
    "secret",
    TENANT,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("changed_at", _TIME, nullable=False, server_default=_NOW),
)

oauth_token = sa.Table(
    "oauth_token",
    TENANT,
    sa.Column("source_id", sa.Uuid, sa.ForeignKey("source.id"), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("changed_at", _TIME, nullable=False, server_default=_NOW),
)

sftp_connection = sa.Table(  # how a source that fetches by sFTP and its server know one another
    "sftp_connection",
    TENANT,
    sa.Column("source_id", sa.Uuid, sa.ForeignKey("source.id"), primary_key=True),
    sa.Column("public_key", sa.Text),  # ours
    sa.Column("private_sealed", sa.LargeBinary),
    sa.Column("host_key", sa.Text),  # the server's, as a person accepted it
    sa.Column("refused_host_key", sa.Text),  # fingerprint of another that it showed: the source stands still
    sa.Column("changed_at", _TIME, nullable=False, server_default=_NOW),
)

remote_file = sa.Table(  # each version of a file that a look at a remote folder found
    "remote_file",
    TENANT,
    _id(),
    sa.Column("source_id", sa.Uuid, sa.ForeignKey("source.id"), nullable=False),
    sa.Column(
        "name_mac", sa.Uuid, nullable=False
    ),  # keyed digest of its name, which may hold personal data; the same after a move
    sa.Column("path_sealed", sa.LargeBinary, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Text, nullable=False),  # when it was changed, in the other side's words
    sa.Column("seen_at", _TIME, nullable=False, server_default=_NOW),  # when a look found this version first
    sa.Column("unit_id", sa.Uuid, sa.ForeignKey("unit.id")),  # what it became; its digest stands there
    sa.Column("settled_at", _TIME),  # moved or deleted over there
    sa.Column("refused", sa.Text),  # why it is not fetched
    sa.UniqueConstraint("source_id", "name_mac", "size_bytes", "version"),
)

error_original = sa.Table(  # what a library really said; texts may hold values, so it is sealed
    "error_original",
    TENANT,
    _id(),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("at", _TIME, nullable=False, server_default=_NOW),
)

audit_outbox = sa.Table(  # written in the transaction that changes something; chained later
    "audit_outbox",
    TENANT,
    sa.Column("sequence", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),  # known before it is written: in the detail's AAD
    sa.Column("at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("detail_sealed", sa.LargeBinary),
)

policy = sa.Table(  # what the home's administrator decided: the tenant's own processes may only read it
    "policy",
    TENANT,
    sa.Column("name", sa.Text, primary_key=True),  # four_eyes: without a row it is on
    sa.Column("is_on", sa.Boolean, nullable=False),
)

# --- Control ----------------------------------------------------------------------------------------------------------

tenant = sa.Table(
    "tenant",
    CONTROL,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

alert = sa.Table(  # what is or was wrong; names, ids and counts only
    "alert",
    CONTROL,
    _id(),
    sa.Column("key", sa.Text, nullable=False),  # what it is about: the same key is the same alert
    sa.Column("scope", sa.Text, nullable=False),  # what was looked at: only who looked there may resolve it
    sa.Column("severity", sa.Text, nullable=False),  # error | warning
    sa.Column("tenant", sa.Text),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("advice", sa.Text, nullable=False),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("resolved_at", _TIME),
    sa.Index("alert_open", "key", unique=True, postgresql_where=sa.text("resolved_at is null")),
)

alert_delivery = sa.Table(  # an outbox: a mail server that is down delays an alert and does not lose it
    "alert_delivery",
    CONTROL,
    sa.Column("alert_id", sa.Uuid, sa.ForeignKey("alert.id"), primary_key=True),
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, primary_key=True),  # opened | resolved
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("delivered_at", _TIME),
    sa.Column("failure", sa.Text),  # the kind of the last error, never its text
)

tenant_version = sa.Table(
    "tenant_version",
    CONTROL,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenant.id"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("yaml", sa.Text, nullable=False),  # holds no secret by construction
    sa.Column("applied_at", _TIME, nullable=False, server_default=_NOW),
)

tenant_environment = sa.Table(
    "tenant_environment",
    CONTROL,
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenant.id"), primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("credentials_wrapped", JSONB, nullable=False),  # role -> password wrapped by the KEK, base64
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
)

api_key = sa.Table(
    "api_key",
    CONTROL,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenant.id"), nullable=False),
    sa.Column("mode", sa.Text, nullable=False),  # test | prod
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("owner_kind", sa.Text, nullable=False, server_default="system"),  # system | person
    sa.Column("hash", sa.LargeBinary, nullable=False),  # HMAC of the key under the door key; shown once, kept never
    sa.Column("sources", JSONB),  # null: every inbox source
    sa.Column("signing_algorithm", sa.Text),  # hmac-sha256 | ed25519; null: requests need no signature
    sa.Column("signing_key", sa.LargeBinary),  # the secret, sealed under the door key; or the public key
    sa.Column("certificate", sa.LargeBinary),  # DER of the client's; null: it needs none
    sa.Column("networks", JSONB),  # CIDRs from which it may be used; null: from anywhere
    sa.Column("replaces", sa.Text),  # the key that was rotated into this one
    sa.Column("created_at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("expires_at", _TIME),
    sa.Column("revoked_at", _TIME),
)

platform_audit_outbox = sa.Table(  # what changes a tenant here, as `audit_outbox` does in its own database
    "audit_outbox",
    CONTROL,
    sa.Column("sequence", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("tenant_id", sa.Uuid, sa.ForeignKey("tenant.id"), nullable=False),
    sa.Column("at", _TIME, nullable=False, server_default=_NOW),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
)
