"""Names each request that comes in, so that an app's author and an operator can speak of the same one."""

from __future__ import annotations

from sidecar.entropy import random_bytes

HEADER = "x-sidecar-request-id"


def new_request_id(now_ns: int) -> str:
    """A UUID of version 7 (RFC 9562): sorts by time, so that the log's index grows at one end."""
    value = (now_ns // 1_000_000) << 80 | int.from_bytes(random_bytes(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
