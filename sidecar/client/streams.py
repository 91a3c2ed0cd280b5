"""Answers that come piece by piece, to be awaited or not."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import TracebackType
from typing import Self

import httpx

from sidecar.client.response import LLMResponse
from sidecar.client.streamed import StreamedAnswer


class _Ended:
    """The response that a stream has once it has ended."""

    _response: LLMResponse | None = None

    @property
    def response(self) -> LLMResponse:
        """The whole answer with its cost. Raises ``RuntimeError`` until the last piece has been read."""
        if self._response is None:
            raise RuntimeError("the answer has not ended; read all of its pieces first")
        return self._response


class LLMStream(_Ended):
    """The pieces of an answer's text: ``async for`` over it.

    As an ``async with`` it also leaves the call when the block ends early, so that the model stops and no
    more is paid for; without, that happens when the stream is forgotten.
    """

    def __init__(self, connect: Callable[[], Awaitable[httpx.Response]]) -> None:
        self._pieces = self._read(connect)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Leave the call."""
        await self._pieces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _read(self, connect: Callable[[], Awaitable[httpx.Response]]) -> AsyncGenerator[str]:
        started_s = time.perf_counter()
        response = await connect()
        answer = StreamedAnswer(response.headers)
        try:
            async for chunk in response.aiter_bytes():
                for piece in answer.feed(chunk):
                    yield piece
        except httpx.TransportError as error:
            raise _cut(answer, error) from error
        finally:
            await response.aclose()
        self._response = answer.response(round((time.perf_counter() - started_s) * 1000, 3))


class SyncLLMStream(_Ended):
    """The pieces of an answer's text: ``for`` over it, or ``with`` it to leave the call early."""

    def __init__(self, connect: Callable[[], httpx.Response]) -> None:
        self._pieces = self._read(connect)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Leave the call."""
        self._pieces.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, connect: Callable[[], httpx.Response]) -> Generator[str]:
        started_s = time.perf_counter()
        response = connect()
        answer = StreamedAnswer(response.headers)
        try:
            for chunk in response.iter_bytes():
                yield from answer.feed(chunk)
        except httpx.TransportError as error:
            raise _cut(answer, error) from error
        finally:
            response.close()
        self._response = answer.response(round((time.perf_counter() - started_s) * 1000, 3))


def _cut(answer: StreamedAnswer, error: httpx.TransportError) -> Exception:
    silent = isinstance(error, httpx.TimeoutException)
    return answer.broken("the sidecar fell silent" if silent else f"the connection broke: {error}")
