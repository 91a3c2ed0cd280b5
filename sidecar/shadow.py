"""Sends a sampled share of legacy calls down the routed plan too, once the app has its answer.

A shadow call is a call of its own: the privacy gate judges it anew, every cap holds its money, and a cap of
its own bounds what all of them cost in a day. What it answers is compared with the legacy call in time,
tokens and cost, and dropped. It never touches the app: it begins when the answer is out, takes no place at a
tier that is half full or has a queue, and counts in no arm. A tier that fails it is noted as failing, for so
it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import msgspec

from sidecar.attempts import Attempts
from sidecar.core.errors import CallerError, UpstreamFault
from sidecar.core.policy import decide
from sidecar.core.ports import Ledger, StorageError
from sidecar.core.pricing import nano_usd
from sidecar.core.rollout import BUCKETS, bucket
from sidecar.core.shadows import ShadowPurse, ShadowResult, ShadowResults
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import Arm, Operation, Outcome, PlannedTier
from sidecar.course import Course, Inbound
from sidecar.entropy import random_bytes
from sidecar.settings.rollout_schema import ShadowSettings

log = logging.getLogger("sidecar.rollout")

_OPERATIONS = frozenset({Operation.CHAT, Operation.TEXT_COMPLETION, Operation.EMBEDDINGS})

#: Traces a shadow call: its result, its own trace, and that of the app's call that it followed.
TraceShadow = Callable[[ShadowResult, TraceContext, TraceContext], None]


class Shadows:
    """The shadow calls under way. ``skipped`` counts those that found no room or no tier.

    ``purse`` is what bounds their cost. ``clock_s`` is the clock of the request line.
    """

    def __init__(
        self,
        ledger: Ledger,
        results: ShadowResults,
        purse: ShadowPurse,
        *,
        ending: Callable[[], bool],
        clock_ns: Callable[[], int],
        clock_s: Callable[[], float],
    ) -> None:
        self._attempts = Attempts(ledger, clock_s)
        self._results = results
        self._purse = purse
        self._ending = ending
        self._clock_ns = clock_ns
        self._clock_s = clock_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.skipped = 0
        #: Decides on a call without sending it; set by the composition root, as is ``trace``.
        self.consider: Callable[[Inbound], Course]
        self.trace: TraceShadow

    def offer(self, course: Course) -> None:
        """A call has ended: follow it if it is one of the sample. Never blocks, never raises."""
        settings = course.in_force.settings.rollout.shadow
        if not settings.share or course.features.arm is not Arm.LEGACY or self._ending():
            return
        answered = course.outcome in (Outcome.COMPLETE, Outcome.COMPLETE_WITHOUT_USAGE)
        if not answered or course.status >= 300 or course.features.operation not in _OPERATIONS:
            return
        if bucket("shadow", course.inbound.request_id) >= settings.share * BUCKETS:
            return
        if len(self._tasks) >= settings.max_concurrency:
            self.skipped += 1
            return
        legacy_ms = course.elapsed_ms(self._clock_s())
        task = asyncio.create_task(self._follow(course, legacy_ms, settings), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End those under way; what they held is settled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, legacy: Course, legacy_ms: float, settings: ShadowSettings) -> None:
        try:
            shadow = self._considered(legacy)
            if await self._answer(shadow, settings):
                await self._compare(legacy, legacy_ms, shadow)
            else:
                self.skipped += 1
        except (CallerError, StorageError) as error:
            self.skipped += 1
            log.info("a shadow call was not made: %s", error)
        except Exception:
            log.exception("a shadow call failed inside")

    def _considered(self, legacy: Course) -> Course:
        """The call anew, as the routed arm would take it now."""
        came = legacy.inbound
        trace = TraceContext(
            random_bytes(16).hex(), sampled=came.trace.sampled, span_id=random_bytes(8).hex()
        )
        course = self.consider(
            Inbound(
                request_id=f"shadow-{random_bytes(16).hex()}",
                door=came.door,
                headers=came.headers,
                body=came.body,
                started_ns=self._clock_ns(),
                started_s=self._clock_s(),
                trace=trace,
            )
        )
        course.features = msgspec.structs.replace(course.features, arm=Arm.ROUTED)
        course.decision = decide(course.features, course.in_force.policy, course.states)
        return course

    async def _answer(self, shadow: Course, settings: ShadowSettings) -> bool:
        """Follow the plan to an answer or to its end; False when no tier was even asked."""
        try:
            async with asyncio.timeout(shadow.total_s):
                for planned in shadow.decision.plan:
                    if self._would_be_in_the_way(shadow, planned):
                        break
                    if await self._attempt(shadow, planned, settings):
                        return True
        except TimeoutError:
            self._attempts.close(shadow, None, out_of_time=True)
            shadow.failed(504, "timeout")
        finally:
            self._attempts.close(shadow, None)
        if shadow.attempts and shadow.outcome is Outcome.CLIENT_LEFT:
            shadow.failed(502, "upstream_failed")
        return bool(shadow.attempts)

    def _would_be_in_the_way(self, shadow: Course, planned: PlannedTier) -> bool:
        """Whether a place at this tier is one that the app may want."""
        places = shadow.in_force.upstreams[planned.tier].places.view()
        return places.waiting > 0 or places.in_use * 2 >= places.limit

    async def _attempt(self, shadow: Course, planned: PlannedTier, settings: ShadowSettings) -> bool:
        """Try one tier; True when it has answered, or when no other should be tried."""
        worst = shadow.features.bounds_nano_usd.get(planned.tier, 0)
        if worst and not await self._purse.take(worst, nano_usd(settings.usd_per_day)):
            return shadow.pass_over(planned, "shadow_cap", "what shadow calls may cost in a day is spent")
        before = shadow.cost_nano_usd
        try:
            if not await self._attempts.open(shadow, planned):
                return False
            answer = await self._attempts.make(shadow)
            try:
                async for chunk in answer.chunks():
                    shadow.response_bytes += len(chunk)
            finally:
                await answer.aclose()
            if shadow.open is not None:
                shadow.open.read_to_its_end = True
            self._attempts.close(shadow, None)
            shadow.answered(answer.status, answer.tally.usage)
        except UpstreamFault as fault:
            self._attempts.close(shadow, fault)
            return not fault.try_next
        finally:
            self._attempts.close(shadow, None)
            if worst:
                self._purse.give_back(worst, shadow.cost_nano_usd - before)
        return True

    async def _compare(self, legacy: Course, legacy_ms: float, shadow: Course) -> None:
        """Write down what became of it, beside what the app got."""
        last, usage, theirs = shadow.attempts[-1], shadow.usage, legacy.usage
        task_type = shadow.features.hints.task_type
        result = ShadowResult(
            at_ns=shadow.inbound.started_ns,
            request_id=shadow.inbound.request_id,
            shadow_of=legacy.inbound.request_id,
            task_type=task_type.value if task_type is not None else "",
            tier=last.tier,
            model=last.model[:200],
            reason=shadow.decision.reason,
            failed=shadow.outcome not in (Outcome.COMPLETE, Outcome.COMPLETE_WITHOUT_USAGE),
            detail=last.fault,
            duration_ms=shadow.elapsed_ms(self._clock_s()),
            legacy_ms=legacy_ms,
            output_tokens=usage.output_tokens if usage is not None else 0,
            legacy_tokens=theirs.output_tokens if theirs is not None else 0,
            cost_nano_usd=shadow.cost_nano_usd,
        )
        self.trace(result, shadow.inbound.trace, legacy.inbound.trace)
        await self._results.add(result)
