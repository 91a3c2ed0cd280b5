"""Errors in the caller's dialect, and an upstream's own words out of its."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from sidecar.core.vocabulary import OPENAI_RESPONSES, Dialect, Door

_MESSAGE_MAX = 2_000
#: Keys are longer than this. What stands in their place.
_KEY_MIN = 7
_NO_KEY = b"[key]"
_ESCAPED = re.compile(rb"\\(?:u00([0-7][0-9a-fA-F])|/)")

#: Codes and types of a prompt that the model's context cannot hold: OpenAI's, and llama.cpp's server's.
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
#: The same in words: OpenAI's and vLLM's ("maximum context length is"), Ollama's ("exceeds the context
#: length", "exceeds maximum context length"), Anthropic's ("prompt is too long: N tokens > M maximum").
_TOO_LONG_WORDS = re.compile(
    r"maximum context length|exceeds? (the )?(available |maximum |max )?context (length|size|window)"
    r"|prompt is too long|exceeded max(imum)? context length",
    re.IGNORECASE,
)

#: OpenAI's ``type`` by HTTP status, from its API reference's error codes.
_OPENAI_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
#: Anthropic's ``error.type`` by HTTP status, from its API reference.
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


def error_fields(
    dialect: Dialect, status: int, message: str, code: str, param: str | None = None
) -> dict[str, Any]:
    """The error object of ``dialect``. ``code`` is shown where the dialect has a place for it."""
    if dialect is Dialect.OLLAMA:
        return {"error": message}
    if dialect is Dialect.ANTHROPIC:
        return {
            "type": "error",
            "error": {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": message},
        }
    kind = _OPENAI_TYPES.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_body(dialect: Dialect, status: int, message: str, code: str, param: str | None = None) -> bytes:
    """``error_fields`` as JSON bytes."""
    return msgspec.json.encode(error_fields(dialect, status, message, code, param))


def error_event(door: Door, message: str, code: str) -> bytes:
    """The bytes that end a stream through ``door`` whose upstream broke after the first byte had gone out."""
    dialect = door.dialect
    body = error_body(dialect, 502, message, code)
    if door == OPENAI_RESPONSES:
        # As its reference has it, and with the object that OpenAI's clients raise an exception for.
        flat = {"type": "error", "sequence_number": 0, "code": code, "message": message, "param": None}
        fields = {**flat, **error_fields(dialect, 502, message, code)}
        return b"event: error\ndata: " + msgspec.json.encode(fields) + b"\n\n"
    if dialect is Dialect.OLLAMA:
        return body + b"\n"
    if dialect is Dialect.ANTHROPIC:
        return b"event: error\ndata: " + body + b"\n\n"
    return b"data: " + body + b"\n\n"


def upstream_message(body: bytes) -> str:
    """The human words in an upstream's error body of any dialect; empty when there are none.

    Only JSON error shapes are read: a page of HTML from a proxy in between helps no caller.
    """
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    for _ in range(3):
        if isinstance(fields, str):
            return fields[:_MESSAGE_MAX]
        if not isinstance(fields, dict):
            return ""
        fields = fields.get("error", fields.get("message", fields.get("detail")))
    return ""


def without_key(words: bytes, key: str) -> bytes:
    """An upstream's words without the tier's key, which some upstreams quote to say what is wrong with it.

    Also where JSON's escapes hide it. What is shorter than any key is taken for a word, as ``none`` is.
    """
    if len(key) < _KEY_MIN:
        return words
    words = words.replace(key.encode(), _NO_KEY)
    if b"\\" not in words:
        return words
    try:
        plain = msgspec.json.encode(msgspec.json.decode(words))
    except (msgspec.MsgspecError, RecursionError):
        # No JSON as a whole, such as an event of a stream; there the escapes are undone one by one.
        plain = _ESCAPED.sub(_unescaped, words)
    hidden = msgspec.json.encode(key)[1:-1]
    return plain.replace(hidden, _NO_KEY) if hidden in plain else words


def _unescaped(escape: re.Match[bytes]) -> bytes:
    sign = chr(int(escape[1], 16)) if escape[1] else "/"
    return sign.encode() if sign.isascii() and sign.isprintable() and sign not in '"\\' else escape[0]


def error_words(error: Any) -> str:
    """The human words of an error object of any dialect."""
    if isinstance(error, str):
        return error
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return str(error["message"])
    return "the upstream reported an error"


def speaks(dialect: Dialect, body: bytes) -> bool:
    """Whether ``body`` is an error in ``dialect`` already, so that it can be handed on as it is."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    if not isinstance(fields, dict):
        return False
    error = fields.get("error")
    if dialect is Dialect.OLLAMA:
        return isinstance(error, str)
    # Only Anthropic's says of itself what it is.
    same = (fields.get("type") == "error") is (dialect is Dialect.ANTHROPIC)
    return same and isinstance(error, dict) and isinstance(error.get("message"), str)


def says_too_long(body: bytes) -> bool:
    """Whether an upstream's error says that the model's context cannot hold the prompt."""
    try:
        fields = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return False
    error = fields.get("error") if isinstance(fields, dict) else None
    if isinstance(error, dict) and {str(error.get("code")), str(error.get("type"))} & _TOO_LONG_CODES:
        return True
    return _TOO_LONG_WORDS.search(upstream_message(body)) is not None
