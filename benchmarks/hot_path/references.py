"""Two proxies that only forward: what the sidecar's own stack costs at the least.

``raw``: ASGI and aiohttp. ``litestar``: a Litestar route, aiohttp, the envelope of request and answer decoded
by msgspec. Both on uvicorn with uvloop and httptools, as the sidecar is. Prints its port.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.response import Stream


class Envelope(msgspec.Struct):
    """What must be known of a request to forward it."""

    model: str
    messages: msgspec.Raw
    stream: bool = False


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class Completion(msgspec.Struct):
    """What must be known of an answer to account for it."""

    usage: Usage | None = None


_ENVELOPE = msgspec.json.Decoder(Envelope)
_COMPLETION = msgspec.json.Decoder(Completion)
_HEADERS = {"content-type": "application/json", "authorization": "Bearer key"}


class Client:
    """One aiohttp session, made where the loop runs."""

    def __init__(self, upstream: str) -> None:
        self._url = f"{upstream}/v1/chat/completions"
        self._session: aiohttp.ClientSession | None = None

    async def post(self, body: bytes) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=60)
            )
        return await self._session.post(self._url, data=body, headers=_HEADERS)


def raw(client: Client) -> Any:
    """An ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message.get("more_body"):
                break
        response = await client.post(body)
        kind = response.headers["content-type"].encode()
        await send(
            {"type": "http.response.start", "status": response.status, "headers": [(b"content-type", kind)]}
        )
        if kind.startswith(b"text/event-stream"):
            async for piece in response.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "http.response.body", "body": await response.read()})

    return app


def litestar(client: Client) -> Any:
    """A Litestar application."""

    @post("/v1/chat/completions", status_code=200)
    async def chat(request: Request[Any, Any, Any]) -> Response[bytes] | Stream:
        body = await request.body()
        envelope = _ENVELOPE.decode(body)
        response = await client.post(body)
        if envelope.stream:

            async def pieces() -> AsyncIterator[bytes]:
                async for piece in response.content.iter_any():
                    yield piece

            return Stream(pieces(), media_type="text/event-stream")
        answer = await response.read()
        _COMPLETION.decode(answer)
        return Response(answer, media_type="application/json")

    return Litestar([chat], openapi_config=None)


def main() -> None:
    name, upstream = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = {"raw": raw, "litestar": litestar}[name](Client(upstream))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", ws="none", lifespan="off", access_log=False, log_level="warning"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
