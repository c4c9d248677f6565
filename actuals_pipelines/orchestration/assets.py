"""The asset families: per tenant and source raw -> validated -> stored, per tenant and package reconciliation.

Each asset has daily partitions and takes a range of days in one run. What decides about a day is the tenant's
catalogue; what Dagster holds is the view of it: counts and verdicts, per day.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
from dagster._core.storage.tags import PARTITION_NAME_TAG

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.source import FETCHED, Source, SourceKind
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.orchestration.home import HomeResource
from actuals_pipelines.orchestration.storage import log_evaluations

RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""For steps that talk to other machines. A refused file is refused again: `validated` and `stored` do not retry."""

VERDICT = "verdict"
CHECKS = {
    VERDICT: "Whether the day may go on, with the names of what did not pass.",
    "readable": "Every unit could be read as its source's format.",
    "totals_agree": "What a unit says of itself agrees with what was read: sums, counts, balances.",
    "rejects": "No more records were rejected than the source allows.",
    "ids": "Transactions have ids, and no id twice within a unit.",
    "complete": "In = stored + rejected + repeats, in rows and amounts.",
    "duplicates": "No transaction came in two units of the day.",
    "volume": "As many rows as the 28 days before let expect.",
    "continuity": "Statements follow one another without a gap or an overlap.",
    "own_expectations": "The tenant's own expectations hold.",
}
"""The checks of `validated`, each with its own history by day. `actuals day` shows them for each unit."""


