"""What a caller is told besides the answer: our response headers, and errors in its dialect."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from sidecar.core.errors import (
    CapabilityMissing,
    Fault,
    NoTierAvailable,
    PolicyRefusal,
    SensitiveAndLocalDown,
    UpstreamFault,
)
from sidecar.core.obstacles import (
    ATTEMPT_FAILED,
    CAPABILITY_MISSING,
    CIRCUIT_OPEN,
    NOT_PERMITTED_TO_LEAVE,
    SATURATED,
    TIER_OFF,
)
from sidecar.core.policy import not_asked
from sidecar.core.ports import Answer
from sidecar.core.pricing import usd_text
from sidecar.core.vocabulary import Dialect, Usage
from sidecar.course import Course, Inbound
from sidecar.wire.asked_by import asking_field
from sidecar.wire.error_body import error_body, error_event, speaks

Headers = Sequence[tuple[str, str]]

#: With this header set, a stream of events ends with ``summary_of`` the call.
_SUMMARY_HEADER = "x-sidecar-summary"
#: How long a client may take to read the error that ends its stream.
_LAST_WORDS_S = 2.0


class Reply(Protocol):
    """Where the answer goes. ``whole`` is a complete answer; a stream is ``start``, ``send``..., ``end``."""

    async def whole(self, status: int, headers: Headers, body: bytes) -> None: ...

    async def start(self, status: int, headers: Headers) -> None: ...

    async def send(self, chunk: bytes) -> None: ...

    async def end(self) -> None: ...


def headers_of(course: Course, answer: Answer | None) -> list[tuple[str, str]]:
    """Our response headers, before them the upstream's own. What the call cost is known unless it streams."""
    headers = [*answer.headers, ("content-type", answer.content_type)] if answer is not None else []
    headers += [
        ("x-sidecar-request-id", course.inbound.request_id),
        ("x-sidecar-arm", course.features.arm),
        ("x-sidecar-reason", course.decision.reason),
        ("x-sidecar-trace-id", course.inbound.trace.trace_id),
    ]
    if (answerer := course.answerer) is not None:
        headers += [("x-sidecar-tier", answerer.tier), ("x-sidecar-model", _header_safe(answerer.model))]
    if tried := course.tried():
        headers.append(("x-sidecar-fallback", ",".join(tried)))
    if not course.streaming:
        headers.append(("x-sidecar-cost-usd", usd_text(course.cost_nano_usd)))
    return headers


def _header_safe(value: str) -> str:
    """``value`` as a header may carry it: a model name in the legacy arm is whatever the app wrote."""
    return "".join(char if " " <= char <= "~" else "?" for char in value[:200])


def wants_summary(course: Course) -> bool:
    """Whether the app asked for one, in a dialect that has comments to put it in."""
    asked = course.inbound.headers.get(_SUMMARY_HEADER, "").strip().lower() == "true"
    return asked and course.inbound.door.dialect is not Dialect.OLLAMA


def summary_of(course: Course) -> bytes:
    """The last comment of a stream of events whose app asked for it: what the call came to, as JSON.

    The headers of a stream go out before its cost is known, and sometimes before its tier is.
    """
    last = course.attempts[-1]
    usage = course.usage or Usage()
    summary = {
        "request_id": course.inbound.request_id,
        "trace_id": course.inbound.trace.trace_id,
        "arm": course.features.arm,
        "tier": last.tier,
        "model": last.model,
        "reason": course.decision.reason,
        "fallback": course.tried(),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usd_text(course.cost_nano_usd),
    }
    return b": x-sidecar " + msgspec.json.encode(summary) + b"\n\n"


async def refuse(course: Course, reply: Reply, error: PolicyRefusal) -> None:
    """Tell the caller, in its dialect, why nobody answers and what would mend it."""
    headers = [*headers_of(course, None), ("content-type", "application/json")]
    if error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    dialect = course.inbound.door.dialect
    body = error_body(dialect, error.status, error.message, error.code, error.param)
    await reply.whole(error.status, headers, body)


async def break_off(course: Course, reply: Reply, error: PolicyRefusal | UpstreamFault) -> None:
    """End the call with ``error``: as a response of its own, or as the last event of the stream.

    A fault that the caller is to mend goes to it in the upstream's words.
    """
    if course.streaming:
        # Who does not read is not waited for; the server then closes the connection inside the answer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await _end_stream(course, reply, error)
    elif isinstance(error, UpstreamFault):
        status = error.http_status or error.status
        headers = [*headers_of(course, None), ("content-type", "application/json")]
        await reply.whole(status, headers, _upstream_words(course.inbound, error, status))
    else:
        await refuse(course, reply, error)


