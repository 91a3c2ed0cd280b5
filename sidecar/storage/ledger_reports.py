"""Answers what was spent, exactly, from the sums that the ledger keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, Literal

import aiosqlite
import msgspec

from sidecar.core.periods import SLOT_S, slot
from sidecar.storage.ledger_file import LedgerUnavailable

Dimension = Literal["tier", "model", "arm", "app", "hour"]

_SLOTS_PER_HOUR: Final = 3600 // SLOT_S
_SLOTS_PER_DAY: Final = 24 * _SLOTS_PER_HOUR
_KEPT_HOURS: Final = "hour * 3600000000000, tier, model"
_DIMENSIONS: Final[dict[str, str]] = {
    "tier": "tier",
    "model": "model",
    "arm": "arm",
    "app": "app",
    "hour": f"slot / {_SLOTS_PER_HOUR} * 3600000000000",
}
_SUMS: Final = (
    "sum(posted), sum(unreconciled), sum(calls), sum(estimated), sum(flagged), "
    "sum(input_tokens), sum(output_tokens), sum(cached_tokens)"
)
_CHARTED: Final = "sum(posted) AS nano_usd, sum(calls) AS calls, sum(input_tokens + output_tokens) AS tokens"


class Spend(msgspec.Struct, frozen=True):
    """What was posted for one group of calls; money in nano-dollars.

    ``key`` holds one value for each dimension asked for, in that order; an hour is the Unix nanosecond
    at which it starts, UTC. ``unreconciled_nano_usd`` is the part of ``posted_nano_usd`` that is a whole hold
    of unknown cost. ``calls`` are attempts that were, or may have been, billed; ``estimated`` those without
    reported usage, ``flagged`` those whose report could not be believed.
    """

    key: tuple[str | int, ...]
    posted_nano_usd: int
    unreconciled_nano_usd: int
    calls: int
    estimated: int
    flagged: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int


class Posted(msgspec.Struct, frozen=True):
    """What was posted for one group of calls, as far as it is charted; see ``Spend`` for the fields."""

    key: tuple[str | int, ...]
    nano_usd: int
    calls: int
    tokens: int


class UnreconciledHold(msgspec.Struct, frozen=True):
    """A hold whose cost is not known; the whole of it is posted until an operator releases it."""

    id: int
    request_id: str
    attempt: int
    tier: str
    model: str
    held_at_ns: int
    settled_at_ns: int
    amount_nano_usd: int


class LedgerReports:
    """Reads the ledger apart from its writer. Every method raises ``LedgerUnavailable`` when it cannot."""

    def __init__(self, reader: aiosqlite.Connection) -> None:
        self._reader = reader

    async def spend(
        self, by: Sequence[Dimension] = (), since_ns: int = 0, until_ns: int | None = None
    ) -> list[Spend]:
        """What was posted, grouped by ``by``, for calls held from ``since_ns`` to before ``until_ns``.

        Both ends count by the quarter of an hour they lie in. Groups come in the order of their keys.
        """
        keys = [_DIMENSIONS[dimension] for dimension in by]
        last = slot(until_ns - 1) if until_ns is not None else 2**62
        sql = f"SELECT {', '.join([*keys, _SUMS])} FROM ledger_spend WHERE slot BETWEEN ? AND ?"  # noqa: S608
        if keys:
            positions = ", ".join(str(position + 1) for position in range(len(keys)))
            sql += f" GROUP BY {positions} ORDER BY {positions}"
        rows = await self._read(sql, (slot(since_ns), last))
        return [
            Spend(tuple(row[: len(keys)]), *row[len(keys) :]) for row in rows if row[len(keys)] is not None
        ]

    async def posted(self, by: Dimension, since_ns: int) -> list[Posted]:
        """What ``spend`` says, less of it and sooner: sums by one dimension.

        An hour's are by tier and model as well. Whole hours, or for apps whole days, are taken from the sums
        that the ledger keeps of them, and the quarters of an hour before the first whole one from the rows.
        """
        since = slot(since_ns)
        if by == "arm":
            sql = f"SELECT arm, {_CHARTED} FROM ledger_spend WHERE slot >= ? GROUP BY 1"  # noqa: S608
            parameters: tuple[int, ...] = (since,)
        else:
            keys = "hour, tier, model" if by == "hour" else by
            first = _DIMENSIONS["hour"] + " AS hour, tier, model" if by == "hour" else by
            summed = _KEPT_HOURS if by == "hour" else keys
            table, unit, slots = (
                ("ledger_spend_days", "day", _SLOTS_PER_DAY)
                if by == "app"
                else ("ledger_spend_hours", "hour", _SLOTS_PER_HOUR)
            )
            whole = -(-since // slots)
            sql = f"""
            SELECT {keys}, sum(nano_usd), sum(calls), sum(tokens) FROM (
                SELECT {first}, posted AS nano_usd, calls, input_tokens + output_tokens AS tokens
                FROM ledger_spend WHERE slot >= ? AND slot < ?
                UNION ALL
                SELECT {summed}, posted, calls, tokens FROM {table} WHERE {unit} >= ?
            ) GROUP BY {keys}
            """  # noqa: S608
            parameters = (since, whole * slots, whole)
        rows = await self._read(sql, parameters)
        return [Posted(tuple(row[:-3]), *row[-3:]) for row in rows]

    async def unreconciled(self, limit: int = 200) -> list[UnreconciledHold]:
        """The holds whose cost is not known, newest first."""
        rows = await self._read(
            "SELECT id, request_id, attempt, tier, model, held_at_ns, settled_at_ns, amount "
            "FROM ledger_holds WHERE state = 'unknown' ORDER BY id DESC LIMIT ?",
            (limit,),
        )
        return [UnreconciledHold(*row) for row in rows]

    async def _read(self, sql: str, parameters: tuple[int, ...]) -> list[sqlite3.Row]:
        try:
            return list(await self._reader.execute_fetchall(sql, parameters))
        except (sqlite3.Error, ValueError) as error:
            raise LedgerUnavailable(f"the ledger cannot be read: {error}") from error
