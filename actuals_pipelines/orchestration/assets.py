"""The asset families: per tenant and source raw -> validated -> stored, per tenant and package reconciliation.

Each asset has daily partitions and takes a range of days in one run. What decides about a day is the tenant's
catalogue; what Dagster holds is the view of it: counts and verdicts, per day.
"""

from collections.abc import Iterable, Sequence
from datetime import date

import dagster as dg

from actuals_pipelines.domain.package import MatchingPackage
from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.operations.results import DayResult
from actuals_pipelines.orchestration.home import HomeResource

RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""For steps that talk to other machines. A refused file is refused again: `validated` and `stored` do not retry."""

UNIT_CHECKS = ("readable", "totals_agree", "rejects", "ids", "complete")
DAY_CHECKS = ("duplicates", "volume", "continuity")
CHECKS = (*UNIT_CHECKS, *DAY_CHECKS, "own_expectations", "could_run")


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
    pulls = source.kind is SourceKind.OAUTH_API

    @dg.asset(
        key=[prefix, source.name, "raw"],
        partitions_def=days,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=loaded.pool,
        group_name=prefix,
        kinds={source.kind.value},
        retry_policy=RETRY_TRANSIENT if pulls else None,
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
        check_specs=[dg.AssetCheckSpec(name, asset=key, partitions_def=days) for name in CHECKS],
        description=f"Transactions of {source.name}, normalised by the tenant's mapping and judged unit by unit.",
    )
    def validated(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
        results = home.judge(prefix, source, _days(context))
        _describe_days(context, results)
        return dg.MaterializeResult(check_results=list(_verdicts(context, key, results)))

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


def _verdicts(
    context: dg.AssetExecutionContext, key: dg.AssetKey, results: Sequence[DayResult]
) -> Iterable[dg.AssetCheckResult]:
    """Log each day's own verdict, then one summary for each check.

    A range run's single AssetCheckResult has no partition, and every day would stay "planned" for ever.
    """
    single = len(context.partition_keys) == 1
    for name in CHECKS:
        failed: list[str] = []
        holds = False
        for result in results:
            outcomes = [check for check in result.checks if check.name == name]
            passed = all(check.outcome == "passed" for check in outcomes)
            holds_day = any(check.holds and check.outcome != "passed" for check in outcomes)
            holds = holds or holds_day
            if not passed:
                failed.append(result.day.isoformat())
            if not single:
                evaluation = dg.AssetCheckEvaluation(
                    asset_key=key,
                    check_name=name,
                    passed=passed,
                    partition=result.day.isoformat(),
                    severity=_severity(holds_day),
                    metadata={"outcome": dg.MetadataValue.text(result.outcome)},
                    blocking=False,
                )
                # The annotation of log_event forgets check evaluations; the engine takes them.
                context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=key,
            passed=not failed,
            severity=_severity(holds),
            metadata={"days_judged": len(results), "days_failed": len(failed)},
        )


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
