"""Holds every request outside the doors to the limit that calls are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sidecar.core.errors import RequestTooLarge

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send


def too_large(limit: int) -> RequestTooLarge:
    """The refusal of a body over ``limit`` bytes."""
    return RequestTooLarge(f"the body is larger than {limit} bytes; send less, or raise limits.max_body_mb")


def within(limit: Callable[[], int], app: ASGIApp) -> ASGIApp:
    """``app``, in which reading a body of more than ``limit()`` bytes raises ``RequestTooLarge``.

    The framework has a limit of its own, but that is fixed when it is built.
    """

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        most, size = limit(), 0
        declared = dict(scope["headers"]).get(b"content-length", b"")

        async def read() -> HTTPReceiveMessage:
            nonlocal size
            if declared.isdigit() and int(declared) > most:
                raise too_large(most)
            message: HTTPReceiveMessage = await receive()  # type: ignore[assignment]
            if message["type"] == "http.request":
                size += len(message["body"])
                if size > most:
                    raise too_large(most)
            return message

        await app(scope, read, send)

    return bounded
