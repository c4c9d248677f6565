"""From YAML to a `Tenant` or a `MatchingPackage`, with every mistake named by file, line and column at once.

Three steps: the text becomes plain data with positions (`yaml_text`), the schema says what shapes are wrong
(`schema`), and only what has the right shape is read and checked across its parts here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from actuals_pipelines.domain.package import ADJUSTMENTS, Calendar, MatchingPackage
from actuals_pipelines.domain.tenant import Tenant
from actuals_pipelines.tenants.parse_package import implicit_ids, read_calendar, read_ids, read_package
from actuals_pipelines.tenants.parse_sftp import check_folders, read_sftp_account
from actuals_pipelines.tenants.parse_source import mapped_fields, read_sources
from actuals_pipelines.tenants.place import Place
from actuals_pipelines.tenants.schema import nearest, problems_of
from actuals_pipelines.yaml_text import YamlRefused, load


def parse_tenant(text: str, origin: str) -> Tenant:
    """Read a tenant's YAML.

    Args:
        origin: the file's name, for complaints.

    Raises:
        YamlRefused: every problem found, each as "FILE:line:column: expected ..., found ... . What to do."
    """
    root = _checked(text, origin, None)
    ids = read_ids(root["ids"])
    time_zone = root["time_zone"].time_zone("UTC")
    _refuse_repeated(root, "sources")
    _refuse_repeated(root, "packages")
    sources = read_sources(root["sources"].items(), time_zone)
    mapped = {source.name: mapped_fields(source.mapping, source.iterations) for source in sources}
    for place in root["packages"].items():
        if place["ids"].exists:
            place["ids"].complain_at_key("no ids here", "some", "In a tenant's file `ids:` stands beside `packages:`.")
    calendar = read_calendar(root["calendar"])
    packages = tuple(
        package if package.calendar != Calendar() else replace(package, calendar=calendar)
        for package in (read_package(place, ids, mapped) for place in root["packages"].items())
    )
    _check_id_fields(root["ids"], {name for fields in mapped.values() for name in fields})
    check_folders(root["sources"].items())
    accounts = tuple(read_sftp_account(place, sources) for place in root["sftp"].items())
    _raise(root)
    return Tenant(
        name=root["name"].text(),
        title=root["title"].optional(),
        time_zone=time_zone,
        start=root["start"].day(date(2026, 1, 1)),
        isolation=root["isolation"].text("shared"),
        sources=sources,
        packages=packages,
        ids=(*ids, *implicit_ids(root, ids, packages)),
        sftp=accounts,
    )


def place_of_field(text: str, origin: str, source: str, field: str) -> str:
    """Where a source maps a field, as FILE:line:column; where it does not, where the source stands."""
    document = load(text, origin)
    sources = Place(document, [])["sources"].items()
    [place] = [one for one in sources if one["name"].text() == source]
    mappings = (place["mapping"], *place["iterations"].items(), place)
    found = next((one[field] for one in mappings if one[field].exists), place)
    problem = document.problem(found.steps, "", "", "")
    return f"{origin}:{problem.line}:{problem.column}"


def parse_package(text: str, origin: str) -> MatchingPackage:
    """Read one package for plain files (`actuals match`): members bring their mapping, the package its `ids`.

    Raises:
        YamlRefused: as `parse_tenant`.
    """
    root = _checked(text, origin, "package")
    ids = read_ids(root["ids"])
    package = read_package(root, ids, sources=None)
    _raise(root)
    return replace(package, ids=(*ids, *implicit_ids(root, ids, (package,))))


def _checked(text: str, origin: str, part: str | None) -> Place:
    document = load(text, origin)
    problems = problems_of(document, part)
    if problems:
        raise YamlRefused(tuple(problems))
    return Place(document, [])


def _raise(root: Place) -> None:
    if root["start"].exists:
        root["start"].day(date.min)
    if root.problems:
        raise YamlRefused(tuple(sorted(set(root.problems), key=lambda problem: (problem.line, problem.column))))


def _refuse_repeated(root: Place, key: str) -> None:
    seen: set[str] = set()
    for place in root[key].items():
        name = place["name"].text()
        if key == "sources" and name == ADJUSTMENTS:
            place["name"].complain("a name of your own", repr(name), "The built-in source of write-offs has that name.")
        if name in seen:
            place["name"].complain("each name once", f"{name!r} a second time", "Rename one of the two.")
        seen.add(name)


def _check_id_fields(place: Place, mapped: set[str]) -> None:
    for scheme in place.fields().values():
        name = scheme["field"].text()
        if name not in mapped:
            scheme["field"].complain("a field that some source maps", repr(name), nearest(name, mapped))
