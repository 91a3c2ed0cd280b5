"""Reads decisions back: one by its id, a page of them, what is new, and a replay.

How a page is found. Any filter may match nearly all or nearly none of ten million rows, and SQLite keeps no
statistics that tell. So each filter that has an index is first asked for its number of matches, up to
``RARE_MAX``. A rare one drives the query: its few rows are taken and the other conditions checked on them.
Otherwise matches are common, and the table is walked back in time in slices, until the page is full. A walk
past its time budget stops there: the page is then short, even empty, and its cursor goes on from where
the walk came to. Only a missing ``next_cursor`` says that there is no more.
"""

# Conditions are put together from constants of the storage package; values are always parameters.
# ruff: noqa: S608

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiosqlite
import msgspec

from sidecar.core.policy import Policy, decide
from sidecar.core.vocabulary import Decision, DecisionRecord
from sidecar.storage.cursors import decode_cursor, encode_cursor
from sidecar.storage.database import Database
from sidecar.storage.decision_filter import DecisionFilter, Term, terms
from sidecar.storage.decision_summary import COLUMNS, DecisionSummary, from_row

PAGE_MAX: Final = 1_000
RARE_MAX: Final = 5_000
#: How long a page may look for matches before it comes back short, counting what is rare included.
BUDGET_S: Final = 0.03
#: How many of the newest decisions one look at what is new considers.
NEWER_MAX: Final = 5_000

EVERYTHING: Final = DecisionFilter()

_FIRST_SLICE: Final = 1_000
_CURSOR_KIND: Final = "decisions"
_COLUMNS_SQL: Final = ", ".join(COLUMNS)

_decode = msgspec.msgpack.Decoder(DecisionRecord).decode


class DecisionPage(msgspec.Struct, frozen=True):
    """Decisions, newest first, and the cursor of the next page; None when there is no more."""

    decisions: tuple[DecisionSummary, ...]
    next_cursor: str | None


class NewDecisions(msgspec.Struct, frozen=True):
    """Decisions that came after a sequence, oldest first, and the sequence up to which was looked."""

    decisions: tuple[DecisionSummary, ...]
    sequence: int


class DecisionSearch:
    """Reads what the decision log has written. Every method raises ``StorageError`` when it cannot."""

    def __init__(self, database: Database, *, budget_s: float = BUDGET_S, rare_max: int = RARE_MAX) -> None:
        self._database = database
        self._budget_s = budget_s
        self._rare_max = rare_max

    async def get(self, request_id: str) -> DecisionRecord | None:
        """The whole record of one call, or None."""
        async with self._database.reader() as connection:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT body FROM decision_bodies JOIN decisions USING (sequence) WHERE request_id = ?",
                    (request_id,),
                )
            )
        return _decode(rows[0][0]) if rows else None

    async def replay(self, request_id: str) -> Decision | None:
        """What today's code decides from the recorded features, policy and states; None without them."""
        record = await self.get(request_id)
        policy = await self.policy(record.policy_id) if record is not None else None
        if record is None or policy is None:
            return None
        return decide(record.features, policy, record.tier_states)

    async def policy(self, policy_id: str) -> Policy | None:
        """The policy that decisions with this ``policy_id`` were made under, or None."""
        async with self._database.reader() as connection:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT policy FROM policies WHERE policy_id = ?", (policy_id,)
                )
            )
        return msgspec.json.decode(rows[0][0], type=Policy) if rows else None

    async def page(
        self, wanted: DecisionFilter = EVERYTHING, cursor: str | None = None, limit: int = 50
    ) -> DecisionPage:
        """Matching decisions, newest first: in the order in which calls ended.

        Raises ``ValueError`` for a cursor that is none. ``limit`` is kept between 1 and ``PAGE_MAX``.
        """
        before = decode_cursor(_CURSOR_KIND, cursor) if cursor else None
        conditions = terms(wanted)
        async with self._database.reader() as connection:
            stop = asyncio.get_running_loop().time() + self._budget_s
            low, high = await _sequence_range(connection, wanted, before)
            look = _Look(conditions, wanted, low, high, max(1, min(limit, PAGE_MAX)))
            rare = await _rarest(connection, conditions, self._rare_max)
            if rare is not None:
                rows, reached = await _rows_of(connection, rare, look), low
            else:
                rows, reached = await _walk(connection, look, stop, self._budget_s)
        found = tuple(from_row(row) for row in rows[: look.limit])
        if len(rows) > look.limit:
            return DecisionPage(found, encode_cursor(_CURSOR_KIND, found[-1].sequence))
        return DecisionPage(found, encode_cursor(_CURSOR_KIND, reached) if reached > low else None)

    async def newer(self, sequence: int, wanted: DecisionFilter = EVERYTHING) -> NewDecisions:
        """Matching decisions after ``sequence``, oldest first; for a live table.

        Begin with ``DecisionLog.written_sequence`` and look again from ``NewDecisions.sequence``. One look
        considers ``NEWER_MAX`` decisions.
        """
        sql, parameters = _where(terms(wanted), wanted)
        async with self._database.reader() as connection:
            # The end first: what is written between the two statements waits for the next look.
            ((last,),) = await connection.execute_fetchall("SELECT coalesce(max(sequence), 0) FROM decisions")
            until = min(last, sequence + NEWER_MAX)
            rows = await connection.execute_fetchall(
                f"SELECT {_COLUMNS_SQL} FROM decisions WHERE sequence > ? AND sequence <= ? AND {sql} "
                "ORDER BY sequence",
                (sequence, until, *parameters),
            )
        return NewDecisions(tuple(from_row(row) for row in rows), max(sequence, until))