async def _end_stream(course: Course, reply: Reply, error: PolicyRefusal | UpstreamFault) -> None:
    words = error.message
    if isinstance(error, UpstreamFault):
        words = f"the answer of {course.attempts[-1].tier} broke off: {error.words or words}"
    if not (isinstance(error, UpstreamFault) and error.told):
        await reply.send(error_event(course.inbound.door, words, error.code))
    await reply.end()


def _upstream_words(inbound: Inbound, fault: UpstreamFault, status: int) -> bytes:
    """The upstream's own error, as it is when it speaks the caller's dialect already."""
    dialect = inbound.door.dialect
    if speaks(dialect, fault.body):
        return fault.body
    code = "context_length_exceeded" if fault.fault is Fault.TOO_LONG else "upstream_rejected"
    return error_body(dialect, status, fault.words or fault.message, code)


def nothing_left(course: Course) -> PolicyRefusal | UpstreamFault:
    """The refusal when no tier has answered, with the reason of each, asked or not.

    When all that were tried found the prompt too long, or no tier that may take the call can do what it
    asks for, that is the caller's to mend and it is told so.
    """
    if course.attempts and all(attempt.fault == Fault.TOO_LONG for attempt in course.attempts):
        assert course.last_fault is not None
        return course.last_fault
    reasons = {tier.tier: (tier.reason, tier.detail) for tier in course.decision.rejected}
    reasons |= {tier.tier: (tier.reason, tier.detail) for tier in course.passed_over}
    reasons |= {
        attempt.tier: (
            CAPABILITY_MISSING if attempt.fault == Fault.UNSUPPORTED else ATTEMPT_FAILED,
            attempt.detail,
        )
        for attempt in course.attempts
    }
    planned = [planned.tier for planned in course.decision.plan]
    unasked = not_asked(course.features, course.in_force.policy, course.states, {*reasons, *planned})
    reasons |= {tier.tier: (tier.reason, tier.detail) for tier in unasked}
    course.passed_over += unasked
    if incapable := _incapable(course, reasons):
        return incapable
    told = "; ".join(
        f"{name}: {reason}" + (f" ({detail})" if detail else "") for name, (reason, detail) in reasons.items()
    )
    waits_s = [] if course.retry_after_s is None else [course.retry_after_s]
    for name, (reason, _) in reasons.items():
        wait_s = course.in_force.upstreams[name].retry_after_s()
        if reason in (CIRCUIT_OPEN, SATURATED) and wait_s is not None:
            waits_s.append(wait_s)
    retry_after_s = max(1, math.ceil(min(waits_s))) if waits_s else None
    if course.permit is None:
        return SensitiveAndLocalDown(
            f"this call may not leave the machine ({course.features.verdict.why or course.decision.reason}), "
            f"and no tier on it could answer: {told}",
            retry_after_s=retry_after_s,
        )
    return NoTierAvailable(f"no tier could answer: {told}", retry_after_s=retry_after_s)


#: Why a tier is out of the question for the call, whatever the call asks for.
_OUT_OF_THE_QUESTION = (TIER_OFF, NOT_PERMITTED_TO_LEAVE)


def _incapable(course: Course, reasons: Mapping[str, tuple[str, str]]) -> CapabilityMissing | None:
    """The refusal when every tier that may take the call lacks what it asks for; else None."""
    lacking = {tier: detail for tier, (reason, detail) in reasons.items() if reason == CAPABILITY_MISSING}
    others = [tier for tier, (reason, _) in reasons.items() if reason not in _OUT_OF_THE_QUESTION]
    if not lacking or len(others) > len(lacking):
        return None
    told = "; ".join(f"{tier}: {detail}" for tier, detail in lacking.items())
    message = f"no tier that may take this call can do what it asks for: {told}"
    states = {state.name: state.missing & course.features.needs for state in course.states}
    needs = sorted(frozenset().union(*(states.get(tier, frozenset()) for tier in lacking)))
    if needs:
        asking = {need: asking_field(need, course.decoded.fields) for need in needs}
        words = ", ".join(f"{need} by {field}" for need, field in asking.items())
        return CapabilityMissing(f"{message} (asked for: {words})", param=asking[needs[0]])
    field, colon, _ = next(iter(lacking.values())).partition(":")
    return CapabilityMissing(message, param=field if colon and " " not in field else None)
