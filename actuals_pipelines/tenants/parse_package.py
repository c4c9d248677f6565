"""From a package's YAML to a `MatchingPackage`: members, tolerance, due days, passes, explanations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from sqlglot import exp

from actuals_pipelines.domain.money import AmountUnreadable, Money
from actuals_pipelines.domain.package import (
    Calendar,
    Due,
    ExplanationRule,
    Fee,
    MatchingPackage,
    Member,
    Pass,
    Rounding,
    Side,
    Tolerance,
)
from actuals_pipelines.domain.source import FieldMapping, IdScheme, SignRule
from actuals_pipelines.expressions import ExpressionRefused, Function, text_of
from actuals_pipelines.expressions import parse as parse_expression
from actuals_pipelines.tables import TRANSACTIONS
from actuals_pipelines.tenants.place import Place
from actuals_pipelines.tenants.schema import nearest

TRANSACTION_ID = "transaction_id"
KEYLESS = ("amount", "sum")
CORE_FIELDS = (*(name for name in TRANSACTIONS.names if name not in ("unit_id", "line")), "amount")
"""What every transaction has, under the names that mappings and predicates use."""

_OURS = ("row_uid", "row_digest", "source", "unit_id", "line", "iteration", "where", "constants", "sign")
_BESIDE = ("where", "constants", "sign")
_PAIR = ("amount_plus", "amount_minus")
AMOUNTS = frozenset(
    ["amount", "amount_minor_units", "balance_difference", "expected_difference", "soll_amount", "ist_amount", "money"]
)
GROUP_FIGURES = (
    *("balance_difference", "expected_difference", "soll_rows", "ist_rows", "soll_amount", "ist_amount"),
    *("age_days", "reason", "pass"),
)
"""What a condition may say of a group; `reconcile.rules` computes them."""


def read_ids(place: Place) -> tuple[IdScheme, ...]:
    """Read `ids:`; a scheme named as a keyless pass or the built-in scheme is a complaint."""
    schemes = []
    for name, scheme in place.fields().items():
        if name in (*KEYLESS, TRANSACTION_ID):
            scheme.complain_at_key("a name of your own", f"{name!r}", "That word has a meaning in passes already.")
        find = scheme["find"].optional()
        if find:
            _check_pattern(scheme["find"], find)
        prefix, version = scheme["prefix"].optional(), scheme["version"].number(1)
        schemes.append(IdScheme(name, scheme["field"].text(), find, scheme["clean"].texts(), prefix, version))
    return tuple(schemes)


def read_mapping(place: Place) -> FieldMapping:
    """Read a mapping: transaction field -> column, path or expression, with `where`, `constants` and `sign` beside."""
    fields = {key: part.text() for key, part in place.fields().items() if key not in _BESIDE}
    constants = place["constants"].mapping()
    for name in (*fields, *constants):
        if name in _OURS or name.startswith(("key_", "keys_")):
            at = place[name] if name in fields else place["constants"][name]
            at.complain_at_key("a field of your own", repr(name), "We fill that one ourselves: choose another name.")
    for name in sorted(set(constants) & set(fields)):
        place["constants"][name].complain_at_key("a field mapped once", f"{name!r} twice", "Remove one of the two.")
    return FieldMapping(fields, place["where"].optional(), constants, _sign(place["sign"]))


def _sign(place: Place) -> SignRule | None:
    if not place.exists:
        return None
    if place.optional():
        return SignRule()
    plus, minus = place["plus"].texts(), place["minus"].texts()
    for word in sorted(set(plus) & set(minus)):
        place["minus"].complain("words that mean minus alone", f"{word!r} in both", "Remove it from one of the two.")
    return SignRule(place["column"].text(), plus, minus)


def complain_of_missing_fields(place: Place, filled: Collection[str]) -> None:
    """Every record needs an amount, in one of three forms, and a currency."""
    forms = ({"amount"}, {"amount_minor_units"}, set(_PAIR))
    used = [form for form in forms if form & set(filled)]
    if not used:
        place.complain(
            "a field 'amount' in the mapping",
            "none",
            "Add `amount: COLUMN`; or `amount_plus` and `amount_minus`; or `amount_minor_units`.",
        )
    elif len(used) > 1:
        names = " and ".join(repr(name) for name in sorted({name for form in used for name in form & set(filled)}))
        place.complain("the amount mapped in one way", names, "Keep one way.")
    elif not used[0] <= set(filled):
        place.complain("both 'amount_plus' and 'amount_minus'", "one of them", "Add the other, or map `amount`.")
    if "currency" not in filled:
        place.complain(
            "a field 'currency' in the mapping", "none", "Add `currency: COLUMN`, or give it in `constants`."
        )


def read_package(
    place: Place, ids: tuple[IdScheme, ...], sources: Mapping[str, Collection[str]] | None
) -> MatchingPackage:
    """Read one package.

    Args:
        ids: the id schemes that passes may name.
        sources: mapped fields per source of the tenant; None for plain files, whose members bring their mapping.
    """
    name = place["name"].text()
    fields = _fields_by_source(place, sources)
    passes = tuple(_pass(part, ids, fields) for part in place["passes"].items())
    _refuse_repeated([part["name"] for part in place["passes"].items()], "pass")
    _refuse_repeated([part["name"] for part in place["explanations"].items()], "explanation")
    _refuse_repeated([part["name"] for part in place["fees"].items()], "fee")
    default = (Pass(name="transaction id", by=TRANSACTION_ID),)
    return MatchingPackage(
        name=name,
        question=place["question"].optional(),
        start=place["start"].day(date.min) if place["start"].exists else None,
        soll=tuple(_member(part, name, sources) for part in place["soll"].items()),
        ist=tuple(_member(part, name, sources) for part in place["ist"].items()),
        tolerance=_tolerance(place["tolerance"]),
        due={Side(side): _due(part) for side, part in place["due"].fields().items()},
        calendar=read_calendar(place["calendar"]),
        passes=passes or default,
        explanations=tuple(_explanation(part, name, fields) for part in place["explanations"].items()),
        fees=tuple(_fee(part, name, fields) for part in place["fees"].items()),
        key_too_common=place["key_too_common"].number(1000),
        duplicates=place["duplicates"].text("together"),
        missing=place["missing"].text("provisional"),
        ties={Side(side): part.text() for side, part in place["ties"].fields().items()},
    )


def read_calendar(place: Place) -> Calendar:
    """Read `calendar:`; a country whose holidays nobody knows is a complaint."""
    country = place["country"].optional()
    if country:
        import holidays  # noqa: PLC0415 - loads for files with a country only

        known = holidays.list_supported_countries()
        if country not in known:
            place["country"].complain("a country whose holidays are known", repr(country), "List its `days` instead.")
    return Calendar(country, tuple(part.day(date.min) for part in place["days"].items()))


def implicit_ids(place: Place, ids: tuple[IdScheme, ...], packages: tuple[MatchingPackage, ...]) -> list[IdScheme]:
    """A pass may name a mapped field instead of a scheme: that field as it stands is then a scheme of the same name.

    `transaction_id` is not among them: the engine knows that scheme by itself.
    """
    known = {scheme.name for scheme in ids} | {*KEYLESS, TRANSACTION_ID}
    named = {each.by for package in packages for each in package.passes} - known
    return [IdScheme(name, name) for name in sorted(named)]


def _fields_by_source(place: Place, sources: Mapping[str, Collection[str]] | None) -> Mapping[str, Collection[str]]:
    if sources is not None:
        return sources
    members = (*place["soll"].items(), *place["ist"].items())
    found: dict[str, set[str]] = {}
    for member in members:
        mapped = {key for key in member["mapping"].fields() if key not in _BESIDE}
        found.setdefault(member["source"].text(), set()).update(mapped, member["mapping"]["constants"].fields())
    return found


def _member(place: Place, package: str, sources: Mapping[str, Collection[str]] | None) -> Member:
    source, take, mapping = place["source"].text(), place["take"].optional(), place["mapping"]
    if sources is not None and source not in sources:
        place["source"].complain("a source of this tenant", repr(source), nearest(source, sources))
    if sources is not None and mapping.exists:
        mapping.complain_at_key("no mapping here", "one", "In a tenant's file the mapping stands at the source.")
    if take and sources is not None and source in sources:
        _check_condition(place["take"], f"package {package}, source {source}, take", {*CORE_FIELDS, *sources[source]})
    read = read_mapping(mapping) if mapping.exists else None
    if read is not None and sources is None:
        complain_of_missing_fields(mapping, {*read.fields, *read.constants})
    return Member(source, take, place["sign"].text() == "reversed", read)


def _tolerance(place: Place) -> Tolerance:
    minor_units: dict[str, int] = {}
    basis_points: int | None = None
    for part in place.items():
        amount, _, unit = part.text().partition(" ")
        if unit in minor_units or (unit == "bp" and basis_points is not None):
            part.complain("each currency once", f"{unit} a second time", "Remove one of the two.")
        elif unit == "bp":
            basis_points = int(amount) if amount.isdigit() else 0
            if not amount.isdigit():
                part.complain("whole basis points", repr(part.text()), "100 bp are 1 per cent.")
        else:
            try:
                minor_units[unit] = Money.from_words(part.text()).minor_units
            except AmountUnreadable as error:
                part.complain("an amount with its currency", repr(part.text()), f"{error.reason.capitalize()}.")
    return Tolerance(minor_units, basis_points or 0)


def _due(place: Place) -> Due:
    words = place.text().split()
    return Due(int(words[0]), business="business" in words)


def _pass(place: Place, ids: tuple[IdScheme, ...], fields: Mapping[str, Collection[str]]) -> Pass:
    by = place["by"].text()
    is_keyless = by in KEYLESS
    mapped = {name for source_fields in fields.values() for name in source_fields}
    schemes = {scheme.name for scheme in ids} | {TRANSACTION_ID, *KEYLESS}
    if by not in schemes and by not in mapped:
        place["by"].complain("an id scheme, a mapped field, amount or sum", repr(by), nearest(by, schemes | mapped))
    for key in ("look_in", "within"):
        for part in place[key].items():
            if part.text() not in mapped and part.text() not in CORE_FIELDS:
                part.complain("a mapped field", repr(part.text()), nearest(part.text(), mapped | set(CORE_FIELDS)))
    _refuse_misplaced(place, by)
    days = tuple(part.number(0) for part in place["days"].items())
    if days and days[0] > days[1]:
        place["days"].complain("first day count not above the second", "the reverse", "Swap them.")
    one, many = place["one"].optional(), place["many"].optional()
    if one and one == many:
        place["many"].complain("the other side", f"{many!r} twice", "One side is `one`, the other `many`.")
    return Pass(
        name=place["name"].text(),
        by=by,
        look_in=place["look_in"].texts(),
        several=place["several"].is_true(),
        days=(days[0], days[1]) if days else None,
        within=place["within"].texts(),
        one=Side(one) if one else None,
        many=Side(many) if many else None,
        steps=place["steps"].number(0) if place["steps"].exists else None,
        result=place["result"].text("proposed" if is_keyless else "matched"),
    )


_BELONGS = {  # what a key of a pass needs as its `by`
    "look_in": "an id scheme",
    "several": "an id scheme",
    "one": "sum",
    "many": "sum",
    "steps": "sum",
    "days": "amount or sum",
    "within": "amount or sum",
}


def _refuse_misplaced(place: Place, by: str) -> None:
    kind = {"amount": "amount or sum", "sum": "sum"}.get(by, "an id scheme")
    for key, needed in _BELONGS.items():
        fits = needed == kind or (by == "sum" and needed == "amount or sum")
        if place[key].exists and not fits:
            place[key].complain_at_key(
                f"{key!r} only where `by` is {needed}", f"by: {by}", "Remove it, or change `by`."
            )


def _fee(place: Place, package: str, fields: Mapping[str, Collection[str]]) -> Fee:
    name, when = place["name"].text(), place["when"].text()
    columns = {*CORE_FIELDS, *(field for mapped in fields.values() for field in mapped)}
    _check_condition(place["when"], f"package {package}, fee {name!r}, when", columns)
    if not place["fixed"].exists and not place["share"].exists:
        place.complain("'fixed', 'share' or both", "neither", "Say what the fee is, as `fixed: [0.25 EUR]`.")
    fixed: dict[str, int] = {}
    for part in place["fixed"].items():
        try:
            money = Money.from_words(part.text())
        except AmountUnreadable as error:
            part.complain("an amount with its currency", repr(part.text()), f"{error.reason.capitalize()}.")
            continue
        if money.currency in fixed:
            part.complain("each currency once", f"{money.currency} a second time", "Remove one of the two.")
        fixed[money.currency] = money.minor_units
    share = int(place["share"].text("0 bp").split()[0])
    return Fee(name, when, fixed, share, Rounding(place["rounding"].text("half_up")))


def _explanation(place: Place, package: str, fields: Mapping[str, Collection[str]]) -> ExplanationRule:
    name, when = place["name"].text(), place["when"].text()
    columns = {*CORE_FIELDS, *GROUP_FIGURES, *(field for mapped in fields.values() for field in mapped)}
    _check_condition(place["when"], f"package {package}, explanation {name!r}, when", columns, _RULE_FUNCTIONS)
    return ExplanationRule(name, place["category"].text(), when, place["final"].is_true())


def _check_condition(
    place: Place, where: str, columns: Collection[str], functions: Mapping[str, Function] | None = None
) -> None:
    try:
        parse_expression(place.text(), sorted(columns), where, functions=functions, amounts=AMOUNTS, is_predicate=True)
    except ExpressionRefused as error:
        place.complain("a condition", error.what, f"Allowed: {error.allowed}.")


def _money(arguments: Sequence[exp.Expression]) -> str:
    try:
        return str(Money.from_words(text_of(arguments[0]) if len(arguments) == 1 else "").minor_units)
    except AmountUnreadable:
        raise ValueError("'0.35 EUR'") from None


def _of_kinds(arguments: Sequence[exp.Expression]) -> str:
    if not arguments:
        raise ValueError("'kind', 'another kind'")
    return ", ".join(text_of(argument) for argument in arguments)


_RULE_FUNCTIONS: dict[str, Function] = {
    "money": _money,
    **dict.fromkeys(["soll_count", "ist_count", "soll_amount", "ist_amount"], _of_kinds),
}
"""The functions of conditions, checked only; `reconcile.rules` gives them their meaning."""


def _check_pattern(place: Place, pattern: str) -> None:
    """The pattern must be RE2, which has no look-around and takes linear time whatever the text."""
    import pyarrow as pa  # noqa: PLC0415 - loads for files with patterns only
    import pyarrow.compute as pc  # noqa: PLC0415

    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid:
        place.complain("a regular expression (RE2)", "one it cannot read", "RE2 has no look-around or back references.")


def _refuse_repeated(places: list[Place], what: str) -> None:
    seen: set[str] = set()
    for place in places:
        if place.text() in seen:
            place.complain(f"each {what}'s name once", f"{place.text()!r} a second time", "Rename one of them.")
        seen.add(place.text())
