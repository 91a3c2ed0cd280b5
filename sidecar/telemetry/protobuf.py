"""The protobuf encoding, as far as OTLP needs it: cheap enough to be done in the serving process.

A field is its tag and its value; a message is its fields joined, in any order
(https://protobuf.dev/programming-guides/encoding/). What repeats from call to call is kept encoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

#: The values of an attribute; a tuple is a list of strings.
Value = str | bool | int | float | tuple[str, ...]

_fixed64 = struct.Struct("<Q").pack
_signed64 = struct.Struct("<q").pack
_double = struct.Struct("<d").pack
_fixed32 = struct.Struct("<I").pack

#: Attributes with longer values are not worth keeping.
_KEPT_LENGTH_MAX: Final = 120
_ONE_BYTE: Final = [bytes([number]) for number in range(0x80)]


def varint(number: int) -> bytes:
    """A number of up to 64 bits; a negative one as its two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    if number < 0x80:
        return _ONE_BYTE[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(field: int, wire_type: int) -> bytes:
    """What stands before a field's value."""
    return varint(field << 3 | wire_type)


_VARINT: Final = [tag(field, 0) for field in range(32)]
_EIGHT: Final = [tag(field, 1) for field in range(32)]
_LENGTH: Final = [tag(field, 2) for field in range(32)]
_FOUR: Final = [tag(field, 5) for field in range(32)]


def message(field: int, body: bytes) -> bytes:
    """Bytes, or a message that is encoded already."""
    return b"%b%b%b" % (_LENGTH[field], varint(len(body)), body)


def text(field: int, value: str) -> bytes:
    """A string; what is no valid Unicode is replaced."""
    return message(field, value.encode("utf-8", "replace"))


def number(field: int, value: int) -> bytes:
    """An integer, enumeration or boolean."""
    return _VARINT[field] + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """An unsigned number of eight bytes."""
    return _EIGHT[field] + _fixed64(value)


def signed64(field: int, value: int) -> bytes:
    """A signed number of eight bytes."""
    return _EIGHT[field] + _signed64(value)


def double(field: int, value: float) -> bytes:
    """A floating-point number."""
    return _EIGHT[field] + _double(value)


def fixed32(field: int, value: int) -> bytes:
    """An unsigned number of four bytes."""
    return _FOUR[field] + _fixed32(value)


def packed_fixed64(field: int, values: Sequence[int]) -> bytes:
    """Many unsigned numbers of eight bytes."""
    return message(field, struct.pack(f"<{len(values)}Q", *values))


def packed_double(field: int, values: Sequence[float]) -> bytes:
    """Many floating-point numbers."""
    return message(field, struct.pack(f"<{len(values)}d", *values))


def attributes(field: int, values: Mapping[str, Value]) -> bytes:
    """OpenTelemetry's ``repeated KeyValue``, one field for each."""
    return b"".join([attribute(field, key, value) for key, value in values.items()])


def attribute(field: int, key: str, value: Value) -> bytes:
    """One ``KeyValue``."""
    if type(value) is float or (type(value) is str and len(value) > _KEPT_LENGTH_MAX):
        return _attribute(field, key, value)
    return _kept_attribute(field, key, value)


def _attribute(field: int, key: str, value: Value) -> bytes:
    return message(field, text(1, key) + message(2, _any_value(value)))


#: Most attributes say the same for call after call; those that do not soon make room. Typed: 1 is not True.
_kept_attribute = lru_cache(maxsize=1024, typed=True)(_attribute)


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return text(1, value)
    if isinstance(value, bool):
        return number(2, value)
    if isinstance(value, int):
        return number(3, value)
    if isinstance(value, float):
        return double(4, value)
    return message(5, join(message(1, text(1, item)) for item in value))


def join(parts: Iterable[bytes]) -> bytes:
    """The fields of a message, one after the other."""
    return b"".join(parts)
