"""Builds one upstream per tier and holds the lanes; off-box ones act only on a ``MayLeave``."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import final

import msgspec

from sidecar.core.breaker import Breaker, BreakerView, Circuit, Event, event_of
from sidecar.core.capabilities import NOTHING_KNOWN, Capabilities
from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.obstacles import CIRCUIT_OPEN, SATURATED
from sidecar.core.ports import Answer, OutboundCall, UpstreamLane
from sidecar.core.privacy.gate import MayLeave
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Arm, Dialect, Lane
from sidecar.upstreams.admission import Admission, Place
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from sidecar.upstreams.loading import Loading
from sidecar.upstreams.relay_upstream import RelayLane
from sidecar.wire.ollama_show import shown_capabilities

log = logging.getLogger(__name__)

#: How often models that are not known yet are asked about.
_LEARN_EVERY_S = 10.0

#: What is asked of a resting tier to see whether anybody is there; none of it generates a token.
_CHECKS = {Dialect.OLLAMA: "/api/version", Dialect.OPENAI: "/v1/models", Dialect.ANTHROPIC: "/v1/models"}
#: How long the answer is waited for, and how much longer a resting tier waits for somebody to ask.
_CHECK_S = 2.0
_CHECK_GRACE_S = 3.0


class _Lanes:
    """The two lanes of one tier and the choice between them."""

    def __init__(self, tier: TierSpec, relay: RelayLane, any_llm: AnyLLMLane) -> None:
        self._tier = tier
        self.relay = relay
        self._any_llm = any_llm

    def lane_for(self, call: OutboundCall) -> Lane:
        """Bytes are relayed where the tier serves the door itself, and always in the legacy arm."""
        if call.arm is Arm.LEGACY or self._tier.serves(call.door, call.model):
            return Lane.RELAY
        return Lane.ANY_LLM

    async def send(self, call: OutboundCall) -> Answer:
        lane: UpstreamLane = self.relay if self.lane_for(call) is Lane.RELAY else self._any_llm
        return await lane.send(call)

    async def warm(self) -> None:
        await self._any_llm.warm()

    async def aclose(self) -> None:
        await self.relay.aclose()
        await self._any_llm.aclose()


class _Guarded:
    """A tier's upstream with what stands before it: the circuit breaker, and so many places."""

    def __init__(self, tier: TierSpec, lanes: _Lanes, clock_s: Callable[[], float]) -> None:
        self.tier = tier
        self.places = Admission(tier.places, tier.queue, clock_s)
        self._check_path = _CHECKS.get(tier.dialect) if tier.dialect is not None else None
        self._breaker = Breaker(tier.breaker, check_s=_CHECK_GRACE_S if self._check_path else 0.0)
        self._loading = Loading() if not tier.off_box else None
        self._clock_s = clock_s
        self._lanes = lanes
        self._learnt: dict[str, Capabilities] = {}
        #: How the tier's key was refused, in our words; empty as long as it was not.
        self.key_refused = ""
        self._refused_model = ""
        self._refusals_told: set[Event] = set()

    def can(self, model: str) -> Capabilities:
        """What ``model`` is known to be able to do here; what the configuration says comes first."""
        return self.tier.said_of(model).over(self._learnt.get(model, NOTHING_KNOWN))

    def lane_for(self, call: OutboundCall) -> Lane:
        return self._lanes.lane_for(call)

    def resting(self) -> str:
        """Why the breaker lets no call through now, in words; empty when it does."""
        return self._breaker.refusal(self._clock_s())

    def admit(self, place: Place) -> bool:
        """Whether the breaker lets the call with this place through; then ``tell`` is owed."""
        return self._breaker.admit(place, self._clock_s())

    def begins(self, model: str) -> None:
        """An attempt with ``model`` begins."""
        if self._loading is not None:
            self._loading.asked(model, self._clock_s())

    def began(self, place: Place, model: str) -> None:
        """The first token of ``model`` has come."""
        if self._loading is not None:
            self._loading.answered(model, self._clock_s())
        if model == self._refused_model:
            self.key_refused = self._refused_model = ""
        self.tell(place, Event.BEGAN)

    def failed(self, place: Place, model: str, fault: UpstreamFault) -> str:
        """Tell the breaker of an attempt that failed, unless ``model`` was only being loaded.

        Returns what operators are to be told of, which is that the key was refused, or empty: once for the
        tier as it is configured, and once more if then the tier is closed over it.
        """
        loading = self._loading is not None and self._loading.explains(model, fault, self._clock_s())
        event = Event.PROVED_NOTHING if loading else event_of(fault)
        self.tell(place, event, fault)
        if fault.fault is not Fault.AUTH:
            return ""
        if self._refusals_told & {event, Event.DENIED}:
            return ""
        self._refusals_told.add(event)
        denied = event is Event.DENIED
        self._refused_model = "" if denied else model
        then = (
            "it takes no calls until its configuration changes"
            if denied
            else f"what asks for {model[:100]} goes to the next tier"
        )
        self.key_refused = f"its key was refused with {fault.http_status}, {then}"
        return self.key_refused

    def tell(self, place: object, event: Event, fault: UpstreamFault | None = None) -> None:
        """Tell the breaker what became of the call with this place."""
        before, now_s = self._breaker.state, self._clock_s()
        self._breaker.tell(place, event, now_s, fault)
        after = self._breaker.state
        if after is before:
            return
        if after is Circuit.OPEN:
            level = logging.ERROR if event is Event.DENIED else logging.WARNING
            log.log(level, "tier %s: %s", self.tier.name, self.resting())
        elif after is Circuit.CLOSED:
            log.warning("tier %s: works again", self.tier.name)

    def obstacle(self) -> tuple[str, str]:
        """The reason code and the words why no call can be taken now; both empty when one can."""
        if words := self.resting():
            return CIRCUIT_OPEN, words
        if self.places.full:
            return SATURATED, f"all {self.tier.places} places are taken and {self.places.waiting} calls wait"
        return "", ""

    def retry_after_s(self) -> float | None:
        """When to ask again; None when time alone mends nothing, nought when a call can be taken."""
        wait_s = self._breaker.wait_s(self._clock_s())
        if wait_s is None or not self.places.full:
            return wait_s
        return max(wait_s, self.places.retry_after_s())

    @property
    def check_due(self) -> bool:
        """Whether the tier has rested for as long as it had to and can be asked whether it is there."""
        return self._check_path is not None and self._breaker.check_due(self._clock_s())

    async def check(self) -> None:
        """Ask a resting tier something that costs nothing; only when somebody answers do calls try it.

        Any answer will do, and nothing of any call is sent. Never raises.
        """
        assert self._check_path is not None
        try:
            async with asyncio.timeout(_CHECK_S):
                await self._lanes.relay.ask("GET", self._check_path, None)
        except (UpstreamFault, TimeoutError):
            self.tell(self, Event.UNREACHABLE)
        else:
            self.tell(self, Event.RESTED)

    def circuit(self) -> BreakerView:
        """The breaker as it stands."""
        return self._breaker.view(self._clock_s())

    async def warm(self) -> None:
        """Make ready what takes long, so that no call has to wait for it."""
        await self._lanes.warm()

    async def aclose(self) -> None:
        await self._lanes.aclose()


