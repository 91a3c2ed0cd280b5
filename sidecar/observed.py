"""What the sidecar is like at this moment, as metrics: caps, holds, breakers, queues, rollout."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from sidecar import __version__
from sidecar.core.breaker import Circuit
from sidecar.core.pricing import NANO_PER_USD
from sidecar.core.rollout_states import Phase
from sidecar.services import Services
from sidecar.telemetry import names
from sidecar.telemetry.instruments import Family, count, gauge


def observed(services: Services) -> Iterator[Family]:
    """The families whose values are read when somebody asks."""
    yield from _money(services)
    yield from _tiers(services)
    log, rejected, traffic = services.log, services.settings.rejected, services.traffic()
    yield gauge(names.BUILD, "The version that runs", (names.BY_VERSION,), [((__version__,), 1)])
    yield gauge(
        names.ROLLOUT_PERCENT,
        "The share of calls that is routed",
        (),
        [((), services.rollout.current.percent)],
    )
    phase = services.rollout.current.phase
    yield gauge(
        names.ROLLOUT_PHASE,
        "1 for the state that the rollout is in",
        (names.BY_STATE,),
        [((state.value,), int(state is phase)) for state in Phase],
    )
    yield gauge(names.CALLS_IN_FLIGHT, "Calls under way", (), [((), traffic.calls)])
    yield count(
        names.CALLS_TURNED_AWAY,
        "Calls that came when too many were under way",
        (),
        [((), traffic.calls_turned_away)],
    )
    yield gauge(names.CONNECTIONS, "Connections of clients", (), [((), traffic.connections)])
    yield count(
        names.CONNECTIONS_CLOSED,
        "Connections closed on clients: too many, or a request that did not come to its end",
        (names.BY_REASON,),
        [(("too_many",), traffic.connections_turned_away), (("dawdled",), traffic.connections_hung_up)],
    )
    yield gauge(names.TASKS, "Tasks in the event loop", (), [((), len(asyncio.all_tasks()))])
    yield gauge(names.DECISION_LOG_QUEUE, "Decision records to be written", (), [((), log.queued)])
    yield count(names.DECISION_LOG_DROPPED, "Decision records that were lost", (), [((), log.dropped)])
    yield gauge(
        names.SETTINGS_REJECTED,
        "1 while the configuration file is not valid and the one before is in force",
        (),
        [((), int(rejected is not None))],
    )


def _money(services: Services) -> Iterator[Family]:
    ledger, counters = services.ledger, services.ledger.counters
    by, caps = (names.BY_CAP, names.BY_TIER, names.BY_PERIOD), ledger.caps()
    for name, told, field in (
        (names.CAP_POSTED, "What is spent in a cap's period", "posted_nano_usd"),
        (names.CAP_HELD, "What is held under a cap for calls under way", "held_nano_usd"),
        (names.CAP_REMAINING, "What a cap leaves", "remaining_nano_usd"),
    ):
        values = [
            ((s.cap.name, s.cap.tier, s.cap.period.value), getattr(s, field) / NANO_PER_USD) for s in caps
        ]
        yield gauge(name, told, by, values, "USD")
    limits = [
        ((s.cap.name, s.cap.tier, s.cap.period.value), s.cap.limit_nano_usd / NANO_PER_USD) for s in caps
    ]
    yield gauge(names.CAP_LIMIT, "What a cap allows in its period", by, limits, "USD")
    yield gauge(names.HOLDS_OPEN, "Holds of attempts under way", (), [((), ledger.open_holds)])
    yield count(
        names.LEDGER_HOLDS,
        "Holds asked for, by what came of it",
        (names.BY_RESULT,),
        [
            (("taken",), counters.holds),
            (("exhausted",), counters.exhausted),
            (("unavailable",), counters.unavailable),
        ],
    )
    yield count(
        names.LEDGER_FLAGGED,
        "Settlements whose reported usage cannot be true",
        (names.BY_RESULT,),
        [(("over_hold",), counters.over_hold), (("absurd",), counters.absurd_usage)],
    )
    yield count(
        names.LEDGER_UNSETTLED,
        "Holds that were posted whole because nobody settled them",
        (names.BY_RESULT,),
        [(("expired",), counters.expired), (("recovered",), counters.recovered)],
    )
    yield count(
        names.LEDGER_COMMIT_FAILURES, "Commits of the ledger that failed", (), [((), ledger.commit_failures)]
    )
    yield gauge(names.LEDGER_AVAILABLE, "1 while holds can be taken", (), [((), int(not ledger.unavailable))])


def _tiers(services: Services) -> Iterator[Family]:
    tiers, by = services.tiers(), (names.BY_TIER,)
    yield gauge(
        names.TIER_ON, "1 while a tier takes calls", by, [((tier.name,), int(tier.on)) for tier in tiers]
    )
    yield gauge(
        names.TIER_IN_FLIGHT,
        "Attempts at work at a tier",
        by,
        [((tier.name,), tier.queue.in_use) for tier in tiers],
    )
    yield gauge(
        names.TIER_PLACES,
        "How many attempts a tier takes at a time",
        by,
        [((tier.name,), tier.queue.limit) for tier in tiers],
    )
    yield gauge(
        names.TIER_QUEUE,
        "Calls that wait for a place at a tier",
        by,
        [((tier.name,), tier.queue.waiting) for tier in tiers],
    )
    yield count(
        names.TIER_TURNED_AWAY,
        "Calls that found a tier's queue full, or waited in it in vain",
        (names.BY_TIER, names.BY_REASON),
        [
            value
            for tier in tiers
            for value in (
                ((tier.name, "full"), tier.queue.turned_away),
                ((tier.name, "waited"), tier.queue.waited_in_vain),
            )
        ],
    )
    yield gauge(
        names.BREAKER_STATE,
        "1 for the state that a tier's circuit breaker is in",
        (names.BY_TIER, names.BY_STATE),
        [((tier.name, state.value), int(tier.circuit.state is state)) for tier in tiers for state in Circuit],
    )
