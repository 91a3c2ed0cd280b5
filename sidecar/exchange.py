"""The request line: one call from its arrival to its one ending.

receive -> decode -> identify -> assign arm -> scan -> decide -> [hold -> attempt -> fold]* -> relay
-> settle -> record -> trace
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable

from sidecar.attempts import Attempts
from sidecar.core.bounds import Bound, body_tokens, bound
from sidecar.core.complexity import estimate_complexity, shape_of
from sidecar.core.errors import Fault, PolicyRefusal, ShuttingDown, SidecarError, UpstreamFault
from sidecar.core.hints import resolve_hints
from sidecar.core.policy import decide
from sidecar.core.ports import Answer, Ledger, Rollout
from sidecar.core.retry import wait_before_retry_s
from sidecar.core.rollout import assign_arm, bucket, sticky_key
from sidecar.core.said import Hear
from sidecar.core.vocabulary import Complexity, DecisionRecord, Features, PlannedTier
from sidecar.course import Course, Inbound
from sidecar.in_force import InForce, lacking, tier_states
from sidecar.keep_alive import KeepAlive, may_be_kept_alive
from sidecar.telling import Reply, break_off, headers_of, nothing_left, summary_of, wants_summary
from sidecar.transcript import transcript_of
from sidecar.wire.requests import DecodedCall, decode


class Exchange:
    """Takes calls through the request line; holds no state of its own between them.

    ``record`` takes what became of a call, and what was said where its spans may show it. ``ending`` tells
    whether the sidecar is being stopped: then a cancelled call is told so. ``clock_s`` is monotonic seconds.
    """

    def __init__(
        self,
        in_force: Callable[[], InForce],
        rollout: Rollout,
        ledger: Ledger,
        record: Callable[[DecisionRecord, Hear | None], None],
        ending: Callable[[], bool],
        clock_s: Callable[[], float],
    ) -> None:
        self._in_force = in_force
        self._rollout = rollout
        self._ledger = ledger
        self._attempts = Attempts(ledger, clock_s)
        self._record = record
        self._ending = ending
        self._clock_s = clock_s
        #: Given every call that was decided on and has ended; never blocks, never raises.
        self.after: Callable[[Course], None] = lambda _: None

    async def serve(self, inbound: Inbound, reply: Reply) -> None:
        """Take one call to its ending. A cancelled task means that the client has left.

        Raises ``CallerError``, untold and unrecorded, for a call that is not well formed.
        """
        course = self.consider(inbound)
        try:
            await self._answer(course, reply)
        except (PolicyRefusal, UpstreamFault) as error:
            await self._end(course, reply, error)
        except TimeoutError:
            # Who has the answer on its way and does not take it is told nothing more.
            if not course.told:
                fault = UpstreamFault(Fault.TIMEOUT, "the time that the call may take was up")
                self._attempts.close(course, fault, out_of_time=True)
                await self._end(course, reply, fault if course.streaming else nothing_left(course))
        except asyncio.CancelledError:
            if course.told or not self._ending():
                raise
            self._attempts.close(course, None)
            await self._end(course, reply, ShuttingDown("the sidecar is being stopped", retry_after_s=1))
        except Exception:
            course.failed(500, SidecarError.code)
            raise
        finally:
            self._attempts.close(course, None)
            transcript = course.transcript
            self._record(course.record(self._clock_s()), transcript.said if transcript is not None else None)
            self.after(course)

    async def _end(self, course: Course, reply: Reply, error: PolicyRefusal | UpstreamFault) -> None:
        """End the call with an error that its client is told."""
        if isinstance(error, UpstreamFault):
            self._attempts.close(course, error)
        if isinstance(error, UpstreamFault) and not course.streaming:
            course.answered(error.http_status or error.status, None)
        else:
            course.failed(200 if course.streaming else error.status, error.code)
        await break_off(course, reply, error)

    # decode, identify, assign arm, scan, decide

    def consider(self, inbound: Inbound) -> Course:
        """What becomes of a call, decided and not yet done: nothing is held, sent or recorded."""
        in_force = self._in_force()
        door, headers = inbound.door, inbound.headers
        marks_s = [self._clock_s()]
        decoded = decode(door, inbound.body)
        marks_s.append(self._clock_s())
        hints, ours = resolve_hints(
            headers,
            decoded.metadata,
            in_force.matches,
            operation=door.operation,
            model=decoded.model,
            endpoint=door.path,
            batch_size=decoded.batch_size,
            complexity=lambda: _complexity(decoded),
        )
        _, key = sticky_key(in_force.sticky_by, headers, decoded.fields, hints.session, inbound.request_id)
        rollout = self._rollout.current
        place, percent = bucket(rollout.salt, key), rollout.percent
        marks_s.append(self._clock_s())
        judged = in_force.gate.judge(
            inbound.request_id, decoded.texts, hints.data_classification, unreadable=decoded.unreadable
        )
        marks_s.append(self._clock_s())
        bounds = _bounds(in_force, decoded, inbound, leaves=judged.permit is not None)
        lacks = lacking(in_force, decoded, hints.task_type)
        features = Features(
            door=door.path,
            dialect=door.dialect,
            operation=door.operation,
            model=decoded.model,
            arm=assign_arm(place, percent),
            hints=hints,
            verdict=judged.verdict,
            may_leave=judged.permit is not None,
            stream=decoded.stream,
            needs=decoded.needs.union(*lacks.values()),
            bounds_nano_usd={
                name: in_force.prices[name].worst(limits.input_tokens, limits.output_tokens)
                for name, limits in bounds.items()
            },
        )
        states = tier_states(in_force, self._ledger, bounds, lacks)
        decision = decide(features, in_force.policy, states)
        marks_s.append(self._clock_s())
        return Course(
            inbound,
            decoded,
            in_force,
            features=features,
            states=states,
            decision=decision,
            permit=judged.permit,
            bounds=bounds,
            strip_metadata=ours,
            bucket=place,
            percent=percent,
            marks_s=marks_s,
            transcript=transcript_of(in_force, decoded, features),
        )

    # [hold -> attempt -> fold]*

    async def _answer(self, course: Course, reply: Reply) -> None:
        """Find an answer and relay it. Raises ``TimeoutError`` when it takes longer than the call may."""
        async with asyncio.timeout(course.total_s) as limit:
            try:
                answer = await self._first_answer(course, reply)
                until_s = asyncio.get_running_loop().time() + course.left_s(self._clock_s())
                if until_s < (limit.when() or until_s):
                    limit.reschedule(until_s)
                await self._relay(course, answer, reply)
            finally:
                if course.answer is not None:
                    await course.answer.aclose()

    async def _first_answer(self, course: Course, reply: Reply) -> Answer:
        """The answer of the first tier of the plan that gives one."""
        for planned in course.decision.plan:
            if answer := await self._answer_of(course, planned, reply):
                return answer
        raise nothing_left(course)

    async def _answer_of(self, course: Course, planned: PlannedTier, reply: Reply) -> Answer | None:
        """One tier's answer; None when it has none to give and the next tier may do better."""
        limits = course.in_force.tiers[planned.tier].retry
        for made in itertools.count():
            if not await self._attempts.open(course, planned):
                return None
            try:
                if not may_be_kept_alive(course, planned):
                    return await self._attempts.make(course)
                async with KeepAlive(course, reply):
                    return await self._attempts.make(course)
            except UpstreamFault as fault:
                self._attempts.close(course, fault)
                if not fault.try_next:
                    raise
                wait_s = wait_before_retry_s(limits, made, fault, random.random())  # noqa: S311
            if wait_s is None:
                return None
            await asyncio.sleep(wait_s)
        raise AssertionError("counting has no end")

    # relay -> settle

    async def _relay(self, course: Course, answer: Answer, reply: Reply) -> None:
        attempt = course.open
        assert attempt is not None
        if course.decoded.stream and answer.status < 300:
            if not course.streaming:
                course.streaming = True
                await reply.start(answer.status, headers_of(course, answer))
            async for chunk in answer.chunks():
                course.hear(chunk)
                await reply.send(chunk)
            attempt.read_to_its_end = True
            self._attempts.close(course, None)
            course.answered(answer.status, answer.tally.usage)
            course.told = True
            if wants_summary(course):
                await reply.send(summary_of(course))
            await reply.end()
            return
        body = b"".join([chunk async for chunk in answer.chunks()])
        attempt.read_to_its_end = True
        course.hear(body)
        self._attempts.close(course, None)
        course.told = True
        await reply.whole(answer.status, headers_of(course, answer), body)
        course.answered(answer.status, answer.tally.usage)


def _complexity(decoded: DecodedCall) -> tuple[Complexity, str]:
    return estimate_complexity(shape_of(decoded.parts, decoded.tools, decoded.schema, decoded.output_limit))


def _bounds(in_force: InForce, decoded: DecodedCall, inbound: Inbound, *, leaves: bool) -> dict[str, Bound]:
    """For each priced tier that may see this call the most that it could use there."""
    tokens = body_tokens(inbound.body) if in_force.prices else 0
    return {
        name: bound(
            inbound.door,
            decoded.fields,
            in_force.tiers[name].default_max_tokens,
            tokens,
            betas=inbound.headers.get("anthropic-beta", ""),
        )
        for name in in_force.prices
        if leaves or not in_force.tiers[name].off_box
    }
