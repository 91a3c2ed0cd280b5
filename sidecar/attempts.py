"""Opens, makes and closes attempts: the place at the tier, the breaker's word, the money, the try itself."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.core.alerts import AlertKind
from sidecar.core.bounds import Bound
from sidecar.core.breaker import Event
from sidecar.core.budget import Hold, HoldRefusal, HoldRequest
from sidecar.core.ending import may_reason_unseen, settlement_of
from sidecar.core.errors import UpstreamFault
from sidecar.core.obstacles import CAPABILITY_MISSING, CIRCUIT_OPEN, SATURATED, TIER_OFF
from sidecar.core.ports import Answer, Ledger, OutboundCall
from sidecar.core.vocabulary import Arm, Operation, PlannedTier
from sidecar.course import Course, OpenAttempt
from sidecar.entropy import random_bytes
from sidecar.upstreams.admission import Place, Saturated
from sidecar.upstreams.faults import fault_of_status, retry_after_s
from sidecar.upstreams.registry import LocalUpstream, Upstream
from sidecar.wire.caller_headers import headers_for


class Attempts:
    """The attempts of all calls; holds no state of its own between them. ``clock_s`` is monotonic."""

    def __init__(self, ledger: Ledger, clock_s: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock_s = clock_s

    async def open(self, course: Course, planned: PlannedTier) -> bool:
        """Open an attempt at ``planned``; False when it rests, is full, or its money is not to be had.

        The place comes before the money, so that nothing is held for a call that waits in line.
        """
        upstream = course.in_force.upstreams[planned.tier]
        if out := course.in_force.out.get(planned.tier):
            return course.pass_over(planned, TIER_OFF, out.words)
        if words := upstream.resting():
            return course.pass_over(planned, CIRCUIT_OPEN, words)
        came_s = self._clock_s()
        try:
            place = await upstream.places.enter(batch=_is_batch(course))
        except Saturated as full:
            return course.pass_over(planned, SATURATED, full.words)
        if not upstream.admit(place):
            place.leave()
            return course.pass_over(planned, CIRCUIT_OPEN, upstream.resting())
        try:
            course.open = await self._with_money(course, planned, upstream, place, came_s)
        finally:
            if course.open is None:
                upstream.tell(place, Event.PROVED_NOTHING)
                place.leave()
        return course.open is not None

    async def _with_money(
        self, course: Course, planned: PlannedTier, upstream: Upstream, place: Place, came_s: float
    ) -> OpenAttempt | None:
        limits, hold = None, None
        admitted_s = self._clock_s()
        if why := upstream.tier.unserved_because(planned.model):
            course.pass_over(planned, CAPABILITY_MISSING, why)
            return None
        free = upstream.tier.price is None or course.features.operation is Operation.COUNT_TOKENS
        if not free:
            limits = course.bounds[planned.tier]
        # All that could fail is done before there is a hold that would be left behind.
        span_id = random_bytes(8).hex()
        call = _outbound(course, planned, limits, span_id)
        lane = upstream.lane_for(call)
        if limits is not None:
            answer = await self._hold(course, planned, limits)
            if isinstance(answer, HoldRefusal):
                course.pass_over(planned, answer.reason, answer.detail)
                return None
            hold = answer
        started_s = self._clock_s()
        return OpenAttempt(
            planned,
            call,
            lane,
            course.elapsed_ms(started_s),
            place,
            hold,
            limits,
            span_id=span_id,
            waited_ms=round((admitted_s - came_s) * 1000, 3),
            hold_ms=round((started_s - admitted_s) * 1000, 3) if hold is not None else None,
        )

    async def _hold(self, course: Course, planned: PlannedTier, limits: Bound) -> Hold | HoldRefusal:
        price = course.in_force.prices[planned.tier]
        return await self._ledger.hold(
            HoldRequest(
                request_id=course.inbound.request_id,
                attempt=len(course.attempts),
                tier=planned.tier,
                model=planned.model,
                arm=course.features.arm,
                app=course.features.hints.app or "",
                amount_nano_usd=price.worst(limits.input_tokens, limits.output_tokens),
                price=price,
            )
        )

    async def make(self, course: Course) -> Answer:
        """Send the open attempt's call; returns with the first token. Raises ``UpstreamFault``."""
        attempt = course.open
        assert attempt is not None
        upstream = course.in_force.upstreams[attempt.planned.tier]
        upstream.begins(attempt.planned.model)
        if isinstance(upstream, LocalUpstream):
            answer = await upstream.attempt(attempt.call)
        else:
            if course.permit is None:
                raise AssertionError("an off-box tier in the plan of a call that may not leave")
            answer = await upstream.attempt(attempt.call, course.permit)
        attempt.answer = course.answer = answer
        course.first_byte_ms = course.elapsed_ms(self._clock_s())
        if answer.status < 300:
            upstream.began(attempt.place, attempt.planned.model)
        return answer

    def close(self, course: Course, fault: UpstreamFault | None, *, out_of_time: bool = False) -> None:
        """Settle and write down the open attempt, if there is one, whatever ended it.

        ``out_of_time`` says that it was the call whose time was over, so that nothing is proved.
        """
        attempt = course.open
        if attempt is None:
            return
        answer, cost = attempt.answer, 0
        failed = fault or _refusal_of(answer)
        if attempt.hold is not None and attempt.bound is not None:
            end = settlement_of(
                answer.tally if answer is not None else None,
                failed.fault if failed is not None else None,
                input_bound=attempt.bound.input_tokens,
                unseen=may_reason_unseen(attempt.planned.model, attempt.call.fields),
            )
            cost = self._ledger.settle(attempt.hold, end)
            attempt.settlement = end.kind
        upstream = course.in_force.upstreams[attempt.planned.tier]
        if failed is not None and not out_of_time:
            refused = upstream.failed(attempt.place, attempt.planned.model, failed)
            if refused:
                self._alert(attempt.planned, failed, refused)
        else:
            upstream.tell(
                attempt.place, Event.SUCCEEDED if attempt.read_to_its_end else Event.PROVED_NOTHING, failed
            )
        attempt.place.leave()
        course.attempt_ended(self._clock_s(), failed=fault, cost_nano_usd=cost)

    def _alert(self, planned: PlannedTier, fault: UpstreamFault, words: str) -> None:
        """Tell operators that a tier refused its key; the upstream sees to it that it is once."""
        self._ledger.raise_alert(
            AlertKind.TIER,
            f"tier/{planned.tier}/{random_bytes(8).hex()}",
            f"{planned.tier}: {words}",
            {"tier": planned.tier, "model": planned.model[:200], "status": fault.http_status},
        )


