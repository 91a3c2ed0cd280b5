"""Changes single fields of a JSON object and leaves every other byte as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
#: What stands before a member's value: the brace or comma behind the one before it, its key, a colon.
_MEMBER = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*("(?:[^"\\]|\\.)*+")[ \t\n\r]*:[ \t\n\r]*', re.DOTALL)
_END = re.compile(rb"[ \t\n\r]*\}")


class Span(NamedTuple):
    """Where one member of an object stands in its bytes; ``value_end`` is exclusive."""

    key_start: int
    value_start: int
    value_end: int


class DuplicateKeyError(ValueError):
    """An object names the same key twice, so that two readers could see two different calls."""


def spans(body: bytes) -> dict[str, Span]:
    """The members of the JSON object ``body``, in order, with where they stand.

    Values are measured, not parsed: msgspec has validated them and tells their length. Raises
    ``msgspec.DecodeError`` when ``body`` is no JSON object, ``DuplicateKeyError`` on a repeated key.
    """
    raws = _RAW_OBJECT.decode(body)
    found: dict[str, Span] = {}
    at = 0
    for _ in raws:
        member = _MEMBER.match(body, at)
        if member is None:  # valid JSON: so what came before was taken for the value of its namesake
            raise DuplicateKeyError("a key stands twice")
        written = member[1]
        key = written[1:-1].decode() if b"\\" not in written else msgspec.json.decode(written, type=str)
        value = bytes(raws[key])
        start, at = member.end(), member.end() + len(value)
        if key in found or body[start:at] != value:
            raise DuplicateKeyError(f"the key {key[:40]!r} stands twice")
        found[key] = Span(member.start(1), start, at)
    if raws and _END.match(body, at) is None:
        raise DuplicateKeyError("a key stands twice")
    return found


def splice(body: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """``body`` with the named members set to the given JSON values, or removed where the value is None.

    A member that is there keeps its place, a new one goes to the end. All other bytes stay.
    """
    members = spans(body)
    for key, value in changes.items():
        if value is None and key in members:
            body = _without(body, members, key)
            members = spans(body)
    edits: list[tuple[int, int, bytes]] = []
    added: list[bytes] = []
    for key, value in changes.items():
        if value is None:
            continue
        span = members.get(key)
        if span is None:
            added.append(msgspec.json.encode(key) + b":" + value)
        else:
            edits.append((span.value_start, span.value_end, value))
    if added:
        close = body.rindex(b"}")
        edits.append((close, close, (b"," if members else b"") + b",".join(added)))
    out: list[bytes] = []
    at = 0
    for start, end, replacement in sorted(edits):
        out += (body[at:start], replacement)
        at = end
    out.append(body[at:])
    return b"".join(out)


def _without(body: bytes, members: Mapping[str, Span], key: str) -> bytes:
    """``body`` without one member and the one comma that its going leaves over."""
    order = list(members.values())
    place = order.index(members[key])
    if place + 1 < len(order):
        start, end = order[place].key_start, order[place + 1].key_start
    elif place:
        start, end = order[place - 1].value_end, order[place].value_end
    else:
        start, end = order[place].key_start, order[place].value_end
    return body[:start] + body[end:]


def splice_nested(body: bytes, outer: str, changes: Mapping[str, bytes | None]) -> bytes:
    """The JSON value for ``outer`` after ``changes`` to the object it holds; ``{}`` if it holds none."""
    span = spans(body).get(outer)
    inner = body[span.value_start : span.value_end] if span else b"{}"
    return splice(inner if inner[:1] == b"{" else b"{}", changes)
