"""Who is let in, how often."""

from __future__ import annotations

from pathlib import Path

from actuals_pipelines.sources.sftp.accounts import Accounts
from actuals_pipelines.sources.sftp.server import Drop, DropLimits


def test_a_burst_from_one_address_is_cut_and_another_address_is_not(tmp_path: Path) -> None:
    """Before any key exchange, which is what costs."""
    drop = Drop(Accounts(tmp_path, bytes(32)), DropLimits(per_second=3))

    assert [drop.admits("192.0.2.1", 100.0 + n / 100) for n in range(5)] == [True, True, True, False, False]
    assert drop.admits("192.0.2.2", 100.05)
    assert drop.admits("192.0.2.1", 101.5)  # a second later