def _is_batch(course: Course) -> bool:
    """Whether nobody sits and waits for the answer, as far as can be told."""
    features = course.features
    lists = features.operation is Operation.EMBEDDINGS and course.decoded.batch_size > 1
    return lists or features.hints.batch_size > 1


def _refusal_of(answer: Answer | None) -> UpstreamFault | None:
    """The fault that an answer of the legacy arm would have been, had it not been relayed as it is."""
    if answer is None or answer.status < 300:
        return None
    asked = {name.lower(): value for name, value in answer.headers}.get("retry-after")
    return UpstreamFault(
        fault_of_status(answer.status, b""),
        f"answered {answer.status}",
        http_status=answer.status,
        retry_after_s=retry_after_s(asked),
    )


def _outbound(course: Course, planned: PlannedTier, limits: Bound | None, span_id: str) -> OutboundCall:
    inbound = course.inbound
    tier = course.in_force.upstreams[planned.tier].tier
    headers = headers_for(tier, inbound.headers, inbound.trace.state)
    headers.append(("traceparent", inbound.trace.traceparent(span_id)))
    return OutboundCall(
        request_id=inbound.request_id,
        door=inbound.door,
        arm=_arm_of(course, planned),
        body=inbound.body,
        fields=course.decoded.fields,
        model=planned.model,
        stream=course.decoded.stream,
        headers=tuple(headers),
        output_limit=limits.output_limit if limits is not None else None,
        strip_metadata=course.strip_metadata,
    )


def _arm_of(course: Course, planned: PlannedTier) -> Arm:
    """A tier that stands in for the legacy one is called as the routed arm would call it."""
    return course.features.arm if planned.tier == course.in_force.policy.legacy_tier else Arm.ROUTED
