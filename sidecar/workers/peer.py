"""Says to the hub who a request came from: through a worker, every request comes from the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.asgi import ASGIApp, Receive, Scope, Send

#: Set by workers, on every request; whatever a client wrote there is left behind.
PEER_HEADER: Final = "x-sidecar-peer"
_NAME: Final = PEER_HEADER.encode()


def behind_workers(app: ASGIApp) -> ASGIApp:
    """``app``, which takes a request to come from whom the worker names."""

    async def named(scope: Scope, receive: Receive, send: Send) -> None:
        peer = next((value for name, value in scope["headers"] if name == _NAME), b"")
        scope["client"] = (peer.decode("latin-1"), 0)
        await app(scope, receive, send)

    return named
