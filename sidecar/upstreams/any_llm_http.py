"""Watches over the HTTP that any-llm's SDKs do: what they may send, and what really came back.

The SDKs take keys, organisations and whole headers from the environment, and lose the upstream's status,
``Retry-After`` and words on the way to any-llm's errors. Hooks on their HTTP client see every request just
before it is sent and every response as it comes, so both are put right in one place for all of them.
"""

from __future__ import annotations

import fcntl
import sys
import termios
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

#: Headers that an SDK may send of itself. Others come from the environment or describe this machine, and
#: keys may come from either.
_ALLOWED = frozenset(
    {
        "accept",
        "accept-encoding",
        "anthropic-beta",
        "anthropic-version",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    }
)


class HttpNote:
    """What one attempt adds to its request, and what is known of the response.

    ``watched`` says that the guard's hooks see this attempt. ``sent`` says that a request was handed to
    the network; ``response`` is None until an answer came; ``body`` are the upstream's words when it
    refused. ``content`` is the answer's text where any-llm is known to change it. ``key`` is the tier's
    own, which must not stand in anything that goes on.
    """

    __slots__ = ("body", "content", "headers", "key", "response", "sent", "watched")

    def __init__(self, headers: tuple[tuple[str, str], ...], *, watched: bool, key: str = "") -> None:
        self.headers = headers
        self.key = key
        self.watched = watched
        self.sent = False
        self.response: httpx.Response | None = None
        self.body = b""
        self.content: str | None = None


#: The note of the attempt that the running task is making; the SDKs have no way to hand it through.
current_note: ContextVar[HttpNote | None] = ContextVar("current_note", default=None)


def unread_bytes(note: HttpNote) -> int | None:
    """What has come of an answer and waits in the kernel to be read; None when that cannot be seen."""
    stream = note.response.extensions.get("network_stream") if note.response is not None else None
    socket = stream.get_extra_info("socket") if stream is not None else None
    if socket is None:
        return None
    try:
        found: bytes = fcntl.ioctl(socket.fileno(), termios.FIONREAD, bytes(4))
    except (OSError, ValueError):
        return None
    return int.from_bytes(found, sys.byteorder)


class HttpGuard:
    """The hooks for one tier's HTTP client. ``credential`` is the header that carries the tier's key."""

    def __init__(self, credential: tuple[str, str] | None) -> None:
        self._credential = credential

    @property
    def hooks(self) -> dict[str, list[Any]]:
        """As httpx takes them."""
        return {"request": [self._before], "response": [self._after]}

    async def _before(self, request: httpx.Request) -> None:
        for name in [name for name in request.headers if name not in _ALLOWED]:
            del request.headers[name]
        if self._credential is not None:
            request.headers.update([self._credential])
        note = current_note.get()
        if note is not None:
            note.sent = True
            request.headers.update(note.headers)

    async def _after(self, response: httpx.Response) -> None:
        note = current_note.get()
        if note is None:
            return
        note.response = response
        if response.status_code >= 300:
            note.body = await response.aread()
