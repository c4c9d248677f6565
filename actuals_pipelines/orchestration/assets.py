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
from actuals_pipelines.domain.source import Source, SourceKind
from actuals_pipelines.operations.loaded import LoadedTenant
from actuals_pipelines.operations.results import CheckResult, DayResult
from actuals_pipelines.orchestration.home import HomeResource

RETRY_TRANSIENT = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""For steps that talk to other machines. A refused file is refused again: `validated` and `stored` do not retry."""

VERDICT = "verdict"
"""The one check of `validated`: a day's verdict, with the names of what did not pass.

Dagster writes each evaluation in three statements of its own, and a tenant-day has ten checks a source: one evaluation
a day says the same for a tenth. `actuals day` shows every check of every unit, as the catalogue has it.
"""
_VERDICT_IN_WORDS = (
    "Whether the day may go on: control totals, rejects, ids and completeness of each unit hold it; duplicates, volume "
    "and continuity of the day warn. `actuals day TENANT SOURCE DATE` shows each check of each unit."
)


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
        deps=[dg.AssetKey([prefix, source.derived_from, "raw"])] if source.derived_from else None,
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
        check_specs=[dg.AssetCheckSpec(VERDICT, asset=key, partitions_def=days, description=_VERDICT_IN_WORDS)],
        description=f"Transactions of {source.name}, normalised by the tenant's mapping and judged unit by unit.",
    )
    def validated(context: dg.AssetExecutionContext, home: HomeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster reads it
        results = home.judge(prefix, source, _days(context))
        _describe_days(context, results)
        return dg.MaterializeResult(check_results=[verdict(context, key, results)])

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


def verdict(context: dg.AssetExecutionContext, key: dg.AssetKey, results: Sequence[DayResult]) -> dg.AssetCheckResult:
    """Log each day's own verdict; return the one that Dagster asks of the step.

    A range run's AssetCheckResult has no partition, and every day would stay "planned" for ever.
    """
    if PARTITION_NAME_TAG in context.run.tags:  # a range of one day is a range all the same
        [only] = results
        return dg.AssetCheckResult(check_name=VERDICT, asset_key=key, **judgement(only))
    for result in results:
        evaluation = dg.AssetCheckEvaluation(
            check_name=VERDICT, asset_key=key, partition=result.day.isoformat(), blocking=False, **judgement(result)
        )
        # The annotation of log_event forgets check evaluations; the engine takes them.
        context.op_execution_context.log_event(evaluation)  # type: ignore[arg-type]
    held = [result.day.isoformat() for result in results if result.is_held]
    warned = [result.day.isoformat() for result in results if not result.is_held and _not_passed(result)]
    return dg.AssetCheckResult(
        check_name=VERDICT,
        asset_key=key,
        passed=not held and not warned,
        severity=_severity(bool(held)),
        description=f"{len(results)} days judged, {len(held)} held, {len(warned)} with warnings.",
        metadata={"days held": ", ".join(held) or "none", "days with warnings": ", ".join(warned) or "none"},
    )


def judgement(result: DayResult) -> dict[str, Any]:
    """One day's verdict, as AssetCheckEvaluation and AssetCheckResult both take it: names and counts only."""
    failed = _not_passed(result)
    holding = sorted({check.name for check in failed if check.holds})
    warning = sorted({check.name for check in failed if not check.holds} - set(holding))
    parts = [f"{words}: {', '.join(names)}" for words, names in (("held by", holding), ("warned by", warning)) if names]
    return {
        "passed": not failed and not result.is_held,
        "severity": _severity(result.is_held),
        "description": "; ".join(parts) or ("Nothing was delivered." if result.outcome == "nothing" else "All passed."),
        "metadata": _metadata(result) | {name: _worst(result, name) for name in (*holding, *warning)},
    }


def _not_passed(result: DayResult) -> list[CheckResult]:
    return [check for check in result.checks if check.outcome != "passed"]


def _worst(result: DayResult, name: str) -> str:
    """A day's units may each have failed or not come to an answer: the latter says that a machine must be mended."""
    outcomes = {check.outcome for check in result.checks if check.name == name}
    return "could_not_run" if "could_not_run" in outcomes else "failed"


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
