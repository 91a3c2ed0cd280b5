"""Writes the decisions that a filter finds as CSV or JSON, row by row, newest first."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from dashboard.decision_filters import filter_query
from dashboard.page import Ask
from dashboard.wording import iso, usd_exact
from sidecar.services import Services
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.decision_summary import DecisionSummary

#: An export ends here; narrower filters get the rest.
ROWS_MAX: Final = 100_000
_STEP: Final = 500


class Download(msgspec.Struct, frozen=True):
    """A file that is made as it is sent. ``open`` raises ``ValueError`` for a filter that cannot be read."""

    path: str
    content_type: str
    open: Callable[[Services, Ask], Awaitable[AsyncIterator[bytes]]]


async def as_csv(services: Services, ask: Ask) -> AsyncIterator[bytes]:
    """The rows as CSV with a header, for spreadsheets."""
    wanted = await _wanted(services, ask)

    async def lines() -> AsyncIterator[bytes]:
        yield _csv_line(_COLUMNS)
        async for row in _rows(services, wanted):
            yield _csv_line([_harmless(value) for value in _plain(row).values()])

    return lines()


async def as_json(services: Services, ask: Ask) -> AsyncIterator[bytes]:
    """The rows as one JSON array."""
    wanted = await _wanted(services, ask)

    async def lines() -> AsyncIterator[bytes]:
        before = b"[\n"
        async for row in _rows(services, wanted):
            yield before + msgspec.json.encode(_plain(row))
            before = b",\n"
        yield b"[]\n" if before == b"[\n" else b"\n]\n"

    return lines()


async def _wanted(services: Services, ask: Ask) -> DecisionFilter:
    """What the page shows for the same address: ``q`` is a request id, else a session."""
    query, text = filter_query(ask), ask.get("q")
    if text:
        one = DecisionFilter.parse({**query, "request_id": text})
        if (await services.search.page(one, None, 1)).decisions:
            return one
        query["session"] = text
    return DecisionFilter.parse(query)


async def _rows(services: Services, wanted: DecisionFilter) -> AsyncIterator[DecisionSummary]:
    cursor, left = None, ROWS_MAX
    while left > 0:
        page = await services.search.page(wanted, cursor, min(_STEP, left))
        for row in page.decisions:
            yield row
        left -= len(page.decisions)
        cursor = page.next_cursor
        if cursor is None:
            return


def _plain(row: DecisionSummary) -> dict[str, Any]:
    """A row as people expect it in a file: times in UTC, money in dollars."""
    plain: dict[str, Any] = msgspec.to_builtins(row)
    started_ns, cost = plain.pop("started_ns"), plain.pop("cost_nano_usd")
    return {"started_at": iso(started_ns), **plain, "cost_usd": usd_exact(cost)}


_COLUMNS: Final = [
    "started_at",
    *(name for name in DecisionSummary.__struct_fields__ if name not in ("started_ns", "cost_nano_usd")),
    "cost_usd",
]
#: What spreadsheets take for the beginning of a formula, full-width forms included.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _harmless(value: Any) -> Any:
    """A foreign text that a spreadsheet would run as a formula, marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _csv_line(values: list[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(values)
    return line.getvalue().encode("utf-8", "replace")


DOWNLOADS: Final = (
    Download("/decisions.csv", "text/csv; charset=utf-8", as_csv),
    Download("/decisions.json", "application/json", as_json),
)
