"""The soak, for a few seconds: under load and faults every call has its one ending, and nothing stays."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import soak


async def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    found = await soak(8.0, 200, tmp_path, growth_max=0.3)
    assert found.wrong == [], "\n".join(found.lines)
