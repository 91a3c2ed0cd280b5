"""Takes what is not a call to the hub, and brings its answer back as it is: pages, admin API, health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from sidecar.workers.peer import PEER_HEADER

if TYPE_CHECKING:
    from sidecar.asgi import HTTPScope, Receive, Scope, Send

log = logging.getLogger(__name__)

#: What concerns one connection only (RFC 9110), or the server that took the request alone.
_OF_THE_CONNECTION: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"te", b"upgrade", b"expect")
)
#: The client would add these to what has come.
_NOT_ADDED: Final = ("Accept", "Accept-Encoding", "User-Agent", "Content-Type")
_CONNECT_S: Final = 5.0
#: A header may be as long as the server that took it allows.
_HEADER_BYTES_MAX: Final = 2**16


class Forwarder:
    """An ASGI app that is the hub's, reached over its Unix socket. ``close`` it."""

    def __init__(self, path: str) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            auto_decompress=False,
            skip_auto_headers=_NOT_ADDED,
            max_line_size=_HEADER_BYTES_MAX,
            max_field_size=_HEADER_BYTES_MAX,
        )
        self._streams: set[asyncio.Task[Any]] = set()
        self._leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        http: HTTPScope = scope  # type: ignore[assignment]
        task = asyncio.current_task()
        assert task is not None
        passage = _Passage(http, receive, send, task)
        try:
            async with self._session.request(
                http["method"],
                _url(http),
                headers=_headers(http),
                data=passage.body(),
                allow_redirects=False,
            ) as answer:
                if answer.content_type == "text/event-stream":
                    self._streams.add(task)
                    if self._leaving:
                        task.cancel()
                await passage.bring(answer)
        except (aiohttp.ClientError, OSError) as error:
            # Nothing of the request is logged: its path may hold a login's token.
            if not passage.client_left:
                log.warning("the hub does not answer: %s", type(error).__name__)
                await passage.apologise()
        except asyncio.CancelledError:
            if not passage.client_left and not (self._leaving and task in self._streams):
                raise
            task.uncancel()
            await passage.end()
        finally:
            self._streams.discard(task)
            passage.close()

    def leave(self) -> None:
        """End the streams of events: a page that follows one connects anew, to somebody who stays."""
        self._leaving = True
        for task in self._streams:
            task.cancel()

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._session.close()


class _Passage:
    """One request on its way to the hub and its answer on the way back; ``task`` is cancelled when its
    client leaves."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, task: asyncio.Task[Any]) -> None:
        self._receive = receive
        self._send = send
        self._task = task
        self._has_body = any(
            name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]
        )
        self._gone: asyncio.Task[None] | None = None
        self._started = self._ended = False
        self.client_left = False

    def body(self) -> AsyncIterator[bytes] | None:
        """The request's body, if it has one."""
        if self._has_body:
            return self._pieces()
        self._listen()
        return None

    async def _pieces(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.client_left = True
                raise aiohttp.ClientConnectionError("the client left")
            if message["type"] == "http.request":
                more = message["more_body"]
                if message["body"]:
                    yield message["body"]
        self._listen()

    async def bring(self, answer: aiohttp.ClientResponse) -> None:
        """Bring the hub's answer, piece by piece as it comes."""
        headers = [
            (name.lower(), value)
            for name, value in answer.raw_headers
            if name.lower() not in _OF_THE_CONNECTION
        ]
        self._started = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async for chunk in answer.content.iter_any():
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        await self.end()

    async def end(self) -> None:
        """The answer is whole, or as whole as it will be."""
        if self._started and not self._ended:
            self._ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def apologise(self) -> None:
        """Tell the client that the hub does not answer, if it can still be told."""
        if self._started:
            return
        self._started = True
        body = b"The sidecar's main process does not answer.\n"
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await self._send({"type": "http.response.start", "status": 502, "headers": headers})
        self._ended = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def close(self) -> None:
        """No longer look out for the client's leaving."""
        if self._gone is not None:
            self._gone.remove_done_callback(self._leave)
            self._gone.cancel()

    def _listen(self) -> None:
        self._gone = asyncio.ensure_future(self._disconnected())
        self._gone.add_done_callback(self._leave)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _leave(self, _: Any) -> None:
        self.client_left = True
        self._task.cancel()


def _url(scope: HTTPScope) -> URL:
    """The path and query as they came. The host of a Unix socket is nobody's concern."""
    path = scope["raw_path"].decode("ascii")
    query = scope["query_string"].decode("latin-1")
    path = path if path.startswith("/") else f"/{path}"
    return URL(f"http://hub{path}" + (f"?{query}" if query else ""), encoded=True)


def _headers(scope: HTTPScope) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in scope["headers"]:
        if name not in _OF_THE_CONNECTION:
            headers.add(name.decode("latin-1"), value.decode("latin-1"))
    headers.setdefault("host", "")
    client = scope["client"]
    headers[PEER_HEADER] = client[0] if client else ""
    return headers
