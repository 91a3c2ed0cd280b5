"""Killed at any moment, over many lives, the ledger lets no more be billed than the cap, and forgets nothing.

``SIDECAR_KILL_ROUNDS`` sets the number of lives; 6 when it is not set.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from random import Random

import pytest

from tests.sidecar.storage.ledger_rig import cap, opened, rows

ROUNDS = int(os.environ.get("SIDECAR_KILL_ROUNDS", "6"))
#: What each life may spend more than the ones before it: enough for some lives to use it up, not for all.
STEP = 100_000


def bills_of(folder: Path) -> dict[str, int]:
    lines = (folder / "bills.log").read_text().splitlines()
    return {request_id: int(cost) for request_id, cost in (line.split() for line in lines)}


async def live_and_die(folder: Path, life: int, lifetime_s: float) -> None:
    module = "tests.sidecar.storage.paying_child"
    command = (sys.executable, "-m", module, str(folder), str(life), str((life + 1) * STEP))
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert child.stdout is not None
    async with asyncio.timeout(60):
        ready = await child.stdout.readline()
        if ready != b"ready\n":
            raise AssertionError((await child.communicate())[1].decode())
        await asyncio.sleep(lifetime_s)
        child.kill()
        _, errors = await child.communicate()
    assert child.returncode == -9, errors.decode()


@pytest.mark.timeout(120 + 10 * ROUNDS)
async def test_no_life_and_no_death_lets_more_be_billed_than_the_cap(tmp_path: Path) -> None:
    random = Random(1)
    for life in range(ROUNDS):
        await live_and_die(tmp_path, life, random.uniform(0.0, 0.4))
        assert sum(bills_of(tmp_path).values()) <= (life + 1) * STEP
    bills = bills_of(tmp_path)
    assert bills, "nobody lived long enough to be billed"
    path, limit = tmp_path / "ledger.sqlite", ROUNDS * STEP
    async with opened(path, cap(limit)) as ledger:
        [status] = ledger.caps()
        assert sum(bills.values()) <= status.posted_nano_usd <= limit
        assert status.held_nano_usd == 0
        posted = dict(rows(path, "SELECT request_id, posted FROM ledger_holds"))
        assert all(posted[request_id] >= cost for request_id, cost in bills.items()), "a bill was forgotten"
        settled = rows(path, "SELECT request_id, posted FROM ledger_holds WHERE state = 'reported'")
        assert all(bills[request_id] == cost for request_id, cost in settled)
        [total] = await ledger.reports.spend()
        assert total.posted_nano_usd == status.posted_nano_usd == sum(posted.values())
        assert total.unreconciled_nano_usd == sum(
            amount for (amount,) in rows(path, "SELECT posted FROM ledger_holds WHERE state = 'unknown'")
        )
