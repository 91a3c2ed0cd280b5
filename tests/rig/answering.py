"""Tiny servers in the test's own process: one that always answers the same, and notes who came."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import msgspec


class Visit(msgspec.Struct, frozen=True):
    """One request as it came; header names are in lower case."""

    line: str
    headers: dict[str, str]


class Answering:
    """Answers every request with one response, and closes; an async context manager.

    ``status`` and ``headers`` are the response's, ``visits`` are the requests that came.
    """

    def __init__(
        self, body: bytes = b"{}", *, status: str = "200 OK", headers: dict[str, str] | None = None
    ) -> None:
        told = {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        self._response = f"HTTP/1.1 {status}\r\n{lines}connection: close\r\n\r\n".encode() + body
        self.visits: list[Visit] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError as error:
            head = error.partial.decode("latin-1")
        line, *rest = head.split("\r\n")
        headers = dict(part.lower().split(": ", 1) for part in rest if ": " in part)
        self.visits.append(Visit(line, headers))
        await reader.readexactly(int(headers.get("content-length", 0)))
        writer.write(self._response)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
