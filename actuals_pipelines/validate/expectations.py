"""The one door to Great Expectations: frames and expectations in, counts out; its texts and values stay inside.

Great Expectations never raises for an expectation that breaks: it says `success=False` with exception information.
That is told apart here, because a check that could not run says nothing about the data.
"""

from __future__ import annotations

import logging
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


def check_figures(figures: Mapping[str, float], expected: Sequence[Expected]) -> list[Met | None]:
    """Hold one row of figures against expectations, as `check` does."""

    def frame() -> pd.DataFrame:
        import pandas as pd  # noqa: PLC0415 - a second and 100 MB that a code location need not pay

        return pd.DataFrame({name: [float(figure)] for name, figure in figures.items()})

    return check(frame, expected)


def is_accepted(expected: Expected) -> bool:
    """Whether Great Expectations knows this type and takes these arguments."""
    with _ONE_AT_A_TIME, _silence():
        try:
            _expectation(expected, 0)
        except Exception:
            return False
        return True


def _check(frame: pd.DataFrame, expected: Sequence[Expected]) -> list[Met | None]:
    import great_expectations as gx  # noqa: PLC0415 - 4 s and 200 MB that only a judgement pays

    suite = gx.ExpectationSuite(name="suite")
    suite.expectations = [_expectation(each, place) for place, each in enumerate(expected)]
    batch = _batch_definition().get_batch({"dataframe": frame})
    # SUMMARY brings the counts; no unexpected value is collected at all.
    result = batch.validate(suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": 0})
    met: list[Met | None] = [None] * len(expected)
    for each in result.results:  # in an order of its own
        met[each.expectation_config.meta[_PLACE]] = _met(each)
    return met


def _expectation(expected: Expected, place: int) -> Any:
    import great_expectations.expectations as core  # noqa: PLC0415 - see above

    name = "".join(part.capitalize() for part in expected.type.split("_"))
    return getattr(core, name)(**expected.arguments, meta={_PLACE: place})


def _met(result: Any) -> Met | None:
    if _raised(result.exception_info):
        return None
    counts = result.result or {}
    elements, unexpected = counts.get("element_count"), counts.get("unexpected_count")
    if elements is None or unexpected is None:
        return None
    return Met(int(elements) - int(counts.get("missing_count") or 0), int(unexpected))


def _raised(info: Any) -> bool:
    """Exception information is flat, or one such mapping per metric."""
    if not info:
        return False
    flat = info.get("raised_exception")
    if isinstance(flat, bool):
        return flat
    return any(isinstance(each, Mapping) and each.get("raised_exception", True) for each in info.values())


@cache
def _batch_definition() -> Any:
    """One ephemeral context per process: nothing of it is written anywhere, and it reports to nobody."""
    import great_expectations as gx  # noqa: PLC0415 - see above
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
