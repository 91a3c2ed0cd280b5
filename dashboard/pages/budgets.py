"""The budgets: every cap and where it stands, what was spent on what, and the levers to change a cap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from dashboard.action import Action, Form, Refused, Stale, field, reason, whole
from dashboard.charts import Cell, Chart, ChartRow, Column
from dashboard.money import CapRow, cap_rows
from dashboard.page import Ask, Page
from dashboard.tier_colours import colours
from dashboard.windows import window_of
from dashboard.wording import NANO, cut, tier_title, usd
from sidecar.budget_desk import StaleCap
from sidecar.core.alerts import Alert
from sidecar.core.budget import ALL_TIERS
from sidecar.core.pricing import nano_usd
from sidecar.services import Services
from sidecar.storage.budget_ledger import UnknownCap
from sidecar.storage.ledger_reports import Posted, UnreconciledHold
from sidecar.storage.reports import WINDOWS_S, Window

_ALERTS: Final = 10
_ROWS: Final = 8
_HOUR_NS: Final = 3_600 * NANO


class SpendRow(msgspec.Struct, frozen=True):
    """What one model or app cost; ``share`` is of the most expensive one, 0 to 1."""

    label: str
    nano_usd: int
    calls: int
    tokens: int
    share: float


class BudgetsContext(msgspec.Struct, frozen=True):
    """``editing`` and ``removing`` are the cap whose form is open, if one is; ``adding`` opens an empty one.

    ``priced`` are the tiers that a cap can be for. Spend is over ``window``.
    """

    caps: tuple[CapRow, ...]
    priced: tuple[str, ...]
    editing: CapRow | None
    removing: CapRow | None
    adding: bool
    timezone: str
    alerts: tuple[Alert, ...]
    holds: tuple[UnreconciledHold, ...]
    window: str
    windows: tuple[str, ...]
    chart: Chart
    models: tuple[SpendRow, ...]
    apps: tuple[SpendRow, ...]


async def load(services: Services, ask: Ask) -> BudgetsContext:
    """Reads caps, alerts, unreconciled holds and spend."""
    window = window_of(ask, Window.WEEK)
    ledger, in_force = services.ledger, services.in_force
    since_ns = ask.now_ns - WINDOWS_S[window][0] * NANO
    caps = cap_rows(services)
    by_hour = await ledger.reports.posted("hour", since_ns)
    return BudgetsContext(
        caps=caps,
        priced=tuple(name for name, tier in in_force.tiers.items() if tier.price is not None),
        editing=next((cap for cap in caps if cap.name == ask.get("edit")), None),
        removing=next((cap for cap in caps if cap.name == ask.get("remove")), None),
        adding=ask.get("add") == "cap",
        timezone=in_force.settings.budgets.timezone,
        alerts=tuple(await ledger.alerts.latest(_ALERTS)),
        holds=tuple(await ledger.unreconciled()),
        window=window.value,
        windows=tuple(Window),
        chart=_chart(by_hour, services, window, since_ns, ask),
        models=_spend_rows((str(one.key[2]), one) for one in by_hour),
        apps=_spend_rows((str(one.key[0]), one) for one in await ledger.reports.posted("app", since_ns)),
    )


def _spend_rows(labelled: Iterable[tuple[str, Posted]]) -> tuple[SpendRow, ...]:
    """Sums by label, the dearest first, those further down left out."""
    sums: dict[str, list[int]] = {}
    for label, posted in labelled:
        into = sums.setdefault(label, [0, 0, 0])
        into[0] += posted.nano_usd
        into[1] += posted.calls
        into[2] += posted.tokens
    ordered = sorted(sums.items(), key=lambda item: -item[1][0])[:_ROWS]
    most = max((nano_usd for _, (nano_usd, _, _) in ordered), default=0) or 1
    return tuple(
        SpendRow(label, nano_usd, calls, tokens, nano_usd / most)
        for label, (nano_usd, calls, tokens) in ordered
    )


def _chart(spends: Sequence[Posted], services: Services, window: Window, since_ns: int, ask: Ask) -> Chart:
    """Spend by tier, by the hour up to a day and by the reader's day beyond."""
    colour_of = colours(services)
    by_day = window in (Window.WEEK, Window.MONTH)
    sums: dict[int, dict[str, int]] = {}
    at = since_ns // _HOUR_NS * _HOUR_NS
    while at <= ask.now_ns:
        sums.setdefault(_day_ns(at, ask) if by_day else at, {})
        at += _HOUR_NS
    for spend in spends:
        hour, tier = int(spend.key[0]), str(spend.key[1])
        into = sums.setdefault(_day_ns(hour, ask) if by_day else hour, {})
        into[tier] = into.get(tier, 0) + spend.nano_usd
    tiers = sorted({tier for into in sums.values() for tier in into})
    return Chart(
        "spend",
        "Spend by day" if by_day else "Spend by hour",
        "stack",
        "usd",
        tuple(Column(cut(tier_title(tier)), colour_of(tier)) for tier in tiers),
        tuple(
            ChartRow(at, tuple(Cell(into.get(tier, 0) / NANO, usd(into.get(tier, 0))) for tier in tiers))
            for at, into in sorted(sums.items())
        ),
    )


