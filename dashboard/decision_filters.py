"""The filters of the decisions pages: what can be chosen, and how the address reads."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from dashboard.page import Ask
from dashboard.wording import tier_title
from sidecar.core.policy import (
    DEFAULT_LOCAL,
    EMBEDDING_LOCAL_ONLY,
    PINNED,
    ROLLOUT_LEGACY,
    SENSITIVE_DATA_LOCAL_ONLY,
    UNKNOWN_DATA_LOCAL_ONLY,
)
from sidecar.core.vocabulary import Arm, Outcome, TaskType, VerdictState
from sidecar.services import Services
from sidecar.storage.reports import Window

#: Filters that are typed and not chosen; ``q`` is a request id or a session.
TYPED: Final = ("q", "since", "until", "min_cost_usd", "max_cost_usd", "min_latency_ms", "max_latency_ms")
#: Keys of the address that the decision log knows nothing of.
_OWN: Final = ("q", "within", "cursor")
_WITHIN_S: Final = {"1h": 3_600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
_REASONS: Final = (
    DEFAULT_LOCAL,
    EMBEDDING_LOCAL_ONLY,
    SENSITIVE_DATA_LOCAL_ONLY,
    UNKNOWN_DATA_LOCAL_ONLY,
    PINNED,
    ROLLOUT_LEGACY,
)


class Option(msgspec.Struct, frozen=True):
    """One choice of a filter, as it stands in the address and as people read it."""

    value: str
    words: str


class Choice(msgspec.Struct, frozen=True):
    """One filter with its choices; ``chosen`` is empty when it is not set. ``rare`` ones are folded away."""

    key: str
    label: str
    chosen: str
    options: tuple[Option, ...]
    rare: bool


def filter_query(ask: Ask) -> dict[str, str]:
    """The filters of the address as the decision log reads them; a time without a zone is the reader's."""
    query = {key: value.strip() for key, value in ask.query.items() if key not in _OWN}
    for key in ("since", "until"):
        if query.get(key):
            query[key] = _with_zone(query[key], ask)
    within_s = _WITHIN_S.get(ask.get("within"))
    if within_s is not None and not query.get("since"):
        query["since"] = str(ask.now_ns // 1_000_000_000 - within_s)
    return query


def _with_zone(text: str, ask: Ask) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo is not None else moment.replace(tzinfo=ask.zone).isoformat()


async def choices(services: Services, ask: Ask) -> tuple[Choice, ...]:
    """All filters that are chosen from a list; models and apps are those of the last 30 days."""
    in_force = services.in_force
    rules = (rule.name for rule in in_force.policy.rules)
    models = (share.label for share in await services.reports.by_model(Window.MONTH))
    apps = (share.label for share in await services.reports.by_app(Window.MONTH))
    return (
        _worded(ask, "tier", "Tier", {name: tier_title(name) for name in in_force.tiers}, rare=False),
        _choice(ask, "reason", "Reason", (*_REASONS, *rules)),
        _choice(ask, "outcome", "Ending", Outcome),
        _choice(ask, "verdict", "Privacy", VerdictState),
        _worded(ask, "within", "Began", {key: f"in the last {key}" for key in _WITHIN_S}, rare=False),
        _choice(ask, "arm", "Arm", Arm, rare=True),
        _worded(ask, "fallback", "Fell back", {"true": "yes", "false": "no"}, rare=True),
        _choice(ask, "model", "Model", models, rare=True),
        _choice(ask, "app", "App", apps, rare=True),
        _choice(ask, "task_type", "Task", TaskType, rare=True),
        _choice(ask, "status_class", "Status", ("2xx", "4xx", "5xx"), rare=True),
    )


def _choice(ask: Ask, key: str, label: str, values: Iterable[str], *, rare: bool = False) -> Choice:
    return _worded(ask, key, label, {str(value): str(value).replace("_", " ") for value in values}, rare=rare)


def _worded(ask: Ask, key: str, label: str, words: dict[str, str], *, rare: bool) -> Choice:
    chosen = ask.get(key)
    if chosen and chosen not in words:
        # A link may name what is no longer configured; the form must not drop it unseen.
        words = {**words, chosen: chosen}
    options = tuple(Option(value, text) for value, text in words.items())
    return Choice(key, label, chosen, options, rare)
