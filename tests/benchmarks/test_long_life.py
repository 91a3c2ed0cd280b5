"""The measurement of a long life runs, over a real socket, and tells what it found."""

from __future__ import annotations

import pytest
import uvloop

from benchmarks.long_life import milestones, run


def test_it_weighs_a_sidecar_at_each_milestone(capsys: pytest.CaptureFixture[str]) -> None:
    rows = uvloop.run(run(1_200, 200))
    assert [done for done, *_ in rows] == [0, 1_000, 1_200]
    assert all(
        rss_mb > 50 and decisions_mb > 0 and ledger_mb > 0 for _, rss_mb, decisions_mb, ledger_mb in rows
    )
    assert capsys.readouterr().out.count("| 1,200 |") == 1


def test_milestones_rise_to_the_last_call() -> None:
    assert list(milestones(20_000)) == [1_000, 2_000, 5_000, 10_000, 20_000]
    assert list(milestones(700)) == [700]
