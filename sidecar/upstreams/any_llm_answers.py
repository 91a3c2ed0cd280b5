"""The any-llm lane's answers: what the provider gives, written in the caller's dialect as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.ports import Tally
from sidecar.core.tiers import Timeouts
from sidecar.core.vocabulary import Lane
from sidecar.upstreams.any_llm_faults import fault_of
from sidecar.upstreams.any_llm_http import HttpNote, unread_bytes
from sidecar.upstreams.patience import Patience
from sidecar.wire.openai_tally import tally_chunk
from sidecar.wire.timings import Timings
from sidecar.wire.translations import StreamWriter

#: So much unread says that the upstream had to wait, now or before, and so much that more than the next few
#: events had come when the client left.
_PILED_UP = 64 * 1024
_SOME = 4 * 1024


class Stopwatch:
    """When an attempt began, and when its first token came. ``clock_s`` is monotonic seconds."""

    def __init__(self, clock_s: Callable[[], float], total_s: float) -> None:
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._first_s: float | None = None
        self._total_s = total_s

    def first(self) -> None:
        """The first token is here."""
        self._first_s = self._clock_s()

    def left_s(self) -> float:
        """What is left of the time that the attempt may take altogether."""
        return self._started_s + self._total_s - self._clock_s()

    def timings(self) -> Timings:
        """For an answer that is complete now. What came whole counts as generated all along."""
        now_s = self._clock_s()
        first_s = self._started_s if self._first_s is None else self._first_s
        return Timings(
            first_ns=int((first_s - self._started_s) * 1e9), total_ns=int((now_s - self._started_s) * 1e9)
        )


class WholeAnswer:
    """An answer that came whole; see ``Answer``."""

    status = 200
    headers: tuple[tuple[str, str], ...] = ()
    lane = Lane.ANY_LLM

    def __init__(self, body: bytes, content_type: str, tally: Tally) -> None:
        self.content_type = content_type
        self.tally = tally
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        """The one chunk there is."""
        yield self._body

    async def aclose(self) -> None:
        """Nothing is open."""


class StreamedAnswer:
    """A stream of an any-llm provider on its way to the caller; see ``Answer``."""

    status = 200
    headers: tuple[tuple[str, str], ...] = ()
    lane = Lane.ANY_LLM

    def __init__(
        self,
        provider_chunks: Any,
        writer: StreamWriter,
        content_type: str,
        note: HttpNote,
        *,
        timeouts: Timeouts,
        stopwatch: Stopwatch,
        wall_s: Callable[[], float],
    ) -> None:
        self.tally = Tally()
        self._provider_chunks = provider_chunks
        self._note = note
        self._timeouts = timeouts
        self._stopwatch = stopwatch
        self._wall_s = wall_s
        self._first = b""
        self._closed = False
        self._reading = False
        self._unread_bytes: int | None = 0
        self._patience = Patience()
        self._writer = writer
        self.content_type = content_type

    async def start(self) -> None:
        """Read up to the first token, so that a stream that fails before it can be made elsewhere."""
        held: list[bytes] = []
        while not (self.tally.output_text_bytes or self.tally.finished):
            try:
                held.append(self._take(await anext(self._provider_chunks)))
            except StopAsyncIteration:
                raise self._nothing_came(held) from None
        self._stopwatch.first()
        self._first = b"".join(held)

    def _nothing_came(self, held: list[bytes]) -> UpstreamFault:
        if held:
            return UpstreamFault(Fault.CUT, "the stream ended before its first token")
        if self._note.response is not None and self._note.response.num_bytes_downloaded:
            # The SDKs skip over whatever is no event of a stream.
            return UpstreamFault(Fault.GARBAGE, "answered 200 with something that is no stream")
        return UpstreamFault(Fault.EMPTY, "answered 200 with nothing")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes; raises ``UpstreamFault`` when it breaks off."""
        try:
            if self._first:
                yield self._first
            while (out := await self._next()) is not None:
                if out:
                    yield out
            if not self.tally.finished:
                raise UpstreamFault(Fault.CUT, "the answer broke off before its end")
            yield self._writer.end(self._wall_s(), self._stopwatch.timings())
        finally:
            await self.aclose()

    async def _next(self) -> bytes | None:
        self._unread_bytes = unread_bytes(self._note)
        if self._unread_bytes is None or self._unread_bytes >= _PILED_UP:
            self.tally.behind = True
        self._reading = True
        try:
            limit_s = min(self._timeouts.idle_s, self._stopwatch.left_s())
            chunk = await self._patience.wait(anext(self._provider_chunks), limit_s)
            self._reading = False
            return self._take(chunk)
        except StopAsyncIteration:
            return None
        except Exception as error:
            if self.tally.finished:
                return None
            # The cause's text may quote the prompt, so it must not ride along into a log.
            raise fault_of(error, self._note, self._timeouts) from None

    def _take(self, chunk: Any) -> bytes:
        fields: dict[str, Any] = chunk.model_dump(exclude_none=True, warnings=False)
        tally_chunk(self.tally, fields)
        return self._writer.feed(fields, self._wall_s())

    async def aclose(self) -> None:
        """Stop the upstream from generating.

        The socket goes first: closing any-llm's Ollama iterator would leave it to the garbage collector.
        """
        if self._closed:
            return
        self._closed = True
        if not self._reading or (self._unread_bytes or 0) >= _SOME:
            self.tally.behind = True
        self._patience.stop()
        with contextlib.suppress(Exception):
            if self._note.response is not None:
                await self._note.response.aclose()
            await self._provider_chunks.aclose()
