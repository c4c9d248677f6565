"""A source: one system that delivers transactions to one tenant, and how its records become transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum


class SourceKind(StrEnum):
    """How a source's data come to us."""

    UPLOAD = "upload"  # an operator hands a file over
    SFTP = "sftp"  # the customer drops files at our door
    INBOX = "inbox"  # the customer pushes to our API
    OAUTH_API = "oauth_api"  # we pull
    SFTP_REMOTE = "sftp_remote"  # we fetch files from their server
    FILES = "files"  # we fetch files from a bucket or an import folder
    DERIVED = "derived"  # another source's raw records, mapped again


class SideFile(StrEnum):
    """The small file beside a dropped one without which that one does not count: x.csv and x.csv.done."""

    DONE = "done"  # says that all was sent
    SHA256 = "sha256"  # holds the digest, too


FETCHED = (SourceKind.SFTP_REMOTE, SourceKind.FILES)
"""Kinds whose files we fetch from where they lie."""


class ProcessingSet(StrEnum):
    """What a unit says about the rows that were live before it."""

    ADD = "add"  # its rows join the others: files, inbox
    REPLACE = "replace"  # its rows are all of its partition's: a pull of day D
    LATEST = "latest"  # its rows are all of the source's: a full export


class Minimisation(StrEnum):
    """What is kept of a mapped column. A column that is not mapped is dropped."""

    KEEP = "keep"
    TOKEN = "token"  # noqa: S105 - not a password: shown as tok_..., still matchable
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class IdScheme:
    """How an id is found in a field and cleaned, alike for every source, so that both sides make the same key."""

    name: str
    field: str  # a transaction's column
    find: str | None = None  # regular expression (RE2); its first group, or the whole match, is the id
    clean: tuple[str, ...] = ()  # in this order: upper, lower, digits, alphanumeric, no_blanks, no_leading_zeros
    prefix: str | None = None  # taken off the id's start where it is there, after the cleaning
    version: int = 1


@dataclass(frozen=True, slots=True)
class SignRule:
    """Which amounts change their sign: all of them, or those whose flag says minus."""

    flag: str | None = None  # a column or expression; None: every record
    plus: tuple[str, ...] = ()  # what the flag says where the amount stays as it is
    minus: tuple[str, ...] = ()  # what it says where the amount is reversed; any other word is a reject


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Transaction field -> raw column, path into a JSON column, or expression; the same language as the rules.

    `amount_plus` and `amount_minus` may stand for `amount`: a pair of columns of which a record fills one.
    """

    fields: Mapping[str, str]
    where: str | None = None  # raw records this mapping takes; None takes all
    constants: Mapping[str, str] = field(default_factory=dict)  # field -> literal text
    sign: SignRule | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """When something must have come from a source again; without it nobody is told that it is late."""

    by: time  # in the source's time zone
    business_days: bool  # Monday to Friday; else every day


@dataclass(frozen=True, slots=True)
class Source:
    """One source of one tenant, as its YAML says it.

    `iterations` are passes over each raw record that each yield at most one transaction; their fields overlay
    `mapping`'s. No iterations means one pass with `mapping` alone.
    """

    name: str
    kind: SourceKind
    format: str  # a reader's name: "csv", "camt053", "ndjson", ...
    mapping: FieldMapping
    iterations: tuple[FieldMapping, ...] = ()
    publishes: ProcessingSet = ProcessingSet.ADD
    time_zone: str = "UTC"  # of timestamps that state no offset
    columns: Mapping[str, Minimisation] = field(default_factory=dict)  # mapped field -> keep | token | drop
    long_numbers: Mapping[str, str] = field(default_factory=dict)  # field not searched for card numbers -> why
    optional: tuple[str, ...] = ()  # raw columns that a unit may lack: null then
    iterate: str | None = None  # "transactions[*]": each element of that JSON list is a record of its own
    adds_up: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # gross, fee, tax, net, where -> columns
    derived_from: str | None = None  # of kind DERIVED: the source whose raw records it maps again
    reader: Mapping[str, str] = field(default_factory=dict)  # delimiter, encoding, decimal mark, sheet, ...
    folder: str | None = None  # sftp: as senders see it, beside the source's name
    side_file: SideFile | None = None  # sftp: a dropped file counts when this one came, too
    connector: str | None = None  # oauth_api: the declarative connector's name
    connection: Mapping[str, str] = field(default_factory=dict)  # what we reach out to: URL or host, secret's name, ...
    repull_days: int = 3  # oauth_api: how many past days the schedule asks for again
    day_from: str = "arrival"  # inbox: "timestamp" takes the event's own day; fetched files: "name" the one in the name
    raw_days: int = 100  # after so many days the unit's raw key is destroyed
    expected: Expected | None = None
    expectations: tuple[Mapping[str, object], ...] = ()  # row-level Great Expectations, from YAML