@final
class LocalUpstream(_Guarded):
    """A tier on this machine; its address is loopback or a host that the operator trusts."""

    def __init__(self, tier: TierSpec, lanes: _Lanes, clock_s: Callable[[], float]) -> None:
        if tier.off_box or not tier.stays_on_box:
            raise PermissionError(f"tier {tier.name!r} is not on this machine")
        super().__init__(tier, lanes, clock_s)
        #: In words, that nobody has answered here yet; empty once somebody has, or while nobody was asked.
        self.absent = ""
        self._met = False

    async def attempt(self, call: OutboundCall) -> Answer:
        """One attempt; see ``UpstreamLane.send``."""
        return await self._lanes.send(call)

    async def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """A question that generates nothing, such as which models there are; raises ``UpstreamFault``."""
        return await self._lanes.relay.ask(method, path, body)

    async def learn(self) -> None:
        """Ask an Ollama what the models of the table can do, as far as that is not known, and any tier once
        whether it is there at all; what comes of that is said. Never raises."""
        try:
            if self.tier.dialect is Dialect.OLLAMA:
                await self._learn_models()
            elif self._check_path is not None and not self._met:
                await self._look()
        except UpstreamFault:
            if not self._met and not self.absent:
                self.absent = f"nobody answers at {self.tier.base_url}"
                log.warning("tier %s: %s; %s", self.tier.name, self.absent, self._remedy)

    async def _learn_models(self) -> None:
        for model in set(self.tier.models.values()) - self._learnt.keys():
            status, body = await self.ask("POST", "/api/show", msgspec.json.encode({"model": model}))
            self._meet()
            told = shown_capabilities(body) if status == 200 else None
            if told is not None:
                self._learnt[model] = told

    async def _look(self) -> None:
        assert self._check_path is not None
        await self.ask("GET", self._check_path)
        self._meet()

    def _meet(self) -> None:
        """Somebody has answered."""
        if self.absent:
            log.warning("tier %s: answers at %s now", self.tier.name, self.tier.base_url)
        self._met, self.absent = True, ""

    @property
    def _remedy(self) -> str:
        key = f"tiers.{self.tier.name}.base_url"
        if self.tier.provider == "ollama":
            return f"start Ollama, or say where it is: OLLAMA_BASE_URL, or {key} in your configuration"
        return f"start it, or set {key}"


@final
class OffBoxUpstream(_Guarded):
    """A tier on another machine; it sends nothing without the permit for this very call."""

    async def attempt(self, call: OutboundCall, permit: MayLeave) -> Answer:
        """One attempt. Raises ``PermissionError`` without a permit minted for ``call``."""
        if type(permit) is not MayLeave or permit.request_id != call.request_id:
            raise PermissionError("an off-box upstream needs the privacy gate's permit for this call")
        return await self._lanes.send(call)


Upstream = LocalUpstream | OffBoxUpstream


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """One TLS context for all tiers: making one costs tens of milliseconds."""
    return ssl.create_default_context()


def build_upstream(tier: TierSpec, clock_s: Callable[[], float], wall_s: Callable[[], float]) -> Upstream:
    """The upstream of one tier. Nothing is connected yet."""
    lanes = _Lanes(
        tier, RelayLane(tier, _ssl_context()), AnyLLMLane(tier=tier, clock_s=clock_s, wall_s=wall_s)
    )
    return OffBoxUpstream(tier, lanes, clock_s) if tier.off_box else LocalUpstream(tier, lanes, clock_s)


async def learn_of_models(upstreams: Callable[[], Mapping[str, Upstream]]) -> None:
    """Keep learning, for ever, what the models on this machine can do: one may be pulled at any time."""
    while True:
        for upstream in upstreams().values():
            if isinstance(upstream, LocalUpstream):
                await upstream.learn()
        await asyncio.sleep(_LEARN_EVERY_S)
