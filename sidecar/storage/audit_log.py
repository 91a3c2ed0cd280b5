"""The append-only list of every change that an operator, or the sidecar itself, has made."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from sidecar.storage.cursors import decode_cursor, encode_cursor
from sidecar.storage.database import Database

PAGE_MAX: Final = 1_000
_CURSOR_KIND: Final = "audit"


class AuditEntry(msgspec.Struct, frozen=True):
    """One change. ``old`` and ``new`` are plain values, None where there was or is nothing."""

    sequence: int
    at_ns: int
    actor: str
    action: str
    subject: str
    old: Any
    new: Any
    reason: str


class AuditPage(msgspec.Struct, frozen=True):
    """Changes, newest first, and the cursor of the next page; None when there is no more."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None


class AuditLog:
    """Who changed what, when and why. Its rows cannot be changed or deleted, not even by the sidecar."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self, actor: str, action: str, subject: str, old: Any, new: Any, reason: str, at_ns: int
    ) -> None:
        """Add one change, durably. ``old`` and ``new`` are anything JSON can say. Raises ``StorageError``."""
        values = (at_ns, actor, action, subject, _to_json(old), _to_json(new), reason)
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT INTO audit (at_ns, actor, action, subject, old_value, new_value, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                values,
            )

    async def page(self, cursor: str | None = None, limit: int = 50) -> AuditPage:
        """Changes, newest first. Raises ``ValueError`` for a cursor that is none."""
        limit = max(1, min(limit, PAGE_MAX))
        before = decode_cursor(_CURSOR_KIND, cursor) if cursor else 2**62
        async with self._database.reader() as connection:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT sequence, at_ns, actor, action, subject, old_value, new_value, reason "
                    "FROM audit WHERE sequence < ? ORDER BY sequence DESC LIMIT ?",
                    (before, limit + 1),
                )
            )
        entries = tuple(
            AuditEntry(sequence, at_ns, actor, action, subject, _from_json(old), _from_json(new), reason)
            for sequence, at_ns, actor, action, subject, old, new, reason in rows[:limit]
        )
        more = len(rows) > limit
        return AuditPage(entries, encode_cursor(_CURSOR_KIND, entries[-1].sequence) if more else None)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _from_json(text: str) -> Any:
    return msgspec.json.decode(text)
