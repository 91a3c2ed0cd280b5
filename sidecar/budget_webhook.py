"""Delivers budget alerts to a webhook: signed, retried, and never in the way of a call.

What is to be delivered stands in the ledger, so it outlives a restart. Each alert is one POST of JSON::

    {"id": 7, "kind": "level_crossed", "at": "2026-03-01T12:00:00+00:00", "text": "...", "detail": {...}}

``x-sidecar-signature`` is ``t=<Unix seconds>,v1=<hex>``: the HMAC-SHA256, with the shared secret, of
``<Unix seconds>.<body>``. A receiver recomputes it, compares in constant time, and refuses what is old. An
alert may come twice (the answer to the first may have been lost): ``id`` tells.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import aiohttp
import msgspec

from sidecar.core.alerts import Alert
from sidecar.core.periods import NANOSECONDS
from sidecar.storage.ledger_file import LedgerUnavailable

log = logging.getLogger("sidecar.budget")

TIMEOUT_S = 10.0
FIRST_RETRY_S = 1.0
LAST_RETRY_S = 3_600.0
#: An alert older than this helps nobody; it stays in the ledger, and is delivered no more.
GIVE_UP_NS: Final = 3 * 86_400 * NANOSECONDS

_IDLE_S = 30.0


class Outbox(Protocol):
    """Where undelivered alerts are kept: the ledger's ``AlertBook``."""

    def subscribe(self, listener: Callable[[Alert], None]) -> None: ...
    async def undelivered(self, now_ns: int, since_ns: int) -> list[Alert]: ...
    async def delivered(self, alert: Alert, now_ns: int) -> None: ...
    async def postpone(self, alert: Alert, next_try_ns: int) -> None: ...


class BudgetWebhook:
    """The sender. ``start`` it once the loop runs; ``aclose`` it before the ledger."""

    def __init__(
        self,
        outbox: Outbox,
        url: str,
        secret: str,
        clock: Callable[[], int],
        *,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        """``secret`` signs what is sent; when it is empty nothing is signed. ``clock``: Unix nanoseconds."""
        self._outbox = outbox
        self._url = url
        self._secret = secret.encode()
        self._clock = clock
        self._first_retry_s = first_retry_s
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Deliver what is waiting, and whatever comes, until ``aclose``."""
        self._outbox.subscribe(lambda _: self._news.set())
        self._task = asyncio.create_task(self._run(), name="budget-webhook")

    async def aclose(self) -> None:
        """Stop; what is not delivered stays in the outbox."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            pause_s = 0.0
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._news.wait()
                self._news.clear()
                try:
                    pause_s = await self._deliver_due(session)
                except LedgerUnavailable as error:
                    log.warning("the webhook waits for the ledger: %s", error)
                    pause_s = _IDLE_S

    async def _deliver_due(self, session: aiohttp.ClientSession) -> float:
        """Try every alert that is due, and say when to look again, in seconds."""
        now_ns = self._clock()
        pause_s = _IDLE_S
        for alert in await self._outbox.undelivered(now_ns, now_ns - GIVE_UP_NS):
            failure = await self._post(session, alert)
            if not failure:
                await self._outbox.delivered(alert, self._clock())
                continue
            retry_s = min(self._first_retry_s * 2**alert.attempts, LAST_RETRY_S)
            log.warning("the webhook did not take alert %d, again in %g s: %s", alert.id, retry_s, failure)
            await self._outbox.postpone(alert, self._clock() + int(retry_s * NANOSECONDS))
            pause_s = min(pause_s, retry_s)
        return pause_s

    async def _post(self, session: aiohttp.ClientSession, alert: Alert) -> str:
        """Send one alert; why it was not taken, or empty."""
        body = msgspec.json.encode(
            {
                "id": alert.id,
                "kind": alert.kind,
                "at": datetime.fromtimestamp(alert.at_ns // NANOSECONDS, UTC).isoformat(),
                "text": alert.text,
                "detail": alert.detail,
            }
        )
        headers = {"content-type": "application/json", "user-agent": "aegis-sidecar"}
        if self._secret:
            headers["x-sidecar-signature"] = sign(self._secret, self._clock() // NANOSECONDS, body)
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # The name only: the message may hold the address, and the address a token.
            return type(error).__name__


def sign(secret: bytes, at_s: int, body: bytes) -> str:
    """The value of ``x-sidecar-signature`` for ``body`` sent at ``at_s``, Unix seconds."""
    mac = hmac.new(secret, b"%d." % at_s + body, hashlib.sha256)
    return f"t={at_s},v1={mac.hexdigest()}"
