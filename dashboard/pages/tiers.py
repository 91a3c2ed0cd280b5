"""The tiers: which are on, what they are, how they do, and the levers to take one out and put it back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from dashboard.action import Action, Form, Stale, field, reason
from dashboard.explain import FAULTS
from dashboard.page import Ask, Page
from dashboard.tier_colours import colours
from dashboard.windows import window_of
from dashboard.wording import NANO, count, tier_title
from sidecar.core.breaker import BreakerView, Circuit
from sidecar.core.tiers import PriceSpec, TierSpec
from sidecar.services import Services
from sidecar.storage.reports import ErrorKind, Share, Totals, Window
from sidecar.tier_desk import TierView, UnknownTier

_ERRORS: Final = 6


class ErrorRow(msgspec.Struct, frozen=True):
    """How often something went wrong, in words."""

    words: str
    count: int
    of: str


class TierCard(msgspec.Struct, frozen=True):
    """One tier: ``totals`` of the calls that it answered, and the attempts that failed at it.

    ``price``, ``limits`` and ``circuit`` are in words; ``tried_again_ns`` is when an open circuit breaker
    lets a call through, ``left_nano_usd`` what the tightest cap leaves. Figures are over the page's window.
    """

    view: TierView
    colour: str
    price: str
    limits: tuple[str, ...]
    circuit: str
    tried_again_ns: int | None
    left_nano_usd: int | None
    left_under: str
    totals: Totals
    failed_attempts: int
    models: tuple[Share, ...]
    errors: tuple[ErrorRow, ...]


class Move(msgspec.Struct, frozen=True):
    """What the reader thinks of doing with a tier: taking it out, or (``back``) putting it back.

    ``sentences`` say what that would change.
    """

    tier: str
    back: bool
    sentences: tuple[str, ...]


class TiersContext(msgspec.Struct, frozen=True):
    """All tiers, in the order of the configuration; ``move`` is the change that waits to be confirmed."""

    window: str
    windows: tuple[str, ...]
    move: Move | None
    tiers: tuple[TierCard, ...]


async def load(services: Services, ask: Ask) -> TiersContext:
    """Reads the tiers' states and their figures."""
    window = window_of(ask)
    reports = services.reports
    totals = {share.label: share.totals for share in await reports.tier_mix(window)}
    errors = await reports.errors_by_kind(window)
    colour_of = colours(services)
    cards = []
    for view in services.tiers():
        spec = services.in_force.tiers[view.name]
        left, under = services.ledger.remaining(view.name) if view.priced else (None, "")
        cards.append(
            TierCard(
                view=view,
                colour=colour_of(view.name),
                price=price_words(spec),
                limits=tuple(_limits(spec)),
                circuit=_circuit_words(view.circuit),
                tried_again_ns=_tried_again_ns(view.circuit, ask.now_ns),
                left_nano_usd=left,
                left_under=under,
                totals=totals.get(view.name, Totals()),
                failed_attempts=sum(
                    error.count for error in errors if error.of == "attempt" and error.tier == view.name
                ),
                models=(await reports.by_model(window, view.name))[:_ERRORS],
                errors=tuple(_error_rows(view.name, errors)),
            )
        )
    return TiersContext(window.value, tuple(Window), _move(services, ask), tuple(cards))


def _circuit_words(circuit: BreakerView) -> str:
    match circuit.state:
        case Circuit.CLOSED:
            return "closed, calls go through"
        case Circuit.HALF_OPEN:
            return "half open, one call is finding out whether the tier works again"
        case Circuit.OPEN if circuit.wait_s is None:
            return "open until the tier's configuration changes"
        case _:
            return "open, the tier rests"


def _tried_again_ns(circuit: BreakerView, now_ns: int) -> int | None:
    """To the second, so that looking again at a breaker that only waits shows the same."""
    if circuit.state is not Circuit.OPEN or circuit.wait_s is None:
        return None
    return round(now_ns / NANO + circuit.wait_s) * NANO


def _move(services: Services, ask: Ask) -> Move | None:
    """What the address asks for, if that tier is there and not so already."""
    views = {view.name: view for view in services.tiers()}
    for key, back in (("out", False), ("back", True)):
        view = views.get(ask.get(key))
        if view is not None and (view.out_of_service is not None) is back:
            words = _coming_back(view) if back else _going(services, view, views)
            return Move(view.name, back, tuple(words))
    return None


