"""The sums by hour and by day are those of the rows, to the nano-dollar, whatever happened to the rows."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from sidecar.core.periods import SLOT_S
from sidecar.core.settlement import Settlement
from sidecar.storage.ledger_reports import Dimension
from tests.sidecar.budget_model import START_NS
from tests.sidecar.storage.ledger_rig import RELEASED, UNKNOWN, Clock, held, opened, reported, rows

SLOT_NS = SLOT_S * 10**9
APPS = ("rag", "search", "")
KEYS: dict[Dimension, str] = {
    "hour": "slot / 4 * 3600000000000, tier, model",
    "tier": "tier",
    "model": "model",
    "app": "app",
    "arm": "arm",
}


async def many_calls(path: Path, *, calls: int = 150) -> None:
    """Calls over four days that ended in every way, some of unknown cost that was taken back later."""
    dice, clock = random.Random(7), Clock()
    async with opened(path, clock=clock) as ledger:
        for number in range(calls):
            clock.now_ns = START_NS + number * 4 * 96 * SLOT_NS // calls
            tier, app = dice.choice(("openai", "ollama_cloud")), dice.choice(APPS)
            hold = await held(ledger, 10**6, tier, request_id=f"r{number}", model=f"{tier}-model", app=app)
            ending: Settlement = dice.choice((RELEASED, UNKNOWN, reported(dice.randrange(1, 90))))
            ledger.settle(hold, ending)
        await ledger.flush()
        for unknown in (await ledger.unreconciled())[::2]:
            assert await ledger.release(unknown.id)
        await ledger.flush()


def by_rows(path: Path, by: Dimension, since_ns: int) -> Counter[tuple[object, ...]]:
    """What the attempts themselves say."""
    found: Counter[tuple[object, ...]] = Counter()
    for *key, nano_usd in rows(
        path,
        f"SELECT {KEYS[by]}, sum(posted) FROM ledger_holds "
        f"WHERE slot >= {since_ns // SLOT_NS} AND state <> 'open' GROUP BY {KEYS[by]}",
    ):
        found[tuple(key)] = nano_usd
    return found


@pytest.mark.parametrize("by", KEYS)
async def test_sums_are_those_of_the_rows_from_every_quarter_of_an_hour_on(
    tmp_path: Path, by: Dimension
) -> None:
    path = tmp_path / "ledger.sqlite"
    await many_calls(path)
    async with opened(path) as ledger:
        for slots in (0, 1, 2, 3, 4, 50, 95, 96, 97, 191, 300, 400):
            since_ns = START_NS + slots * SLOT_NS
            charted = await ledger.reports.posted(by, since_ns)
            spent = Counter({one.key: one.nano_usd for one in charted})
            assert +spent == +by_rows(path, by, since_ns), slots
            whole = {
                one.key: (one.calls, one.input_tokens + one.output_tokens)
                for one in await ledger.reports.spend(
                    ("hour", "tier", "model") if by == "hour" else (by,), since_ns
                )
            }
            if by != "hour" or since_ns % (4 * SLOT_NS) == 0:
                assert {one.key: (one.calls, one.tokens) for one in charted} == whole


async def test_a_ledger_from_before_gets_its_sums_when_it_is_opened(tmp_path: Path) -> None:
    path, old = tmp_path / "ledger.sqlite", tmp_path / "old.sqlite"
    await many_calls(path)
    first = (resources.files("sidecar.storage") / "schema" / "ledger_001.sql").read_text()
    with closing(sqlite3.connect(old)) as before:
        before.executescript(f"{first}; PRAGMA user_version = 1;")
        before.execute("ATTACH ? AS newer", (str(path),))
        before.execute("INSERT INTO ledger_holds SELECT * FROM newer.ledger_holds")
        before.execute("INSERT INTO ledger_spend SELECT * FROM newer.ledger_spend")
        before.commit()
    async with opened(old) as ledger:
        for by in KEYS:
            charted = await ledger.reports.posted(by, START_NS)
            assert +Counter({one.key: one.nano_usd for one in charted}) == +by_rows(old, by, START_NS)
    for table in ("ledger_spend_hours", "ledger_spend_days"):
        assert rows(old, f"SELECT * FROM {table}") == rows(path, f"SELECT * FROM {table}")
