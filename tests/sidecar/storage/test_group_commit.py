"""When the disk does not take what it is given, holds are refused at once and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from sidecar.core.budget import Hold, HoldRefusal, RefusalReason
from sidecar.storage.budget_ledger import BudgetLedger, LedgerLimits
from sidecar.storage.ledger_file import LedgerUnavailable
from tests.sidecar.storage.ledger_rig import cap, held, opened, reported, request, rows

QUICK = LedgerLimits(hold_wait_s=1.0, busy_s=0.02, retry_s=0.02)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program keeps the write lock."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.rollback()
        other.close()


async def recovered(ledger: BudgetLedger) -> None:
    """Wait until the ledger can be written again."""
    async with asyncio.timeout(10):
        while True:
            with suppress(LedgerUnavailable):
                return await ledger.flush()


async def refused(ledger: BudgetLedger) -> tuple[HoldRefusal, float]:
    """A hold that must be refused for want of a disk, and how long that took."""
    started = monotonic()
    refusal = await ledger.hold(request(5))
    assert isinstance(refusal, HoldRefusal)
    assert refusal.reason is RefusalReason.UNAVAILABLE
    return refusal, monotonic() - started


async def test_a_locked_file_closes_the_tier_and_loses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with opened(path, cap(100), limits=QUICK) as ledger:
        under_way = await held(ledger, 40)
        with locked(path):
            refusal, took_s = await refused(ledger)
            assert "locked" in refusal.detail
            assert took_s < 1
            assert "locked" in ledger.unavailable
            at_once = [await refused(ledger) for _ in range(20)]
            assert sum(took_s for _, took_s in at_once) < 0.1
            assert ledger.settle(under_way, reported(25)) == 25
            assert ledger.remaining("openai") == (75, "all"), "the sheet goes on"
            assert ledger.waiting_settlements >= 1
            with pytest.raises(LedgerUnavailable):
                await ledger.flush()
            with pytest.raises(LedgerUnavailable):
                await ledger.set_cap("all", 1)
            assert ledger.remaining("openai") == (75, "all")
        await recovered(ledger)
        assert ledger.unavailable == ""
        assert ledger.waiting_settlements == 0
        assert ledger.commit_failures >= 1
        assert ledger.counters.unavailable == 21
        await held(ledger, 75)
        assert rows(path, "SELECT sum(posted) FROM ledger_spend") == [(25,)]
    assert "can be written again" in caplog.text


async def test_a_cap_that_the_configuration_lowers_is_in_force_before_it_can_be_written(path: Path) -> None:
    async with opened(path, cap(100), limits=QUICK) as ledger:
        with locked(path):
            ledger.follow([cap(30)])
            assert ledger.remaining("openai") == (30, "all")
            ledger.follow([cap(20), cap(10, "day")])
            assert ledger.remaining("openai") == (10, "day")
            with pytest.raises(LedgerUnavailable):
                await ledger.flush()
        await recovered(ledger)
        await ledger.set_cap("all", "0.000000005")
        assert ledger.remaining("openai") == (5, "all")
    kept = rows(path, "SELECT name, limit_nano, set_by FROM ledger_caps ORDER BY name")
    assert kept == [("all", 5, "operator"), ("day", 10, "config")]


async def test_a_cap_is_written_by_itself_once_it_can_be(path: Path) -> None:
    async with opened(path, cap(100), limits=QUICK) as ledger:
        with locked(path):
            ledger.follow([cap(30)])
            with pytest.raises(LedgerUnavailable):
                await ledger.flush()
        async with asyncio.timeout(10):
            while rows(path, "SELECT limit_nano FROM ledger_caps") != [(30,)]:  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.01)


async def test_many_waiting_holds_are_all_refused_and_all_given_back(path: Path) -> None:
    async with opened(path, cap(100), limits=QUICK) as ledger:
        with locked(path):
            answers = await asyncio.gather(*(ledger.hold(request(5)) for _ in range(50)))
            assert all(isinstance(answer, HoldRefusal) for answer in answers)
        assert ledger.remaining("openai") == (100, "all")
        await recovered(ledger)
        assert rows(path, "SELECT count(*) FROM ledger_holds WHERE state = 'open'") == [(0,)]


async def test_a_disk_that_answers_late_keeps_nobody_waiting(path: Path) -> None:
    slow = LedgerLimits(hold_wait_s=0.2, busy_s=30.0, retry_s=0.02)
    async with opened(path, cap(100), limits=slow) as ledger:
        with locked(path):
            refusal, took_s = await refused(ledger)
            assert "within 0.2 s" in refusal.detail
            assert 0.1 < took_s < 2
            _, took_s = await refused(ledger)
            assert took_s < 0.1
            assert ledger.remaining("openai") == (100, "all")
        await recovered(ledger)
        await held(ledger, 100)
        assert rows(path, "SELECT state, amount FROM ledger_holds") == [("released", 5), ("open", 100)]


def keep_the_loop_busy(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.parametrize("ticks", range(5))
async def test_a_loop_that_has_no_time_is_no_slow_disk(path: Path, ticks: int) -> None:
    async with opened(path, cap(100), limits=LedgerLimits(hold_wait_s=0.1)) as ledger:
        waiting = [asyncio.create_task(ledger.hold(request(5))) for _ in range(3)]
        for _ in range(ticks):
            await asyncio.sleep(0)
        keep_the_loop_busy(0.3)
        assert all(isinstance(hold, Hold) for hold in await asyncio.gather(*waiting))
        assert ledger.commit_failures == 0
        assert ledger.unavailable == ""


async def test_what_could_not_be_written_before_the_end_is_posted_whole(path: Path) -> None:
    async with opened(path, cap(100), limits=QUICK) as ledger:
        hold = await held(ledger, 40)
        with locked(path):
            ledger.settle(hold, reported(10))
            await ledger.close()
        assert isinstance(await ledger.hold(request(1)), HoldRefusal)
    async with opened(path, cap(100)) as ledger:
        assert ledger.remaining("openai") == (60, "all")


async def test_a_flush_of_nothing_is_done(path: Path) -> None:
    async with opened(path) as ledger:
        await asyncio.gather(*(ledger.flush() for _ in range(3)))
        assert ledger.commit_failures == 0


FULL_DISK = """
import asyncio, json, resource, sys
from pathlib import Path
from sidecar.core.budget import Hold
from tests.sidecar.storage.ledger_rig import cap, held, opened, reported, request
from tests.sidecar.storage.test_group_commit import QUICK, recovered, refused

