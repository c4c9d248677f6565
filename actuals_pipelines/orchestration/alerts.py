"""Alerts: after each run, failed or not, its check evaluations are read, and what failed is told.

Dagster has no sensor for a failed check, and its failure sensor does not see a warning in a run that succeeded.
The words go to the log of the daemon for now; mail and chat deliver from here later.
"""

import logging

import dagster as dg

from actuals_pipelines.operations.results import ARRIVALS_REFUSED

log = logging.getLogger(__name__)


def alert_sensors() -> list[dg.SensorDefinition]:
    """One sensor for runs that succeeded, one for those that failed."""
    return [_alerts_on(dg.DagsterRunStatus.SUCCESS), _alerts_on(dg.DagsterRunStatus.FAILURE)]


def _alerts_on(status: dg.DagsterRunStatus) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=status,
        name=f"alerts_on_{status.value.lower()}",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of failed checks and failed runs.",
    )
    def alert(context: dg.RunStatusSensorContext) -> None:
        for words in alerts_of(context.instance, context.dagster_run):
            context.log.warning(words)

    return alert


def alerts_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """What must be told of one run: a line for each failed check and refused day, and one if the run failed."""
    lines = []
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records
    for record in records:
        event = record.event_log_entry.dagster_event
        evaluation = event.event_specific_data if event else None
        if isinstance(evaluation, dg.AssetCheckEvaluation) and not evaluation.passed and evaluation.partition:
            asset = evaluation.asset_key.to_user_string()
            lines.append(
                f"check {evaluation.check_name} of {asset} on {evaluation.partition}: {evaluation.severity.value}"
            )
    records = instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    for record in records:
        done = record.event_log_entry.asset_materialization
        if done and ARRIVALS_REFUSED in done.metadata:
            asset, count = done.asset_key.to_user_string(), done.metadata[ARRIVALS_REFUSED].value
            lines.append(f"{asset} on {done.partition}: {count} refused, see `actuals source arrivals TENANT`")
    if run.status is dg.DagsterRunStatus.FAILURE:
        lines.append(f"run {run.run_id} of {run.job_name} failed")
    return lines
