"""How fast one key may send."""

from __future__ import annotations

import pytest

from actuals_pipelines.sources.inbox.rates import Rates


def test_a_quiet_key_may_send_a_burst_and_then_waits_for_its_rate() -> None:
    rates = Rates(per_second=10, burst=3)

    assert [rates.wait_seconds("a", 100.0) for _ in range(3)] == [0, 0, 0]
    assert rates.wait_seconds("a", 100.0) == pytest.approx(0.1)
    assert rates.wait_seconds("b", 100.0) == 0  # another key has its own
    assert rates.wait_seconds("a", 100.25) == 0


def test_a_key_that_was_quiet_long_enough_is_forgotten() -> None:
    rates = Rates(per_second=10, burst=3)
    rates.wait_seconds("a", 100.0)
    rates.forget(101.0)
    assert rates.wait_seconds("a", 101.0) == 0
