"""A source: one system that delivers transactions to one tenant, and how its records become transactions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SourceKind(StrEnum):
    """How a source's data come to us."""

    UPLOAD = "upload"  # an operator hands a file over
    SFTP = "sftp"  # the customer drops files at our door
    INBOX = "inbox"  # the customer pushes to our API
    OAUTH_API = "oauth_api"  # we pull


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
    clean: str | None = None  # "upper", "lower", "digits", "alphanumeric"
    version: int = 1


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Transaction field -> raw column, or expression over raw columns; the same language as the rules."""

    fields: Mapping[str, str]
    where: str | None = None  # raw records this mapping takes; None takes all
    constants: Mapping[str, str] = field(default_factory=dict)  # field -> literal text


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
    reader: Mapping[str, str] = field(default_factory=dict)  # delimiter, encoding, decimal mark, sheet, ...
    connector: str | None = None  # oauth_api: the declarative connector's name
    connection: Mapping[str, str] = field(default_factory=dict)  # oauth_api: base URL, secret's name, ...
    repull_days: int = 3  # oauth_api: how many past days the schedule asks for again
    day_from: str = "arrival"  # inbox: "timestamp" takes the event's own day instead of the day it arrived
    raw_days: int = 100  # after so many days the unit's raw key is destroyed
    expectations: tuple[Mapping[str, object], ...] = ()  # row-level Great Expectations, from YAML
