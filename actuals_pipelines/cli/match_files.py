"""`actuals match`: from plain files and a package to transactions and rejects, through the same rooms as a home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa

from actuals_pipelines.domain.package import MatchingPackage, Side
from actuals_pipelines.domain.source import IdScheme, Source, SourceKind
from actuals_pipelines.encryption.pseudonyms import Pseudonyms
from actuals_pipelines.engine import engine, table_of
from actuals_pipelines.errors import ActualsError, ConfigurationError
from actuals_pipelines.normalise import normalise
from actuals_pipelines.readers import open_reader
from actuals_pipelines.readers.reading import FileRefused

FORMATS_BY_SUFFIX = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet", ".xlsx": "xlsx",
    ".ndjson": "ndjson", ".jsonl": "ndjson",
}  # fmt: skip
_KEYLESS = ("amount", "sum")
_UNIT = UUID(int=0)  # plain files have no catalogue, so no unit either


class FilesUnclear(ConfigurationError):
    """The files on the command line and the package's members do not fit each other."""


class FileUnreadable(ActualsError):
    """A named file cannot be opened or read; says which, and what the reader said."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class Input:
    """One source's files: `names` as on the command line."""

    source: str
    sides: tuple[Side, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not among the results, and why. Never its value."""

    source: str
    file: str
    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What was read: one transactions table of all sources, every reject, and counts per file."""

    transactions: pa.Table
    rejects: tuple[Reject, ...]
    counts: tuple[dict[str, Any], ...]  # source, side, file, records, rows, rejected, not_taken


def pair_files(package: MatchingPackage, soll: Sequence[str], ist: Sequence[str]) -> list[Input]:
    """Pair `shop=shop.csv` with the package's members; a side with one source needs no name.

    Raises:
        FilesUnclear: a name that is no member, or a member without a file.
    """
    found: dict[str, list[str]] = {}
    sides: dict[str, list[Side]] = {}
    for side, given in ((Side.SOLL, soll), (Side.IST, ist)):
        members = list(dict.fromkeys(member.source for where, member in package.members() if where is side))
        for words in given:
            source, name = _named(words, side, members)
            files = found.setdefault(source, [])
            if name not in files:  # a source on both sides is read once
                files.append(name)
            sides.setdefault(source, []).append(side)
        missing = [source for source in members if side not in sides.get(source, [])]
        missing = [source for source in missing if source not in found]
        if missing:
            raise FilesUnclear(
                f"Package {package.name!r} has {side} sources without a file: {', '.join(missing)}. "
                f"Add: {' '.join(f'--{side} {source}=FILE' for source in missing)}"
            )
    return [Input(source, tuple(dict.fromkeys(sides[source])), tuple(files)) for source, files in found.items()]


def _named(words: str, side: Side, members: list[str]) -> tuple[str, str]:
    source, equals, name = words.partition("=")
    if equals and source in members:
        return source, name
    if not equals and len(members) == 1:
        return members[0], words
    raise FilesUnclear(
        f"--{side} {words}: write SOURCE=FILE with a source of the package's {side} side: {', '.join(members)}."
    )


def take_in(package: MatchingPackage, inputs: Sequence[Input]) -> Taken:
    """Read and normalise every file. Ids become keys under a pepper that is forgotten afterwards.

    Raises:
        FileUnreadable, and what the mapping's configuration raises.
    """
    secrets = Pseudonyms.random()
    look_in = tuple(dict.fromkeys((each.by, field) for each in package.passes for field in each.look_in))
    tables: list[pa.Table] = []
    rejects: list[Reject] = []
    counts: list[dict[str, Any]] = []
    for each in inputs:
        source = _source(package, each)
        for place, name in enumerate(each.names):
            raw, unread = _read(name, source)
            # A source's files are told apart, so that equal records of two files stay two records.
            told_apart = source if place == 0 else _renamed(source, f"{source.name}\x1f{place}")
            done = normalise(
                raw, told_apart, ids=id_schemes(package), look_in=look_in, secrets=secrets, unit_id=_UNIT, unread=unread
            )
            tables.append(_with_source(done.transactions, source.name))
            rejects += [Reject(source.name, name, r["line"], r["field"], r["reason"]) for r in done.rejects.to_pylist()]
            counts.append(
                {
                    "source": source.name,
                    "sides": [str(side) for side in each.sides],
                    "file": name,
                    "records": done.counts["raw"],
                    "rows": done.transactions.num_rows,
                    "rejected": done.counts["rejected"],
                    "not_taken": done.counts["not_taken"],
                }
            )
    transactions, repeated = _without_repeats(pa.concat_tables(tables, promote_options="default"))
    for again in repeated:
        count = next(c for c in counts if c["source"] == again["source"])
        rejects.append(Reject(again["source"], count["file"], again["line"], "row_id", again["reason"]))
        count["rows"] -= 1
        count["rejected"] += 1
    return Taken(transactions, tuple(rejects), tuple(counts))


def _without_repeats(transactions: pa.Table) -> tuple[pa.Table, list[dict[str, Any]]]:
    """A row_id names one row. A later line under the same one is a reject: the same line again, or another one."""
    with engine() as con:
        con.register("given", transactions)
        again = table_of(
            con,
            """
            SELECT row_uid, source, line, CASE WHEN row_digest = first_digest
                   THEN 'the same line again as line ' ELSE 'another line with the row_id of line ' END
                   || first AS reason
            FROM (SELECT row_uid, source, line, row_digest, min(line) OVER w AS first,
                         first_value(row_digest) OVER w AS first_digest, row_number() OVER w AS n
                  FROM given WINDOW w AS (PARTITION BY row_uid ORDER BY line))
            WHERE n > 1 ORDER BY source, line""",
        )
        if again.num_rows == 0:
            return transactions, []
        con.register("again", again)
        kept = table_of(con, "SELECT g.* FROM given g ANTI JOIN again a ON a.row_uid = g.row_uid AND a.line = g.line")
    return kept, again.select(["source", "line", "reason"]).to_pylist()


def id_schemes(package: MatchingPackage) -> tuple[IdScheme, ...]:
    """The package's id schemes; a pass that names a field is a scheme of that field as it stands."""
    known = {scheme.name for scheme in package.ids}
    named = dict.fromkeys(each.by for each in package.passes if each.by not in (*_KEYLESS, *known))
    return (*package.ids, *(IdScheme(name=name, field=name) for name in named))


def _source(package: MatchingPackage, each: Input) -> Source:
    mappings = [member.mapping for _, member in package.members() if member.source == each.source and member.mapping]
    if not mappings:
        raise FilesUnclear(
            f"Package {package.name!r}, source {each.source!r} has no mapping. Plain files need one: "
            "mapping: {transaction_id: COLUMN, amount: COLUMN, currency: COLUMN, timestamp: COLUMN}"
        )
    if any(mapping != mappings[0] for mapping in mappings):
        raise FilesUnclear(
            f"Package {package.name!r}, source {each.source!r} has two different mappings. A source is mapped once; "
            "write the same mapping at both members, or name two sources."
        )
    return Source(each.source, SourceKind.UPLOAD, _format(each.names[0]), mappings[0])


def _format(name: str) -> str:
    found = FORMATS_BY_SUFFIX.get(Path(name).suffix.lower())
    if found is None:
        raise FileUnreadable(name, f"its ending says no format. Known endings: {', '.join(FORMATS_BY_SUFFIX)}.")
    return found


def _read(name: str, source: Source) -> tuple[pa.Table, pa.Table]:
    path = Path(name)
    if not path.is_file():
        raise FileUnreadable(name, "there is no such file.")
    try:
        with path.open("rb") as stream:
            reading = open_reader(_format(name)).read(stream, dict(source.reader))
            return reading.table(), reading.reject_table()
    except FileRefused as refused:
        raise FileUnreadable(name, str(refused)) from None
    except OSError as error:
        raise FileUnreadable(name, f"it cannot be opened ({error.strerror}).") from None


def _renamed(source: Source, name: str) -> Source:
    return Source(name, source.kind, source.format, source.mapping)


def _with_source(transactions: pa.Table, name: str) -> pa.Table:
    index = transactions.schema.get_field_index("source")
    field = transactions.schema.field(index)
    names: pa.Array = pa.array([name], pa.string()).take(pa.array([0] * transactions.num_rows, pa.int32()))
    return transactions.set_column(index, field, names)


def control_totals(transactions: pa.Table) -> Mapping[tuple[str, str], tuple[int, int]]:
    """(source, currency) -> (rows, minor units), added up by Arrow: independent of the engine that must agree."""
    totals = transactions.group_by(["source", "currency"]).aggregate(
        [("amount_minor_units", "count"), ("amount_minor_units", "sum")]
    )
    return {
        (line["source"], line["currency"]): (line["amount_minor_units_count"], line["amount_minor_units_sum"])
        for line in totals.to_pylist()
    }
