"""Sends bytes that mean nothing in a stream whose first token is long in coming, lest the client hang up.

A model that must be loaded first can take minutes, and clients give up when nothing at all comes. Among
server-sent events that is a comment. Among JSON lines it is a space without a line end: JSON allows it
before a value, so that it goes with the first line, whereas an empty line is an error to Ollama's clients.

Any byte commits the answer to status 200, so one is sent only where no other tier could be tried any more.
"""

from __future__ import annotations

import asyncio

from sidecar.core.vocabulary import Arm, Dialect, PlannedTier
from sidecar.course import Course
from sidecar.telling import Reply, headers_of

#: What is sent, and the content type that it is sent under.
_EVENTS = (b": waiting for the first token\n\n", "text/event-stream; charset=utf-8")
_LINES = (b" ", "application/x-ndjson")


def may_be_kept_alive(course: Course, planned: PlannedTier) -> bool:
    """Whether it spoils nothing: in a stream, at the plan's last tier.

    In the legacy arm the upstream's status and headers go out as they are, so they are waited for.
    """
    return course.decoded.stream and course.features.arm is Arm.ROUTED and planned is course.decision.plan[-1]


class KeepAlive:
    """While entered, starts the stream and lets the client hear from it every ``keep_alive_s`` seconds."""

    def __init__(self, course: Course, reply: Reply) -> None:
        self._course = course
        self._reply = reply
        self._every_s = course.in_force.settings.keep_alive_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._begin)

    async def __aexit__(self, *error: object) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._be_heard())

    async def _be_heard(self) -> None:
        course = self._course
        nothing, content_type = _LINES if course.features.dialect is Dialect.OLLAMA else _EVENTS
        if not course.streaming:
            course.streaming = True
            await self._reply.start(200, [*headers_of(course, None), ("content-type", content_type)])
        while True:
            await self._reply.send(nothing)
            await asyncio.sleep(self._every_s)