def tenant_assets(loaded: LoadedTenant, days: dg.DailyPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Every asset of one tenant, under its prefix, in its own pool."""
    family: list[dg.AssetsDefinition] = []
    for source in loaded.tenant.sources:
        family += [
            _raw(loaded, source, days),
            _validated(loaded, source, days),
            _stored(loaded, source, days),
        ]
    family += [_reconciliation(loaded, package, days) for package in loaded.tenant.packages]
    return family


def _raw(loaded: LoadedTenant, source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Build `<tenant>/<source>/raw`: what the source delivered for a day, landed byte for byte and sealed."""
    prefix = loaded.asset_prefix
    reaches_out = source.kind in (SourceKind.OAUTH_API, *FETCHED)

    @dg.asset(
        key=[prefix, source.name, "raw"],
        deps=[dg.AssetKey([prefix, source.derived_from, "raw"])] if source.derived_from else None,
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=loaded.pool,
        group_name=prefix,
        kinds={source.kind.value},
        retry_policy=RETRY_TRANSIENT if reaches_out else None,
        description=f"What {source.name} delivered, byte for byte and sealed ({source.kind.value}, {source.format}).",
    )
    def raw(context: dg.AssetExecutionContext, home: HomeResource) -> None:
        _describe_days(context, home.land(prefix, source, _days(context)))

    return raw


def _validated(loaded: LoadedTenant, source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Build `<tenant>/<source>/validated`: transactions or rejects, judged; each day has its own verdict."""
    prefix = loaded.asset_prefix
    key = dg.AssetKey([prefix, source.name, "validated"])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([prefix, source.name, "raw"])],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=loaded.pool,
        group_name=prefix,
        kinds={"greatexpectations"},
        code_version=loaded.mapping_version(source),
        # Not blocking for Dagster: one bad day of thirty would stop all thirty. The catalogue's gate holds the day.
        check_specs=[
            dg.AssetCheckSpec(name, asset=key, partitions_def=days, description=words) for name, words in CHECKS.items()
        ],
        description=f"Transactions of {source.name}, normalised by the tenant's mapping and judged unit by unit.",
    )
    def validated(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
        results = home.judge(prefix, source, _days(context))
        _describe_days(context, results)
        return dg.MaterializeResult(check_results=check_results(context, key, results))

    return validated


def _stored(loaded: LoadedTenant, source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """Build `<tenant>/<source>/stored`: the days that passed, live; held days fail the run after the good are live."""
    prefix = loaded.asset_prefix
    key = dg.AssetKey([prefix, source.name, "stored"])

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([prefix, source.name, "validated"])],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=loaded.pool,
        group_name=prefix,
        kinds={"parquet"},
        description=f"Live transactions of {source.name}: what passed, as a difference of rows, encrypted.",
    )
    def stored(context: dg.AssetExecutionContext, home: HomeResource) -> None:
        results = home.publish(prefix, source, _days(context))
        _finish_days(context, key, results, instruction=f"actuals day {prefix} {source.name} DATE")

    return stored


def _reconciliation(
    loaded: LoadedTenant, package: MatchingPackage, days: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """Build `<tenant>/<package>/reconciliation`: the close of each day, from the close before and what came in."""
    prefix = loaded.asset_prefix
    key = dg.AssetKey([prefix, package.name, "reconciliation"])
    sources = sorted({member.source for _, member in package.members()})
    yesterday = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)

    @dg.asset(
        key=key,
        deps=[
            *(dg.AssetKey([prefix, source, "stored"]) for source in sources),
            dg.AssetDep(key, partition_mapping=yesterday),  # a close opens with the close before
        ],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=loaded.pool,
        group_name=prefix,
        kinds={"duckdb"},
        code_version=loaded.package_version(package),
        description=package.question or f"SOLL against IST by {package.name}.",
    )
    def reconciliation(context: dg.AssetExecutionContext, home: HomeResource) -> None:
        results = home.close(prefix, package, _days(context))
        _finish_days(context, key, results, instruction=f"actuals report {prefix} {package.name}")

    return reconciliation


def _days(context: dg.AssetExecutionContext) -> list[date]:
    return sorted(date.fromisoformat(key) for key in context.partition_keys)


def _describe_days(context: dg.AssetExecutionContext, results: Sequence[DayResult]) -> None:
    """Put each day's counts beside that day. Counts only: Dagster's database is no place for customers' values."""
    wanted = set(context.partition_keys)
    for result in results:
        if result.day.isoformat() in wanted:
            day = result.day.isoformat()
            context.add_asset_metadata(_metadata(result), asset_key=context.asset_key, partition_key=day)


def check_results(
    context: dg.AssetExecutionContext, key: dg.AssetKey, results: Sequence[DayResult]
) -> list[dg.AssetCheckResult]:
    """Log each day's own evaluations; return the ones that Dagster asks of the step.

    A range run's AssetCheckResult has no partition, and every day would stay "planned" for ever.
    """
    if PARTITION_NAME_TAG in context.run.tags:  # a range of one day is a range all the same
        [only] = results
        judged = judgements(only)
        return [dg.AssetCheckResult(check_name=name, asset_key=key, **told) for name, told in judged.items()]
    evaluations = [
        dg.AssetCheckEvaluation(
            check_name=name, asset_key=key, partition=result.day.isoformat(), blocking=False, **told
        )
        for result in results
        for name, told in judgements(result).items()
    ]
    log_evaluations(context, evaluations)
    return [_summary(key, name, evaluations) for name in CHECKS]


def _summary(key: dg.AssetKey, name: str, evaluations: Sequence[dg.AssetCheckEvaluation]) -> dg.AssetCheckResult:
    """One check over all days of a range run."""
    of_check = [one for one in evaluations if one.check_name == name]
    failed = [one for one in of_check if not one.passed]
    held = [str(one.partition) for one in failed if one.severity is dg.AssetCheckSeverity.ERROR]
    warned = [str(one.partition) for one in failed if one.severity is dg.AssetCheckSeverity.WARN]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key,
        passed=not failed,
        severity=_severity(bool(held)),
        description=f"{len(of_check)} days judged, {len(held)} held, {len(warned)} with warnings.",
        metadata={"days held": ", ".join(held) or "none", "days with warnings": ", ".join(warned) or "none"},
    )


def judgements(result: DayResult) -> dict[str, dict[str, Any]]:
    """One day's evaluation of each check, as AssetCheckEvaluation and AssetCheckResult take it: names and counts only.

    A check that found nothing to judge passed: the day says so in `outcome`.
    """
    told = {name: _judgement(result, name) for name in CHECKS if name != VERDICT}
    failed = {check.name for check in result.checks if check.outcome != "passed"}
    holding = sorted({check.name for check in result.checks if check.holds} & failed)
    parts = [("held by", holding), ("warned by", sorted(failed - set(holding)))]
    words = "; ".join(f"{by}: {', '.join(names)}" for by, names in parts if names)
    told[VERDICT] = {
        "passed": not failed and not result.is_held,
        "severity": _severity(result.is_held),
        "description": words or ("Nothing was delivered." if result.outcome == "nothing" else "All passed."),
        "metadata": _metadata(result) | {name: _worst(result, name) for name in sorted(failed)},
    }
    return told


def _judgement(result: DayResult, name: str) -> dict[str, Any]:
    outcome = _worst(result, name)
    return {
        "passed": outcome in ("passed", "nothing"),
        "severity": _severity(any(check.holds for check in result.checks if check.name == name)),
        "metadata": {"outcome": outcome},
    }


def _worst(result: DayResult, name: str) -> str:
    """A day's units may each have failed or not come to an answer: the latter says that a machine must be mended."""
    outcomes = {check.outcome for check in result.checks if check.name == name}
    return next((one for one in ("could_not_run", "failed", "passed") if one in outcomes), "nothing")


def _finish_days(
    context: dg.AssetExecutionContext, key: dg.AssetKey, results: Sequence[DayResult], *, instruction: str
) -> None:
    """Record the good days; where a day is held, fail after that, so that twenty-nine of thirty stand."""
    held = [result.day.isoformat() for result in results if result.is_held]
    if not held:
        _describe_days(context, results)
        return
    for result in results:
        if not result.is_held:
            day = result.day.isoformat()
            context.log_event(dg.AssetMaterialization(asset_key=key, partition=day, metadata=_metadata(result)))
    raise dg.Failure(
        description=f"{len(held)} of {len(results)} days are held: {', '.join(held)}. See why with `{instruction}`.",
        metadata={"days_held": len(held), "days_done": len(results) - len(held)},
        allow_retries=False,
    )


def _metadata(result: DayResult) -> dict[str, str | int]:
    return {"outcome": result.outcome, **result.counts}


def _severity(holds: bool) -> dg.AssetCheckSeverity:
    return dg.AssetCheckSeverity.ERROR if holds else dg.AssetCheckSeverity.WARN