def _coming_back(view: TierView) -> Iterator[str]:
    yield f"{tier_title(view.name)} takes calls again, from the next one on."
    if view.circuit.state is not Circuit.CLOSED:
        yield "Its circuit breaker is not closed: it may rest for a while yet."


def _going(services: Services, view: TierView, views: dict[str, TierView]) -> Iterator[str]:
    """What the calls do that would have gone to the tier."""
    policy, name, title = services.in_force.policy, view.name, tier_title(view.name)
    at_work = view.queue.in_use
    yield f"No new call goes to {title}" + (
        f"; the {count(at_work)} under way there {'goes' if at_work == 1 else 'go'} on to the end."
        if at_work
        else "."
    )
    place = policy.fallback.index(name) + 1 if name in policy.fallback else len(policy.fallback)
    home = [one.name for one in policy.tiers if not one.off_box]
    others = [one for one in dict.fromkeys((*policy.fallback[place:], *home)) if one != name]
    takers = [tier_title(one) for one in others if views[one].on]
    rules = [rule.name.replace("_", " ") for rule in policy.rules if rule.tier == name]
    if rules:
        instead = (
            f"go to {' or '.join(takers)} instead" if takers else "are refused: no other tier can take them"
        )
        wanted = " and ".join(f"“{rule}”" for rule in rules)
        yield f"Calls for which {wanted} {'asks' if len(rules) == 1 else 'ask'} for it {instead}."
    if not view.off_box and not any(views[one].on for one in home if one != name):
        yield (
            "Nothing else answers on this machine: embeddings and calls that may not leave are refused "
            "until it is back."
        )
    if policy.legacy_tier == name and services.rollout.current.percent < 100:
        yield "Calls that are not part of the rollout yet went there too, and find another tier or none."
    yield "It stays out over restarts, until somebody puts it back."


async def take_out(services: Services, form: Form, actor: str) -> str:
    """Take a tier out of service."""
    name = field(form, "tier")
    try:
        if not await services.tier_desk.take_out(name, actor=actor, reason=reason(form)):
            out = services.tier_desk.one(name).out_of_service
            by = out.words if out is not None else "put back again"
            raise Stale(f"Meanwhile {tier_title(name)} was {by}.")
    except UnknownTier:
        raise Stale(f"The configuration has no tier {name[:80]!r} any more.") from None
    return f"{tier_title(name)} is out of service from the next call on."


async def put_back(services: Services, form: Form, actor: str) -> str:
    """Put a tier back into service."""
    name = field(form, "tier")
    try:
        if not await services.tier_desk.put_back(name, actor=actor, reason=reason(form)):
            raise Stale(f"Meanwhile somebody put {tier_title(name)} back into service.")
    except UnknownTier:
        raise Stale(f"The configuration has no tier {name[:80]!r} any more.") from None
    return f"{tier_title(name)} is back in service."


def price_words(spec: TierSpec) -> str:
    """What the tier costs."""
    if spec.price is None:
        return "free"
    if not isinstance(spec.price, PriceSpec):
        return "as published"
    words = {
        "usd_per_1k_tokens": "per 1,000 tokens",
        "input_usd_per_1m": "per million tokens in",
        "output_usd_per_1m": "per million tokens out",
        "cached_input_usd_per_1m": "per million cached tokens in",
    }
    return ", ".join(f"${figure} {words[key]}" for key, figure in spec.price.figures.items())


def _limits(spec: TierSpec) -> list[str]:
    waits = spec.timeouts
    return [
        f"{spec.places} calls at once; up to {spec.queue.max} wait, for {spec.queue.wait_s:g} s at most",
        f"gives up after {waits.connect_s:g} s without a connection, "
        f"{waits.first_byte_s:g} s without a first byte, {waits.idle_s:g} s of silence, "
        f"{waits.total_s:g} s in all",
    ]


def _error_rows(tier: str, errors: tuple[ErrorKind, ...]) -> list[ErrorRow]:
    """What went wrong at one tier, most frequent first."""
    return [
        ErrorRow(
            FAULTS.get(error.kind, error.kind.replace("_", " ")),
            error.count,
            "attempts" if error.of == "attempt" else "calls",
        )
        for error in errors
        if error.tier == tier
    ][:_ERRORS]


PAGE: Final = Page(
    name="tiers",
    path="/tiers",
    title="Tiers",
    context=TiersContext,
    load=load,
    live=("tiers_cards",),
    live_every_s=2.0,
)
ACTIONS: Final = (Action("/tiers/out", PAGE.name, take_out), Action("/tiers/back", PAGE.name, put_back))