def _day_ns(at_ns: int, ask: Ask) -> int:
    """The beginning of the reader's day that ``at_ns`` falls into."""
    day = datetime.fromtimestamp(at_ns // NANO, UTC).astimezone(ask.zone)
    return int(day.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()) * NANO


async def set_cap(services: Services, form: Form, actor: str) -> str:
    """Give a cap a new limit."""
    name, amount = field(form, "name"), field(form, "usd")
    try:
        await services.budgets.set_cap(
            name, amount, actor=actor, reason=reason(form), expected_usd=field(form, "expected_usd")
        )
    except (StaleCap, UnknownCap) as error:
        raise _stale(error, name) from None
    except ValueError as error:
        raise Refused(str(error)) from None
    return f"The cap {name} is {usd(nano_usd(amount))} from the next call on."


async def add_cap(services: Services, form: Form, actor: str) -> str:
    """Add a cap."""
    try:
        cap = await services.budgets.add_cap(
            field(form, "name"),
            form.get("tier", ALL_TIERS),
            field(form, "period"),
            field(form, "usd"),
            actor=actor,
            reason=reason(form),
        )
    except ValueError as error:
        raise Refused(str(error)) from None
    return f"The cap {cap.name} is in force: {usd(nano_usd(cap.usd))} a {cap.period}."


async def remove_cap(services: Services, form: Form, actor: str) -> str:
    """Remove a cap."""
    name = field(form, "name")
    try:
        await services.budgets.remove_cap(
            name, actor=actor, reason=reason(form), expected_usd=field(form, "expected_usd")
        )
    except (StaleCap, UnknownCap) as error:
        raise _stale(error, name) from None
    except ValueError as error:
        raise Refused(str(error)) from None
    return f"The cap {name} is gone."


async def release(services: Services, form: Form, actor: str) -> str:
    """Take back what an unreconciled hold posted."""
    if not await services.budgets.release(whole(form, "hold"), actor=actor, reason=reason(form)):
        raise Stale("This hold has been released already.")
    return "The hold is released: what it had posted counts no more."


def _stale(error: StaleCap | UnknownCap, name: str) -> Stale:
    if isinstance(error, StaleCap):
        now = usd(nano_usd(error.usd))
        return Stale(f"Meanwhile somebody set the cap {name} to {now}. Look again, then decide.")
    return Stale(f"Meanwhile somebody removed the cap {name}.")


PAGE: Final = Page(
    name="budgets",
    path="/budgets",
    title="Budgets",
    context=BudgetsContext,
    load=load,
    live=("budgets_caps", "budgets_spend"),
    live_every_s=2.0,
)
ACTIONS: Final = (
    Action("/budgets/set", PAGE.name, set_cap),
    Action("/budgets/add", PAGE.name, add_cap),
    Action("/budgets/remove", PAGE.name, remove_cap),
    Action("/budgets/release", PAGE.name, release),
)
