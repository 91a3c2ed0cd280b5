"""What is in force for the next call: built whole from one settings, swapped whole between two calls."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec

from sidecar.core.bounds import Bound
from sidecar.core.capabilities import NOTHING_KNOWN
from sidecar.core.hints import Match
from sidecar.core.obstacles import CAPABILITY_MISSING, TIER_OFF, OutOfService
from sidecar.core.policy import OPEN_MODELS, Policy
from sidecar.core.pricing import Price
from sidecar.core.privacy.gate import PrivacyGate
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import TierState
from sidecar.settings import Settings
from sidecar.upstreams.registry import Upstream
from sidecar.wire.requests import DecodedCall


class InForce(msgspec.Struct, frozen=True):
    """Everything that one call is decided by. A call keeps the one it began with to its end.

    ``out`` has the tiers that an operator has taken out of service; it follows him at once.
    """

    settings: Settings
    policy: Policy
    policy_id: str
    gate: PrivacyGate
    tiers: Mapping[str, TierSpec]
    prices: Mapping[str, Price]
    upstreams: Mapping[str, Upstream]
    out: Mapping[str, OutOfService]
    sticky_by: tuple[str, ...]
    matches: tuple[Match, ...]


class InForceSource(Protocol):
    """Where the parts that serve requests find what is in force now."""

    @property
    def current(self) -> InForce: ...

    @property
    def since_s(self) -> int:
        """When the sidecar started, in Unix seconds."""
        ...


class Remaining(Protocol):
    """What the tightest cap over a tier leaves, in nano-dollars, and which cap; None: nothing caps it."""

    def remaining(self, tier: str) -> tuple[int | None, str]: ...


def lacking(in_force: InForce, decoded: DecodedCall, task_type: str | None) -> dict[str, frozenset[str]]:
    """For each tier what its model is known to lack of what the call needs; others are left out."""
    prefix, slash, pinned = decoded.model.partition("/")
    lacks = {}
    for name, tier in in_force.tiers.items():
        model = (
            pinned if slash and prefix == name and pinned not in OPEN_MODELS else tier.model_for(task_type)
        )
        can = in_force.upstreams[name].can(model)
        if can is not NOTHING_KNOWN and (missing := can.lacking(decoded.needs, decoded.chars)):
            lacks[name] = missing
    return lacks


def tier_states(
    in_force: InForce,
    ledger: Remaining,
    bounds: Mapping[str, Bound],
    lacks: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> tuple[TierState, ...]:
    """The snapshot of all tiers that a decision is made on, and that is recorded with it.

    A priced tier whose worst case for this call cannot be bounded cannot take it.
    """
    states = []
    for name, tier in in_force.tiers.items():
        off = tier.off_because
        if not off and name in in_force.out:
            off = in_force.out[name].words
        if not off and tier.price is not None and name not in in_force.prices:
            off = "no price is known for its model"
        limits = bounds.get(name)
        unbounded = limits.refusal if limits is not None else ""
        if off:
            code, detail = TIER_OFF, off
        elif unbounded:
            code, detail = CAPABILITY_MISSING, unbounded
        else:
            code, detail = in_force.upstreams[name].obstacle()
        remaining, cap = ledger.remaining(name) if tier.price is not None else (None, "")
        states.append(
            TierState(
                name=name,
                unavailable=code,
                detail=detail,
                remaining_nano_usd=remaining,
                budget_detail=cap,
                missing=lacks.get(name, frozenset()),
            )
        )
    return tuple(states)
