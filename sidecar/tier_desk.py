"""What operators see of the tiers, and how they take one out of service and put it back; all is audited."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from sidecar.budget_desk import Changed
from sidecar.core.breaker import BreakerView
from sidecar.core.obstacles import CIRCUIT_OPEN, SATURATED, OutOfService
from sidecar.core.vocabulary import TierState
from sidecar.in_force import InForce, Remaining, tier_states
from sidecar.storage.tier_service import TierService
from sidecar.upstreams.admission import AdmissionView
from sidecar.upstreams.registry import LocalUpstream, Upstream

#: A reason is kept up to here; it is shown wherever the tier is passed over.
REASON_CHARS_MAX: Final = 200


_SEEN_WHERE_CALLS_ARE_SENT: Final = ("", CIRCUIT_OPEN, SATURATED)


class UnknownTier(KeyError):
    """The configuration in force has no tier of that name."""


class TierView(msgspec.Struct, frozen=True):
    """One tier as an operator sees it. While ``on`` is false, ``why`` says why.

    ``absent`` says that nobody has answered at a tier on this machine since the start; empty otherwise.
    ``out_of_service`` is set while an operator has taken it out, ``key_refused`` says how the tier refused
    its key, if it did.
    """

    name: str
    on: bool
    why: str
    absent: str
    provider: str
    base_url: str
    off_box: bool
    priced: bool
    models: dict[str, str]
    circuit: BreakerView
    queue: AdmissionView
    out_of_service: OutOfService | None
    key_refused: str


class Sight(Protocol):
    """How a tier fares, by its name, in all processes that send it calls."""

    def obstacle(self, tier: str) -> tuple[str, str]:
        """The reason code and the words why no call can be taken now; both empty when one can."""
        ...

    def circuit(self, tier: str) -> BreakerView: ...

    def queue(self, tier: str) -> AdmissionView: ...

    def absent(self, tier: str) -> str: ...

    def key_refused(self, tier: str) -> str: ...


class OwnSight:
    """How the tiers fare where this process alone sends them calls."""

    def __init__(self, in_force: Callable[[], InForce]) -> None:
        self._in_force = in_force

    def obstacle(self, tier: str) -> tuple[str, str]:
        return self._in_force().upstreams[tier].obstacle()

    def circuit(self, tier: str) -> BreakerView:
        return self._in_force().upstreams[tier].circuit()

    def queue(self, tier: str) -> AdmissionView:
        return self._in_force().upstreams[tier].places.view()

    def absent(self, tier: str) -> str:
        return absent(self._in_force().upstreams[tier])

    def key_refused(self, tier: str) -> str:
        return self._in_force().upstreams[tier].key_refused


class TierDesk:
    """The tiers as operators handle them. Calls under way at a tier that is taken out go on to their end."""

    def __init__(
        self, service: TierService, in_force: Callable[[], InForce], ledger: Remaining, changed: Changed
    ) -> None:
        self._service = service
        self._in_force = in_force
        self._ledger = ledger
        self._changed = changed
        #: Replaced where other processes send the calls.
        self.sight: Sight = OwnSight(in_force)

    def all(self) -> list[TierView]:
        """All tiers in the order of the configuration, with why one is off."""
        in_force = self._in_force()
        states = {state.name: state for state in self.seen(tier_states(in_force, self._ledger, {}))}
        return [
            TierView(
                name=name,
                on=not states[name].unavailable,
                why=states[name].detail,
                absent=self.sight.absent(name),
                provider=tier.provider,
                base_url=tier.base_url,
                off_box=tier.off_box,
                priced=tier.price is not None,
                models=dict(tier.models),
                circuit=self.sight.circuit(name),
                queue=self.sight.queue(name),
                out_of_service=self._service.out.get(name),
                key_refused=self.sight.key_refused(name),
            )
            for name, tier in in_force.tiers.items()
        ]

    def seen(self, states: Iterable[TierState]) -> tuple[TierState, ...]:
        """``states`` with the obstacles as they are where the calls are sent."""
        return tuple(
            state
            if state.unavailable not in _SEEN_WHERE_CALLS_ARE_SENT
            else msgspec.structs.replace(state, unavailable=code, detail=words)
            for state in states
            for code, words in [self.sight.obstacle(state.name)]
        )

    def one(self, name: str) -> TierView:
        """One tier. Raises ``UnknownTier``."""
        for tier in self.all():
            if tier.name == name:
                return tier
        raise UnknownTier(name)

    async def take_out(self, name: str, *, actor: str, reason: str = "") -> bool:
        """No new call goes to the tier from now on; False when it is out already.

        Raises ``UnknownTier``, ``StorageError``.
        """
        self.one(name)
        reason = " ".join(reason.split())[:REASON_CHARS_MAX]
        taken = await self._service.take_out(name, actor, reason)
        if taken:
            await self._changed(actor, "tier.out", name, "in service", "out of service", reason)
        return taken

    async def put_back(self, name: str, *, actor: str, reason: str = "") -> bool:
        """The tier takes calls again, if nothing else is in the way; False when it is in service.

        Raises ``UnknownTier``, ``StorageError``.
        """
        self.one(name)
        back = await self._service.put_back(name)
        if back:
            await self._changed(actor, "tier.back", name, "out of service", "in service", reason)
        return back


def absent(upstream: Upstream) -> str:
    """That nobody has answered at a tier on this machine, in words; else empty."""
    return upstream.absent if isinstance(upstream, LocalUpstream) else ""