class _Look(msgspec.Struct, frozen=True):
    """What a page looks for: conditions, within ``low <= sequence < high``, and how many rows."""

    conditions: list[Term]
    wanted: DecisionFilter
    low: int
    high: int
    limit: int


async def _walk(
    connection: aiosqlite.Connection, look: _Look, stop: float, budget_s: float
) -> tuple[list[Any], int]:
    """Up to ``limit + 1`` matching rows, newest first, and the sequence that the walk came to."""
    sql, parameters = _where(look.conditions, look.wanted)
    query = (
        f"SELECT {_COLUMNS_SQL} FROM decisions WHERE sequence >= ? AND sequence < ? AND {sql} "
        "ORDER BY sequence DESC LIMIT ?"
    )
    time = asyncio.get_running_loop().time
    width = _FIRST_SLICE
    high = look.high
    rows: list[Any] = []
    while high > look.low and len(rows) <= look.limit:
        began = time()
        start = max(look.low, high - width)
        rows += await connection.execute_fetchall(
            query, (start, high, *parameters, look.limit + 1 - len(rows))
        )
        high = start
        ended = time()
        if ended > stop:
            break
        # A slice should be a small part of the budget, whatever a row costs on this machine.
        width = width * 4 if ended - began < budget_s / 20 else max(_FIRST_SLICE, width // 2)
    return rows, high


async def _sequence_range(
    connection: aiosqlite.Connection, wanted: DecisionFilter, before: int | None
) -> tuple[int, int]:
    """The sequences, ``low <= sequence < high``, among which everything lies that may match."""
    # Two subqueries: SQLite finds an end of the table at once only when it is asked for one end.
    ((low, high),) = await connection.execute_fetchall(
        "SELECT coalesce((SELECT min(sequence) FROM decisions), 0),"
        " coalesce((SELECT max(sequence) FROM decisions), -1) + 1"
    )
    if wanted.since_ns is not None or wanted.until_ns is not None:
        since = wanted.since_ns // 60_000_000_000 if wanted.since_ns is not None else -(2**62)
        until = wanted.until_ns // 60_000_000_000 if wanted.until_ns is not None else 2**62
        ((first, last),) = await connection.execute_fetchall(
            "SELECT min(first_sequence), max(last_sequence) FROM decision_minutes "
            "WHERE minute BETWEEN ? AND ?",
            (since, until),
        )
        if first is None:
            return 0, 0
        low, high = max(low, first), min(high, last + 1)
    if before is not None:
        high = min(high, before)
    return low, high


async def _rarest(connection: aiosqlite.Connection, conditions: list[Term], rare_max: int) -> Term | None:
    """The condition that fewest rows meet, if those are at most ``rare_max``."""
    rarest: Term | None = None
    fewest = rare_max + 1
    for term in conditions:
        if term.index:
            ((count,),) = await connection.execute_fetchall(
                f"SELECT count(*) FROM (SELECT 1 FROM decisions INDEXED BY {term.index} "
                f"WHERE {term.sql} LIMIT {fewest})",
                term.parameters,
            )
            if count < fewest:
                rarest, fewest = term, count
    return rarest


async def _rows_of(connection: aiosqlite.Connection, rare: Term, look: _Look) -> list[Any]:
    """Up to ``limit + 1`` matching rows, newest first, found through the index of a rare condition."""
    sql, parameters = _where([term for term in look.conditions if term is not rare], look.wanted)
    return list(
        await connection.execute_fetchall(
            f"SELECT {_COLUMNS_SQL} FROM decisions INDEXED BY {rare.index} "
            f"WHERE {rare.sql} AND sequence >= ? AND sequence < ? AND {sql} ORDER BY sequence DESC LIMIT ?",
            (*rare.parameters, look.low, look.high, *parameters, look.limit + 1),
        )
    )


def _where(conditions: list[Term], wanted: DecisionFilter) -> tuple[str, list[object]]:
    """The conditions and the exact range of time as SQL, for rows that are found by other means."""
    parts = [term.scan_sql or term.sql for term in conditions]
    parameters = [parameter for term in conditions for parameter in term.parameters]
    if wanted.since_ns is not None:
        parts.append("started_ns >= ?")
        parameters.append(wanted.since_ns)
    if wanted.until_ns is not None:
        parts.append("started_ns < ?")
        parameters.append(wanted.until_ns)
    return " AND ".join(parts) or "TRUE", parameters
