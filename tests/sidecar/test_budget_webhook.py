"""Alerts reach the webhook signed, once each, after failures and restarts, and hold nothing up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sidecar.budget_webhook import GIVE_UP_NS, BudgetWebhook, sign
from sidecar.core.periods import PeriodKind
from sidecar.storage.budget_ledger import BudgetLedger
from tests.rig.world import CHAT, CRITICAL, RunningSidecar, World, chat
from tests.sidecar.storage.ledger_rig import Clock, cap, held, opened, reported, rows

SECRET = "a shared secret"


class Receiver:
    """A webhook's other end: notes what comes, answers with the statuses it was given, then 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.hold_back = asyncio.Event()
        self.hold_back.set()
        self._came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._came:
            self.got.append((dict(request.headers), body))
            self._came.notify_all()
        await self.hold_back.wait()
        status = self.answers.pop(0) if self.answers else 204
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async def came(self, number: int) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(lambda: len(self.got) >= number)

    def percents(self) -> list[float]:
        return [json.loads(body)["detail"]["percent"] for _, body in self.got]


@pytest.fixture
async def receiver() -> Receiver:
    return Receiver()


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/hook"
    finally:
        receiver.hold_back.set()
        await runner.cleanup()


@asynccontextmanager
async def sending(ledger: BudgetLedger, url: str, clock: Clock | None = None) -> AsyncIterator[None]:
    webhook = BudgetWebhook(ledger.alerts, url, SECRET, clock or time.time_ns, first_retry_s=0.01)
    webhook.start()
    try:
        yield
    finally:
        await webhook.aclose()


async def spend(ledger: BudgetLedger, amount: int) -> None:
    ledger.settle(await held(ledger, amount), reported(amount))
    await ledger.flush()


async def noted_as_delivered(ledger: BudgetLedger, path: Path) -> None:
    async with asyncio.timeout(10):
        while not rows(path, "SELECT id FROM ledger_alerts WHERE delivered_at_ns IS NOT NULL"):
            await ledger.flush()


def path_in(folder: Path) -> Path:
    return folder / "ledger.sqlite"


def now() -> Clock:
    return Clock(time.time_ns())


async def test_an_alert_is_posted_and_signed(tmp_path: Path, receiver: Receiver) -> None:
    path = path_in(tmp_path)
    async with (
        listening(receiver) as url,
        opened(path, cap(100), clock=now()) as ledger,
        sending(ledger, url),
    ):
        await spend(ledger, 85)
        await receiver.came(1)
    [(headers, body)] = receiver.got
    told = json.loads(body)
    assert told["kind"] == "level_crossed"
    assert told["detail"] | {"cap": "all", "percent": 80.0, "usd": "0.0000001"} == told["detail"]
    at, signature = headers["x-sidecar-signature"].split(",")
    expected = hmac.new(SECRET.encode(), f"{at[2:]}.".encode() + body, hashlib.sha256).hexdigest()
    assert signature == f"v1={expected}"
    assert abs(int(at[2:]) - time.time()) < 60


def test_a_signature_is_of_this_body_at_this_time_with_this_secret() -> None:
    known = sign(b"secret", 1_700_000_000, b"{}")
    assert known == ("t=1700000000,v1=" + hmac.new(b"secret", b"1700000000.{}", hashlib.sha256).hexdigest())
    assert known != sign(b"secret", 1_700_000_001, b"{}")
    assert known.split(",")[1] != sign(b"secret", 1_700_000_000, b"[]").split(",")[1]
    assert known.split(",")[1] != sign(b"other", 1_700_000_000, b"{}").split(",")[1]


