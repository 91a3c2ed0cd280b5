"""The decisions: what was decided for each call, newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from dashboard.decision_filters import TYPED, Choice, choices, filter_query
from dashboard.export import ROWS_MAX
from dashboard.page import Ask, Page
from dashboard.tier_colours import colours
from dashboard.wording import count
from sidecar.services import Services
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.decision_search import DecisionPage
from sidecar.storage.decision_summary import DecisionSummary

PAGE_ROWS: Final = 50


class DecisionsContext(msgspec.Struct, frozen=True):
    """``typed`` are the filters that are typed, as they were. ``more`` says that a rare filter is set.

    ``wrong`` says what was wrong with a filter, if anything. ``filters`` is the query of all filters set,
    ``filters_set`` their number, ``export_title`` what the exports hold; ``older`` is the query of the next
    page, or empty; ``first`` that this is the page of the newest.
    ``colours`` maps each tier in ``rows`` to its colour. ``never`` is true before the first call.
    """

    never: bool
    base_url: str
    choices: tuple[Choice, ...]
    typed: Mapping[str, str]
    more: bool
    wrong: str
    filters: str
    filters_set: int
    export_title: str
    rows: tuple[DecisionSummary, ...]
    colours: Mapping[str, str]
    older: str
    first: bool


async def load(services: Services, ask: Ask) -> DecisionsContext:
    """Reads one page of decisions; a filter that cannot be read yields no rows and says why."""
    wrong, found = "", DecisionPage((), None)
    try:
        found = await _search(services, ask)
    except ValueError as error:
        wrong = str(error)
    offered = await choices(services, ask)
    rare = {choice.key for choice in offered if choice.rare} | set(TYPED) - {"q"}
    filters = {key: value for key, value in ask.query.items() if value.strip() and key != "cursor"}
    colour_of = colours(services)
    return DecisionsContext(
        never=services.log.written_sequence == 0,
        base_url=ask.base_url,
        choices=offered,
        typed={key: ask.get(key) for key in TYPED},
        more=not rare.isdisjoint(filters),
        wrong=wrong,
        filters=urlencode(filters),
        filters_set=len(filters),
        export_title=f"What the filters find, newest first, {count(ROWS_MAX)} at most",
        rows=found.decisions,
        colours={row.tier: colour_of(row.tier) for row in found.decisions},
        older=urlencode({**filters, "cursor": found.next_cursor}) if found.next_cursor else "",
        first=not ask.get("cursor"),
    )


async def _search(services: Services, ask: Ask) -> DecisionPage:
    """The page that the address asks for; ``q`` is looked up as a request id, then as a session."""
    query, cursor, text = filter_query(ask), ask.get("cursor") or None, ask.get("q")
    if text and cursor is None:
        one = await services.search.page(DecisionFilter.parse({**query, "request_id": text}), None, PAGE_ROWS)
        if one.decisions:
            return one
    if text:
        query["session"] = text
    return await services.search.page(DecisionFilter.parse(query), cursor, PAGE_ROWS)


PAGE: Final = Page(
    name="decisions",
    path="/decisions",
    title="Decisions",
    context=DecisionsContext,
    load=load,
    live=("decisions_rows",),
    live_unless="cursor",
    live_first=True,
)
