"""A client on one kept connection, that can send what no decent client sends."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from sidecar.core.vocabulary import Dialect
from tests.rig.serving import ServedSidecar
from tests.rig.world import chat

REQUEST_ID = "x-sidecar-request-id"
GOOD_CALL = json.dumps(chat(model="llama3.2")).encode()


class Told(msgspec.Struct, frozen=True):
    """A response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One connection to a sidecar; a context manager."""

    def __init__(self, sidecar: ServedSidecar) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> Told:
        """One request; a body of pieces goes out chunked. Raises if the connection was not kept."""
        kept = self._connection.sock
        chunked = body is not None and not isinstance(body, bytes)
        sent = {**(headers or {}), **({"Transfer-Encoding": "chunked"} if chunked else {})}
        self._connection.request(method, path, body, sent, encode_chunked=chunked)
        assert kept is None or self._connection.sock is kept, "the connection was not kept"
        response = self._connection.getresponse()
        return Told(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )


def refused(
    sidecar: ServedSidecar,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, Any] | None = None,
    *,
    dialect: Dialect,
) -> Told:
    """What a request is refused with, in ``dialect``; the next call works, here and on a new connection."""
    with Connection(sidecar) as connection:
        told = connection.ask(method, path, body, headers)
        assert told.status >= 400, told
        assert told.headers["content-type"] == "application/json"
        assert told.headers[REQUEST_ID]
        if method != "HEAD":
            assert words_of(told, dialect)
        assert connection.ask("POST", "/v1/chat/completions", GOOD_CALL).status == 200
    with Connection(sidecar) as connection:
        assert connection.ask("POST", "/api/chat", GOOD_CALL).status == 200
    return told


def words_of(told: Told, dialect: Dialect) -> str:
    """The message of an error, which must have exactly the dialect's shape."""
    fields = told.json
    if dialect is Dialect.OLLAMA:
        assert set(fields) == {"error"}
        words = fields["error"]
    elif dialect is Dialect.ANTHROPIC:
        assert (set(fields), fields["type"], set(fields["error"])) == (
            {"type", "error"}, "error", {"type", "message"}
        )  # fmt: skip
        words = fields["error"]["message"]
    else:
        assert set(fields) == {"error"}
        assert set(fields["error"]) == {"message", "type", "param", "code"}
        words = fields["error"]["message"]
    assert isinstance(words, str)
    return words
