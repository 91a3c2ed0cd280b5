"""The shapes between a dialect that makes an answer and the server that delivers it."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.demo.scripted.script import Tokens

JSON = "application/json"


class Refusal(Exception):
    """The request is refused; each dialect words it in its own way."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param


class Chunk(msgspec.Struct, frozen=True):
    """Bytes written at once, and the output tokens that are billed when they have been generated."""

    data: bytes
    tokens: int = 0


class Reply(msgspec.Struct, frozen=True):
    """An answer ready to be delivered.

    ``chunks`` are the content; ``closing`` follows it and is what tells a client that the answer is
    whole (finish reason, usage, terminator). An answer that is not a stream is one chunk. ``tokens`` is
    the true cost of the whole answer.
    """

    chunks: tuple[Chunk, ...]
    closing: tuple[Chunk, ...] = ()
    status: int = 200
    content_type: str = JSON
    streamed: bool = False
    tokens: Tokens = Tokens(0, 0)
    headers: tuple[tuple[str, str], ...] = ()


class Inbound(msgspec.Struct, frozen=True):
    """One request as the server received it. ``usage_lie`` is how the reported usage shall be wrong."""

    method: str
    path: str
    body: bytes
    usage_lie: str = ""


def report(tokens: Tokens, lie: str) -> Tokens | None:
    """The usage to state: the truth, or the lie asked for; None: state nothing."""
    match lie:
        case "":
            return tokens
        case "negative":
            return Tokens(-tokens.input, -tokens.output)
        case "absurd":
            return Tokens(10**12, 10**12)
        case "missing":
            return None
    raise ValueError(f"no such lie: {lie}")


def encode(value: Any) -> bytes:
    """``value`` as compact JSON."""
    return msgspec.json.encode(value)
