"""A process that holds money, has it billed and settles it, as fast as it can, until it is killed.

``python -m tests.sidecar.storage.paying_child DIRECTORY LIFE LIMIT`` appends a line to ``bills.log`` for each
call that a provider would have billed: its request id and its cost in nano-dollars. It says ``ready`` when
it begins.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from random import Random

from sidecar.core.budget import Hold
from sidecar.storage.budget_ledger import BudgetLedger
from tests.sidecar.storage.ledger_rig import RELEASED, UNKNOWN, cap, opened, reported, request

WORKERS = 8
HOLD_MAX = 1_000


async def work(ledger: BudgetLedger, bills: int, name: str, random: Random) -> None:
    number = 0
    while True:
        number += 1
        request_id = f"{name}-{number}"
        amount = random.randint(1, HOLD_MAX)
        hold = await ledger.hold(request(amount, request_id=request_id))
        if not isinstance(hold, Hold):
            await asyncio.sleep(0.001)
            continue
        if random.random() < 0.1:
            ledger.settle(hold, RELEASED)
            continue
        cost = random.choice([1, amount, random.randint(1, amount)])
        os.write(bills, f"{request_id} {cost}\n".encode())
        if random.random() < 0.5:
            await asyncio.sleep(random.random() * 0.005)
        ledger.settle(hold, UNKNOWN if random.random() < 0.05 else reported(cost))


async def main(folder: Path, life: str, limit: int) -> None:
    bills = os.open(folder / "bills.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    async with opened(folder / "ledger.sqlite", cap(limit)) as ledger:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        random = Random(life)
        await asyncio.gather(
            *(work(ledger, bills, f"{life}-{worker}", Random(random.random())) for worker in range(WORKERS))
        )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
