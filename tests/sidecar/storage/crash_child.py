"""Records decisions as fast as a busy sidecar would, until it is killed; run as its own process.

Prints one line per recorded call: its id and the time, once ``record`` has returned.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from sidecar.storage.database import Database
from sidecar.storage.decision_log import DecisionLog
from tests.sidecar.storage.records import record


async def main(data_dir: Path) -> None:
    database = await Database.open(data_dir)
    log = await DecisionLog.open(database, time.time_ns)
    number = 0
    while True:
        for _ in range(10):
            log.record(record(number, started_ns=time.time_ns()))
            os.write(1, f"request-{number} {time.monotonic_ns()}\n".encode())
            number += 1
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
