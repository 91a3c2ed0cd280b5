"""Paging cursors: opaque to who holds them, a position in a sequence to us."""

from __future__ import annotations

import base64
import binascii


def encode_cursor(kind: str, sequence: int) -> str:
    """The cursor for the page after the row ``sequence`` of the listing ``kind``."""
    return base64.urlsafe_b64encode(f"{kind}:{sequence}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str) -> int:
    """The position in ``cursor``. Raises ``ValueError`` for anything that ``encode_cursor`` did not make."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, ValueError):
        text = ""
    found, _, digits = text.partition(":")
    if found != kind or not digits.isdecimal() or len(digits) > 18:
        raise ValueError(f"{cursor[:80]!r} is not a cursor of this listing; take it from next_cursor")
    return int(digits)
