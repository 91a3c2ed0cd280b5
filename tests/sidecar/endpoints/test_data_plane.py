"""What must not be sent is refused in the caller's dialect, and the next call works all the same."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.core.vocabulary import (
    DOORS,
    OLLAMA_EMBED,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    Dialect,
    Door,
    Operation,
)
from sidecar.endpoints.errors import dialect_of
from tests.rig.serving import Serve, ServedSidecar
from tests.rig.upstream import StartUpstream
from tests.rig.world import CHAT, CRITICAL, PUBLIC, World, chat
from tests.sidecar.endpoints.keeping import GOOD_CALL, REQUEST_ID, Connection, refused, words_of

EVERY_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=lambda door: door.path)
LIMIT = 2**20


@pytest.fixture
def sidecar(serve: Serve) -> ServedSidecar:
    """One for all tests here; it takes bodies of one megabyte."""
    return serve("small-bodies", {"limits": {"max_body_mb": 1}})


MALFORMED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not valid JSON"),
    "garbage": (b"\x00\x01\x02garbage", "not valid JSON"),
    "not UTF-8": (b'{"model": "\xff\xfe"}', "not valid JSON"),
    "truncated": (GOOD_CALL[:-7], "not valid JSON"),
    "two objects": (GOOD_CALL * 2, "not valid JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "a number out of range": (b'{"model": "m", "seed": 1e999}', "not valid JSON"),
    "a bottomless object": (b'{"model":' * 100_000, "nested too deeply"),
    "a key twice": (b'{"model": "m", "model": "n", "messages": []}', "stands twice"),
    "no model": (b"{}", "model"),
    "a model that is a number": (b'{"model": 3}', "model must be a string"),
    "an empty model": (b'{"model": ""}', "model must not be empty"),
    "a blank model": (b'{"model": " "}', "model must not be empty"),
    "a stream that is a word": (b'{"model": "m", "stream": "yes"}', "stream must be true or false"),
}


@EVERY_DOOR
@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_malformed_body_is_a_400(sidecar: ServedSidecar, door: Door, malformed: str) -> None:
    body, words = MALFORMED[malformed]
    told = refused(sidecar, "POST", door.path, body, dialect=door.dialect)
    assert told.status == 400
    assert words in words_of(told, door.dialect)


WRONG_TYPES: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"messages": "no"}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": [3]}, "messages[0]"),
    (CHAT, {"messages": [{"content": "x"}]}, "messages[0].role"),
    (CHAT, {"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
    (CHAT, {"max_tokens": "9"}, "max_tokens"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": True}, "max_tokens"),
    (CHAT, {"tools": {}}, "tools"),
    ("/v1/completions", {"prompt": {}}, "prompt"),
    ("/v1/completions", {"prompt": "x", "suffix": 3}, "suffix"),
    ("/v1/responses", {"input": {}}, "input"),
    ("/v1/responses", {"input": []}, "input"),
    ("/v1/responses", {"input": [3]}, "input[0]"),
    ("/v1/responses", {"input": [{"content": "x"}]}, "input[0].role"),
    ("/v1/responses", {"input": [{"role": "user", "content": 3}]}, "input[0].content"),
    ("/v1/responses", {"input": "x", "instructions": []}, "instructions"),
    ("/v1/responses", {"input": "x", "max_output_tokens": "9"}, "max_tokens"),
    ("/v1/messages", {"messages": {}, "max_tokens": 9}, "messages"),
    ("/v1/messages", {"messages": [3], "max_tokens": 9}, "messages.0"),
    ("/v1/messages", {"messages": [{"role": "tool", "content": "x"}], "max_tokens": 9}, "messages.0.role"),
    ("/v1/messages", {"messages": [{"role": "user"}], "max_tokens": 9}, "messages.0.content"),
    ("/v1/messages", {"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
    ("/v1/messages", {"system": 3, "max_tokens": 9}, "system"),
    ("/v1/messages", {}, "max_tokens"),
    ("/v1/messages", {"max_tokens": "9"}, "max_tokens"),
    ("/v1/messages/count_tokens", {"messages": "x"}, "messages"),
    ("/v1/embeddings", {"input": {}}, "input"),
    ("/v1/embeddings", {"input": []}, "input"),
    ("/v1/embeddings", {"input": [{"text": "x"}]}, "input"),
    ("/api/chat", {"messages": {}}, "messages"),
    ("/api/chat", {"options": []}, "options"),
    ("/api/chat", {"tools": "x"}, "tools"),
    ("/api/generate", {"prompt": 5}, "prompt"),
    ("/api/generate", {"system": []}, "system"),
    ("/api/embed", {"input": 5}, "input"),
    ("/api/embeddings", {"prompt": ["x"]}, "prompt"),
]


@pytest.mark.parametrize(("path", "wrong", "named"), WRONG_TYPES, ids=lambda value: str(value)[:40])
def test_a_field_of_the_wrong_type_is_named(
    sidecar: ServedSidecar, path: str, wrong: dict[str, Any], named: str
) -> None:
    dialect = DOORS[path].dialect
    told = refused(sidecar, "POST", path, json.dumps({**chat(), **wrong}).encode(), dialect=dialect)
    assert told.status == 400
    if dialect is Dialect.OPENAI:
        assert told.json["error"]["param"] == named
        assert told.json["error"]["type"] == "invalid_request_error"
    else:
        assert named in words_of(told, dialect)


@EVERY_DOOR
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_wrong_method_is_a_405_that_says_which_is_right(
    sidecar: ServedSidecar, door: Door, method: str
) -> None:
    told = refused(sidecar, method, door.path, dialect=door.dialect)
    assert (told.status, told.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/nothing", Dialect.OPENAI),
        ("/v1/chat", Dialect.OPENAI),
        ("/v1", Dialect.OPENAI),
        ("/api/nothing", Dialect.OLLAMA),
        ("/api", Dialect.OLLAMA),
        ("/v1/messages/nothing", Dialect.ANTHROPIC),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_a_404_that_names_it(
    sidecar: ServedSidecar, path: str, dialect: Dialect, method: str
) -> None:
    told = refused(sidecar, method, path, GOOD_CALL, dialect=dialect)
    assert told.status == 404
    assert path in words_of(told, dialect)


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions/", "//v1/chat/completions", "/v1/chat/completions?x=1"]
)
def test_a_slash_too_many_is_forgiven(sidecar: ServedSidecar, path: str) -> None:
    with Connection(sidecar) as connection:
        assert connection.ask("POST", path, GOOD_CALL).status == 200


def _pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // LIMIT):
        yield b"x" * LIMIT


@EVERY_DOOR
@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_over_the_limit_is_a_413(sidecar: ServedSidecar, door: Door, chunked: bool) -> None:
    # More than the buffers of both ends hold, so that the client is still sending when it is refused.
    body = _pieces(16 * LIMIT) if chunked else b"x" * 16 * LIMIT
    told = refused(sidecar, "POST", door.path, body, dialect=door.dialect)
    assert told.status == 413
    assert "limits.max_body_mb" in words_of(told, door.dialect)


def test_a_body_at_the_limit_is_taken(sidecar: ServedSidecar) -> None:
    body = GOOD_CALL + b" " * (LIMIT - len(GOOD_CALL))
    with Connection(sidecar) as connection:
        assert connection.ask("POST", CHAT, body).status == 200
        assert connection.ask("POST", CHAT, iter([body[:9], body[9:]])).status == 200


@EVERY_DOOR
def test_a_compressed_body_is_refused(sidecar: ServedSidecar, door: Door) -> None:
    told = refused(sidecar, "POST", door.path, GOOD_CALL, {"content-encoding": "gzip"}, dialect=door.dialect)
    assert told.status == 400
    assert "Content-Encoding" in words_of(told, door.dialect)


CROSS_SITE: dict[str, dict[str, str]] = {
    "another site's page": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "an old browser": {"origin": "https://evil.example"},
    "an opaque origin": {"origin": "null"},
    "a link or an image": {"sec-fetch-site": "cross-site"},
    "another port here": {"origin": "http://127.0.0.1:1", "sec-fetch-site": "same-site"},
    "a name rebound to this machine": {
        "host": "evil.example:4000",
        "origin": "http://evil.example:4000",
        "sec-fetch-site": "same-origin",
    },
    "a rebound name in an old browser": {"host": "evil.example", "origin": "http://evil.example"},
    "a number that is not loopback": {"host": "10.0.0.1", "origin": "http://10.0.0.1"},
    "a host that cannot be read": {"host": "[::1", "origin": "http://[::1"},
}


@pytest.mark.parametrize("case", CROSS_SITE)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", door.path) for door in DOORS.values()),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/auto"),
        ("GET", "/api/tags"),
        ("POST", "/api/show"),
    ],
)
def test_a_web_page_of_another_site_is_refused(
    sidecar: ServedSidecar, method: str, path: str, case: str
) -> None:
    dialect = dialect_of(path) or Dialect.OPENAI
    told = refused(sidecar, method, path, GOOD_CALL, CROSS_SITE[case], dialect=dialect)
    assert told.status == 403
    if dialect is Dialect.OPENAI:
        assert told.json["error"]["code"] == "cross_site_request"


def test_a_page_of_our_own_and_programs_under_any_host_are_served(sidecar: ServedSidecar) -> None:
    own = {"origin": f"http://127.0.0.1:{sidecar.port}", "sec-fetch-site": "same-origin"}
    with Connection(sidecar) as connection:
        assert connection.ask("POST", CHAT, GOOD_CALL, own).status == 200
        assert connection.ask("POST", CHAT, GOOD_CALL, {"host": "sidecar:4000"}).status == 200


HINTS = {
    "x-sidecar-task-type": ("poetry", "embedding, extraction, generation"),
    "x-sidecar-data-classification": ("secret", "public, internal, confidential, pii, hipaa"),
    "x-sidecar-quality": (b"\xff\xfe", "low, medium, high, critical"),
    "x-sidecar-complexity": ("x" * 60_000, "low, medium, high, very_high"),
    "x-sidecar-batch-size": ("-1", "a whole number"),
    "x-sidecar-session": ("s" * 1_000, "at most 256 printable characters"),
    "x-sidecar-app": ("a" * 1_000, "at most 256 printable characters"),
}


@EVERY_DOOR
@pytest.mark.parametrize("header", HINTS)
def test_a_hint_that_is_none_is_refused_with_the_good_ones(
    sidecar: ServedSidecar, door: Door, header: str
) -> None:
    value, good = HINTS[header]
    body = json.dumps({**chat(), "input": "x", "prompt": "x", "max_tokens": 9}).encode()
    told = refused(sidecar, "POST", door.path, body, {header: value}, dialect=door.dialect)
    words = words_of(told, door.dialect)
    assert told.status == 400
    assert good in words
    assert header in words
    assert len(words) < 400


def _raw_call(sidecar: ServedSidecar, headers: list[tuple[str, str]]) -> tuple[int, bytes]:
    """A good call with ``headers`` one by one, as a mapping could not have them."""
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=30)
    connection.putrequest("POST", CHAT)
    for name, value in [*headers, ("content-length", str(len(GOOD_CALL)))]:
        connection.putheader(name, value)
    connection.endheaders(GOOD_CALL)
    response = connection.getresponse()
    with contextlib.closing(connection):
        return response.status, response.read()


def test_a_hint_said_twice_is_what_one_header_with_both_would_be(sidecar: ServedSidecar) -> None:
    name = "x-sidecar-data-classification"
    joined = _raw_call(sidecar, [(name, "pii, public")])
    assert joined[0] == 400
    assert b"'pii, public' is not accepted" in joined[1]
    assert _raw_call(sidecar, [(name, "pii"), ("accept", "*/*"), (name.title(), "public")]) == joined
    rated = [("x-sidecar-feedback", f"{number}=1") for number in range(21)]
    assert _raw_call(sidecar, rated)[0] == 400
    assert _raw_call(sidecar, [*rated[:2], ("cookie", "a"), ("cookie", "b")])[0] == 200


@pytest.mark.parametrize("headers", [PUBLIC, CRITICAL], ids=["translated", "relayed"])
@pytest.mark.parametrize(
    "odd",
    [
        {"user-agent": b"\xff\xfe"},
        {"user-agent": "Bücherei/1.0".encode()},
        {
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate": b"\xff\xfe=1",
        },
        {"traceparent": b"\xff\xfe"},
        {"x-sidecar-session": b"\xff\xfe"},
        {"x-unknown": "u" * 60_000},
        {"cookie": b"\x80=\x81"},
    ],
    ids=", ".join,
)
def test_odd_headers_do_not_disturb_a_call(
    sidecar: ServedSidecar, headers: dict[str, str], odd: dict[str, Any]
) -> None:
    with Connection(sidecar) as connection:
        told = connection.ask("POST", CHAT, GOOD_CALL, {**headers, **odd})
        assert told.status == 200, told.body
        assert connection.ask("POST", CHAT, GOOD_CALL).status == 200


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS handshake
        b"BREW /v1/chat/completions HTTP/1.1\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_harms_nobody(sidecar: ServedSidecar, bytes_sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=10) as raw:
        raw.sendall(bytes_sent)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    with Connection(sidecar) as connection:
        assert connection.ask("POST", CHAT, GOOD_CALL).status == 200


@pytest.mark.parametrize("percent", [0, 100])
async def test_an_unknown_model_is_a_404(
    world: World, scripted_upstream: StartUpstream, percent: int
) -> None:
    upstream = await scripted_upstream(name="ollama", models="llama3.2,nomic-embed-text")
    sidecar = await world.sidecar(
        {"tiers": {"local_ollama": {"base_url": upstream.url}}, "rollout": {"percent": percent}}
    )
    for door in DOORS.values():
        response = await sidecar.http.post(door.path, json=_body(door, "no-such-model"))
        if percent == 100 and door.operation is not Operation.EMBEDDINGS:
            # In the routed arm the name is the policy's to choose.
            assert response.status_code == 200, door.path
            continue
        assert response.status_code == 404, door.path
        error = response.json()["error"]
        assert "no-such-model" in (error if door.dialect is Dialect.OLLAMA else error["message"])
        assert response.headers[REQUEST_ID]
        known = "nomic-embed-text" if door.operation is Operation.EMBEDDINGS else "llama3.2"
        assert (await sidecar.http.post(door.path, json=_body(door, known))).status_code == 200


def _body(door: Door, model: str) -> dict[str, Any]:
    """A good body for ``door``."""
    if door.operation is Operation.COUNT_TOKENS:
        return chat(model=model)
    if door.operation is Operation.CHAT and door != OPENAI_RESPONSES:
        return chat(model=model, max_tokens=9)
    takes_input = door in (OPENAI_EMBEDDINGS, OPENAI_RESPONSES, OLLAMA_EMBED)
    return {"model": model, "input" if takes_input else "prompt": "x"}
