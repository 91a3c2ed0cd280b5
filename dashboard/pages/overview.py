"""The first page: is all well, what does it cost, where do calls go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from dashboard.charts import CALLS, FAILED, FIRST, P50, P95, REFUSED, SPEND, Chart, by_label, by_measure
from dashboard.money import CapRow, cap_rows
from dashboard.page import Ask, Page
from dashboard.tier_colours import colours
from dashboard.windows import window_of
from sidecar.core.alerts import Alert
from sidecar.core.periods import PeriodKind
from sidecar.services import Services
from sidecar.storage.decision_filter import DecisionFilter
from sidecar.storage.decision_summary import DecisionSummary
from sidecar.storage.reports import Line, Split, Totals, Window

#: What share of the calls each tier is meant to take.
MEANT: Final = {"local_ollama": 0.70, "ollama_cloud": 0.20, "openai": 0.10}
_RECENT: Final = 8
_ALERTS: Final = 3
_ALERTS_FOR_NS: Final = 7 * 86_400 * 1_000_000_000


class MixRow(msgspec.Struct, frozen=True):
    """One tier's part of the routed calls (0 to 1), what it is meant to be, and what it cost."""

    tier: str
    colour: str
    share: float
    meant: float | None
    calls: int
    today_nano_usd: int
    month_nano_usd: int


class OverviewContext(msgspec.Struct, frozen=True):
    """``never`` is true before the first call; ``base_url`` is where clients are to be pointed.

    ``totals``, ``mix`` and ``charts`` are over ``window``. ``stages`` are those of the rollout,
    ``keyless`` the tiers that are off for want of a key.
    """

    never: bool
    base_url: str
    keyless: tuple[str, ...]
    window: str
    windows: tuple[str, ...]
    totals: Totals
    today_nano_usd: int
    month_nano_usd: int
    mix: tuple[MixRow, ...]
    caps: tuple[CapRow, ...]
    charts: tuple[Chart, ...]
    recent: tuple[DecisionSummary, ...]
    colours: Mapping[str, str]
    alerts: tuple[Alert, ...]
    percent: float
    stages: tuple[float, ...]


async def load(services: Services, ask: Ask) -> OverviewContext:
    """Reads roll-ups, caps and the newest decisions."""
    window = window_of(ask)
    reports, ledger = services.reports, services.ledger
    settings = services.in_force.settings
    overview = await reports.overview(window)
    whole = (await reports.series(window))[0]
    by_tier = await reports.series(window, split=Split.TIER, percentiles=False)
    colour_of = colours(services)
    answered = [line for line in by_tier if line.label]
    return OverviewContext(
        never=services.log.written_sequence == 0,
        base_url=ask.base_url,
        keyless=tuple(tier.name for tier in services.tiers() if "api_key" in tier.why),
        window=window.value,
        windows=tuple(Window),
        totals=overview.totals,
        today_nano_usd=ledger.posted(PeriodKind.DAY),
        month_nano_usd=ledger.posted(PeriodKind.MONTH),
        mix=await _mix(services, window),
        caps=cap_rows(services),
        charts=(
            by_label("calls", "Calls by tier", "calls", answered, CALLS, colour_of),
            by_measure("errors", "Calls that failed", "calls", whole, (FAILED, REFUSED), "stack"),
            by_measure("latency", "Time to answer", "ms", whole, (P50, P95, FIRST)),
            by_label(
                "spend", "Spend by tier", "usd", [line for line in answered if _costs(line)], SPEND, colour_of
            ),
        ),
        recent=(await services.search.page(DecisionFilter(), None, _RECENT)).decisions,
        colours={name: colour_of(name) for name in services.in_force.tiers},
        alerts=tuple(
            alert
            for alert in await ledger.alerts.latest(_ALERTS)
            if ask.now_ns - alert.at_ns < _ALERTS_FOR_NS
        ),
        percent=services.rollout.current.percent,
        stages=tuple(settings.rollout.stages),
    )


def _costs(line: Line) -> bool:
    return any(point.totals.cost_nano_usd for point in line.points)


async def _mix(services: Services, window: Window) -> tuple[MixRow, ...]:
    """A row for every tier of the configuration, and for others that answered routed calls of the window."""
    shares = {share.label: share for share in await services.reports.routed_mix(window)}
    colour_of = colours(services)
    names = [*services.in_force.tiers, *(name for name in shares if name not in services.in_force.tiers)]
    return tuple(
        MixRow(
            tier=name,
            colour=colour_of(name),
            share=shares[name].share if name in shares else 0.0,
            meant=MEANT.get(name),
            calls=shares[name].totals.calls if name in shares else 0,
            today_nano_usd=services.ledger.posted(PeriodKind.DAY, name),
            month_nano_usd=services.ledger.posted(PeriodKind.MONTH, name),
        )
        for name in names
    )


PAGE: Final = Page(
    name="overview",
    path="/",
    title="Overview",
    context=OverviewContext,
    load=load,
    live=("overview_now", "overview_charts", "overview_recent"),
)
