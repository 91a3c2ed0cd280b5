"""Tells of alerts once they are durable, and keeps those that the webhook has yet to deliver."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import aiosqlite
import msgspec

from sidecar.core.alerts import Alert, AlertKind
from sidecar.storage.ledger_file import LedgerUnavailable

log = logging.getLogger("sidecar.budget")

_COLUMNS = "SELECT id, key, at_ns, kind, text, detail, attempts FROM ledger_alerts"


class AlertBook:
    """The durable alerts, from which listeners and the webhook are served.

    Every method that reads or writes raises ``LedgerUnavailable`` when it cannot.
    """

    def __init__(self, writer: aiosqlite.Connection) -> None:
        self._writer = writer
        self._told = 0
        self._listeners: list[Callable[[Alert], None]] = []

    async def load(self) -> list[str]:
        """Find out what has been told of before this start; the keys of all crossed levels."""
        ((self._told,),) = await self._run("SELECT ifnull(max(id), 0) FROM ledger_alerts")
        rows = await self._run("SELECT key FROM ledger_alerts WHERE kind = ?", AlertKind.LEVEL_CROSSED)
        return [key for (key,) in rows]

    def subscribe(self, listener: Callable[[Alert], None]) -> None:
        """Call ``listener`` with each alert from now on, after it has become durable."""
        self._listeners.append(listener)

    async def tell(self) -> None:
        """Log the alerts that have become durable since the last time, and call the listeners."""
        rows = await self._run(f"{_COLUMNS} WHERE id > ? ORDER BY id", self._told)
        for alert in _alerts(rows):
            self._told = alert.id
            log.warning("%s", alert.text)
            for listener in self._listeners:
                try:
                    listener(alert)
                except Exception:
                    log.exception("a listener failed on the alert %s", alert.key)

    async def latest(self, limit: int = 50) -> list[Alert]:
        """The newest alerts, newest first."""
        return _alerts(await self._run(f"{_COLUMNS} ORDER BY id DESC LIMIT ?", limit))

    async def undelivered(self, now_ns: int, since_ns: int) -> list[Alert]:
        """The alerts since ``since_ns`` that are due for delivery, oldest first."""
        due = "delivered_at_ns IS NULL AND next_try_ns <= ? AND at_ns >= ?"
        return _alerts(await self._run(f"{_COLUMNS} WHERE {due} ORDER BY id LIMIT 20", now_ns, since_ns))

    async def delivered(self, alert: Alert, now_ns: int) -> None:
        """The webhook has ``alert``."""
        done = "UPDATE ledger_alerts SET delivered_at_ns = ?, attempts = attempts + 1 WHERE id = ?"
        await self._run(done, now_ns, alert.id)

    async def postpone(self, alert: Alert, next_try_ns: int) -> None:
        """The webhook did not take ``alert``; try again later."""
        later = "UPDATE ledger_alerts SET next_try_ns = ?, attempts = attempts + 1 WHERE id = ?"
        await self._run(later, next_try_ns, alert.id)

    async def _run(self, sql: str, *parameters: int | str) -> Iterable[Any]:
        try:
            return await self._writer.execute_fetchall(sql, parameters)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"the alerts cannot be read or written: {error}") from error


def _alerts(rows: Iterable[Any]) -> list[Alert]:
    return [
        Alert(id_, key, at_ns, AlertKind(kind), text, msgspec.json.decode(detail), attempts)
        for id_, key, at_ns, kind, text, detail, attempts in rows
    ]
