"""The check of the stages notices one that has become much slower beside work of its own kind."""

from __future__ import annotations

from benchmarks.stages import read_known, slower


def test_a_slower_stage_is_told_of() -> None:
    known = {"scan": 2.0, "hold": 3.0}
    assert slower({"scan": (2.5, 1.0), "hold": (3.0, 1.0)}, known) == []
    assert slower({"scan": (2.7, 1.0), "hold": (3.0, 1.0)}, known) == [
        "scan: 2.70 times its reference, known are 2.00"
    ]


def test_every_stage_is_known() -> None:
    stages = {"decode", "scan", "decide", "hold", "attempt", "fold", "record", "trace"}
    assert read_known().keys() == stages
