"""Says what settings mean for the next call: its gate, its prices, its upstreams, its caps."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from sidecar.catalog_prices import catalog_price, dearest
from sidecar.core.budget import Cap
from sidecar.core.obstacles import OutOfService
from sidecar.core.periods import PeriodKind
from sidecar.core.pricing import Price, nano_usd
from sidecar.core.privacy.gate import PrivacyGate
from sidecar.core.tiers import TierSpec
from sidecar.in_force import InForce
from sidecar.privacy_desk import gate_for
from sidecar.settings import Settings, policy_id
from sidecar.settings.schema import PrivacySettings
from sidecar.telemetry.sampling import Sampling
from sidecar.upstreams.registry import Upstream, build_upstream


@lru_cache(maxsize=2)
def _build_gate(privacy: PrivacySettings) -> PrivacyGate:
    """The gate for these settings; compiling its patterns takes most of a second, so it is kept."""
    return gate_for(privacy)


def _price_of(tier: TierSpec) -> Price | None:
    """What the tier costs. From the catalog: the dearest of its models, and nothing if one is not known."""
    if tier.price != "catalog":
        return Price.from_spec(tier.price) if tier.price is not None else None
    now = datetime.now(UTC)
    prices = [catalog_price(tier.provider, model, now) for model in set(tier.models.values())]
    known = [price for price in prices if price is not None]
    return dearest(known) if len(known) == len(prices) else None


def caps_of(settings: Settings) -> list[Cap]:
    """The caps that the configuration seeds."""
    return [
        Cap(cap.name, cap.tier, PeriodKind(cap.period), nano_usd(cap.usd)) for cap in settings.budgets.caps
    ]


def sampling_of(settings: Settings) -> Sampling:
    """Which calls are worth a trace."""
    asked = settings.telemetry
    return Sampling(asked.sample, asked.slow_ms, settings.rollout.gates.p95_ms_max)


def put_in_force(settings: Settings, before: InForce | None, out: Mapping[str, OutOfService]) -> InForce:
    """What ``settings`` mean for the next call; upstreams of unchanged tiers keep their connections.

    ``out`` has the tiers out of service, as ``TierService`` keeps it.
    """
    policy = settings.policy()
    kept: Mapping[str, Upstream] = before.upstreams if before is not None else {}
    return InForce(
        settings=settings,
        policy=policy,
        policy_id=policy_id(policy),
        gate=_build_gate(settings.privacy),
        tiers=settings.tiers,
        prices={
            name: price for name, tier in settings.tiers.items() if (price := _price_of(tier)) is not None
        },
        upstreams={
            name: kept[name]
            if name in kept and kept[name].tier == tier
            else build_upstream(tier, time.perf_counter, time.time)
            for name, tier in settings.tiers.items()
        },
        out=out,
        sticky_by=settings.rollout.sticky_by,
        matches=settings.routing.matches,
    )