def may_grow_to(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

async def main(path):
    seen = {}
    async with opened(path, cap(10_000), limits=QUICK) as ledger:
        under_way = await held(ledger, 40)
        may_grow_to(Path(f"{path}-wal").stat().st_size)
        refusal, took_s = await refused(ledger)
        seen["refusal"], seen["took_s"] = refusal.detail, took_s
        seen["at_once_s"] = sum([(await refused(ledger))[1] for _ in range(20)])
        seen["settled"] = ledger.settle(under_way, reported(25))
        seen["room_when_full"] = ledger.remaining("openai")[0]
        may_grow_to(resource.RLIM_INFINITY)
        await recovered(ledger)
        seen["waiting"] = ledger.waiting_settlements
        seen["granted"] = isinstance(await ledger.hold(request(5)), Hold)
    print(json.dumps(seen))

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_disk_that_is_full_closes_the_tier_until_there_is_room(path: Path) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        FULL_DISK,
        str(path),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    seen = json.loads(out)
    assert "disk" in seen["refusal"]
    assert seen["took_s"] < 1
    assert seen["at_once_s"] < 0.1
    assert (seen["settled"], seen["room_when_full"]) == (25, 9_975)
    assert (seen["waiting"], seen["granted"]) == (0, True)
    assert rows(path, "SELECT state, posted FROM ledger_holds ORDER BY id LIMIT 1") == [("reported", 25)]
    async with opened(path, cap(10_000)) as ledger:
        assert ledger.remaining("openai") == (10_000 - 25 - 5, "all")
        assert isinstance(await ledger.hold(request(5)), Hold)
