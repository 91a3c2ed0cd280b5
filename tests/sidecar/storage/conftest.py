"""An open database in a fresh directory, and what stands on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from tests.sidecar.storage.records import NOON_NS


class SetClock:
    """A clock that stands at ``now_ns`` until a test moves it."""

    def __init__(self) -> None:
        self.now_ns = NOON_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def log(database: Database, clock: SetClock) -> AsyncIterator[DecisionLog]:
    opened = await DecisionLog.open(database, clock)
    yield opened
    await opened.close()