async def test_what_is_not_taken_is_sent_again(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [500, 404, 302]
    path = path_in(tmp_path)
    async with (
        listening(receiver) as url,
        opened(path, cap(100), clock=now()) as ledger,
        sending(ledger, url),
    ):
        await spend(ledger, 85)
        await receiver.came(4)
        await spend(ledger, 6)
        await receiver.came(5)
    assert receiver.percents() == [80, 80, 80, 80, 90]
    attempts = rows(path, "SELECT attempts FROM ledger_alerts ORDER BY id")
    assert attempts[0] == (4,)
    assert "answered 500" in caplog.text
    assert caplog.text.count("did not take") == 3


async def test_undelivered_alerts_survive_a_restart_and_are_not_sent_twice(
    tmp_path: Path, receiver: Receiver
) -> None:
    path, clock = path_in(tmp_path), now()
    async with opened(path, cap(100), clock=clock) as ledger:
        await spend(ledger, 85)
        async with sending(ledger, "http://127.0.0.1:1/hook"):
            pass
    async with listening(receiver) as url:
        async with opened(path, cap(100), clock=clock) as ledger, sending(ledger, url):
            await noted_as_delivered(ledger, path)
        async with opened(path, cap(100), clock=clock) as ledger, sending(ledger, url):
            await spend(ledger, 10)
            await receiver.came(2)
    assert receiver.percents() == [80, 90]


async def test_a_whole_sidecar_tells_of_a_level_once_over_a_restart(world: World, receiver: Receiver) -> None:
    async def move_to(sidecar: RunningSidecar, share: str) -> None:
        """Set the cap so that what is posted is this share of it."""
        (now,) = (await sidecar.admin("GET", "/budgets"))["budgets"]
        usd = (Decimal(now["posted"]) / Decimal(share)).quantize(Decimal("1e-9"), ROUND_DOWN)
        await sidecar.admin("PUT", "/budgets/all", {"usd": str(usd)})

    cap = {"name": "all", "tier": "*", "period": "total", "usd": "5"}
    async with listening(receiver) as url:
        budgets = {"caps": [cap], "webhook": url, "webhook_secret": SECRET}
        config = world.config({"budgets": budgets, "privacy": {"max_scan_ms": 10_000}})
        async with RunningSidecar(config, world.directory) as sidecar:
            response = await sidecar.http.post(CHAT, json=chat(max_tokens=20), headers=CRITICAL)
            assert response.headers["x-sidecar-tier"] == "openai"
            (now,) = (await sidecar.admin("GET", "/budgets"))["budgets"]
            # At the rate of ten minutes with one call, the cap lasts a while.
            assert datetime.fromisoformat(now["runs_out_at"]) > datetime.now(UTC)
            await move_to(sidecar, "0.85")
            await receiver.came(1)
            await noted_as_delivered(sidecar.sidecar.services.ledger, path_of(config))
        async with RunningSidecar(config, world.directory) as sidecar:
            await move_to(sidecar, "1")
            await receiver.came(4)
    told = [json.loads(body) for _, body in receiver.got]
    assert [(alert["id"], alert["detail"]["percent"]) for alert in told] == [
        (1, 80),
        (2, 80),
        (3, 90),
        (4, 100),
    ]
    for headers, body in receiver.got:
        at, signature = headers["x-sidecar-signature"].removeprefix("t=").split(",v1=")
        assert signature == hmac.new(SECRET.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def path_of(config: dict[str, Any]) -> Path:
    return path_in(Path(config["data_dir"]))


async def test_a_receiver_that_never_answers_holds_no_call_up(tmp_path: Path, receiver: Receiver) -> None:
    receiver.hold_back.clear()
    path = path_in(tmp_path)
    async with (
        listening(receiver) as url,
        opened(path, cap(1_000), clock=now()) as ledger,
        sending(ledger, url),
    ):
        await spend(ledger, 850)
        await receiver.came(1)
        async with asyncio.timeout(5):
            for _ in range(20):
                await spend(ledger, 1)
        assert len(receiver.got) == 1


async def test_a_secret_in_the_address_is_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "sidecar")
    path, url = path_in(tmp_path), "http://127.0.0.1:1/hook?token=hush"
    async with opened(path, cap(100), clock=now()) as ledger, sending(ledger, url):
        await spend(ledger, 85)
        async with asyncio.timeout(10):
            while "did not take" not in caplog.text:
                await ledger.flush()
    assert "hush" not in caplog.text


async def test_an_alert_that_is_too_old_is_delivered_no_more(tmp_path: Path, receiver: Receiver) -> None:
    clock = Clock()
    old, new = cap(100, "old", period=PeriodKind.TOTAL), cap(90, "new", period=PeriodKind.TOTAL)
    async with opened(path_in(tmp_path), old, clock=clock) as ledger:
        await spend(ledger, 85)
        clock.now_ns += GIVE_UP_NS + 1
        async with listening(receiver) as url, sending(ledger, url, clock):
            await ledger.add_cap(new)
            await receiver.came(1)
    assert [json.loads(body)["detail"]["cap"] for _, body in receiver.got] == ["new"]
