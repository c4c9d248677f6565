"""The one door to Great Expectations: frames and expectations in, counts out; its texts and values stay inside.

Great Expectations never raises for an expectation that breaks: it says `success=False` with exception information.
That is told apart here, because a check that could not run says nothing about the data.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.RLock()
_PLACE = "place"


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: its type in Great Expectations' snake case, its arguments."""

    type: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Met:
    """How many elements there were, and how many broke the expectation. What has no value is in neither."""

    elements: int
    unexpected: int


def check(frame: Callable[[], pd.DataFrame], expected: Sequence[Expected]) -> list[Met | None]:
    """Hold a frame against expectations; None where one could not run. Same order as `expected`.

    Args:
        frame: makes the frame; where that fails, nothing could run.
    """
    with _ONE_AT_A_TIME, _silence():
        try:
            return _check(frame(), expected)
        except Exception as error:
            # The text may quote values; the class is enough for a log.
            log.error("expectations could not run: count=%s kind=%s", len(expected), type(error).__name__)
            return [None] * len(expected)


def check_rows(rows: Sequence[Mapping[str, float | None]], expected: Sequence[Expected]) -> list[list[bool | None]]:
    """Hold rows of figures against expectations of one column each, all in one go: it costs the same for any number.

    Args:
        rows: each with the same figures; a figure that is None or no number gives no answer for its row.

    Returns:
        per row, per expectation: met, broken, or None where it could not run.
    """

    def frame() -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - a second and 100 MB that a code location need not pay

        names = dict.fromkeys(name for row in rows for name in row)
        return pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=float) for name in names})

    with _ONE_AT_A_TIME, _silence():
        try:
            figures = frame()
            # COMPLETE names the rows; no unexpected value is collected beside what stays in this function.
            results = _validate(figures, expected, "COMPLETE")
            answers = [_by_row(figures, results.get(place)) for place in range(len(expected))]
        except Exception as error:
            log.error("expectations could not run: count=%s kind=%s", len(expected), type(error).__name__)
            answers = [[None] * len(rows)] * len(expected)
    return [[answer[row] for answer in answers] for row in range(len(rows))]


def is_accepted(expected: Expected) -> bool:
    """Whether Great Expectations knows this type and takes these arguments."""
    with _ONE_AT_A_TIME, _silence():
        try:
            _expectation(expected, 0)
        except Exception:
            return False
        return True


def _check(frame: pd.DataFrame, expected: Sequence[Expected]) -> list[Met | None]:
    # SUMMARY brings the counts; no unexpected value is collected at all.
    results = _validate(frame, expected, "SUMMARY")
    return [_met(results[place]) if place in results else None for place in range(len(expected))]


def _validate(frame: pd.DataFrame, expected: Sequence[Expected], result_format: str) -> dict[int, Any]:
    """Place in `expected` -> what Great Expectations says of it; its own order is another."""
    gx = _library()
    suite = gx.ExpectationSuite(name="suite")
    suite.expectations = [_expectation(each, place) for place, each in enumerate(expected)]
    batch = _batch_definition().get_batch({"dataframe": frame})
    result = batch.validate(suite, result_format={"result_format": result_format, "partial_unexpected_count": 0})
    return {each.expectation_config.meta[_PLACE]: each for each in result.results}


def _expectation(expected: Expected, place: int) -> Any:
    name = "".join(part.capitalize() for part in expected.type.split("_"))
    return getattr(_library().expectations, name)(**expected.arguments, meta={_PLACE: place})


def _met(result: Any) -> Met | None:
    if _raised(result.exception_info):
        return None
    counts = result.result or {}
    elements, unexpected = counts.get("element_count"), counts.get("unexpected_count")
    if elements is None or unexpected is None:
        return None
    return Met(int(elements) - int(counts.get("missing_count") or 0), int(unexpected))


def _by_row(frame: pd.DataFrame, result: Any) -> list[bool | None]:
    """Met, broken or no answer for each row; for none of them where its rows and its counts do not agree."""
    nothing: list[bool | None] = [None] * len(frame)
    met = None if result is None else _met(result)
    if met is None:
        return nothing
    broken = set(result.result.get("unexpected_index_list") or ())
    has_figure = frame[result.expectation_config.kwargs["column"]].notna().tolist()
    if len(broken) != met.unexpected or met.elements != sum(has_figure):
        return nothing
    return [row not in broken if has else None for row, has in enumerate(has_figure)]


def _raised(info: Any) -> bool:
    """Exception information is flat, or one such mapping per metric."""
    if not info:
        return False
    flat = info.get("raised_exception")
    if isinstance(flat, bool):
        return flat
    return any(isinstance(each, Mapping) and each.get("raised_exception", True) for each in info.values())


@cache
def _library() -> Any:
    """Great Expectations, loaded by the first judgement of a process: seconds and 200 MB that nothing else pays.

    It also loads Spark where that is installed, for a second more. We give it frames, so Spark is hidden meanwhile.
    """
    hides = "pyspark" not in sys.modules
    if hides:
        sys.modules["pyspark"] = None  # type: ignore[assignment]  # Python's own way to say "there is none"
    try:
        import great_expectations  # noqa: PLC0415
        import great_expectations.expectations  # noqa: PLC0415
    finally:
        if hides:
            del sys.modules["pyspark"]
    return great_expectations


@cache
def _batch_definition() -> Any:
    """One ephemeral context per process: nothing of it is written anywhere, and it reports to nobody."""
    gx = _library()
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


@contextmanager
def _silence() -> Iterator[None]:
    """Great Expectations' log lines and warnings can quote values, so they reach no handler of ours, ever."""
    logger = logging.getLogger("great_expectations")
    if logger.propagate:
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
