"""How long a text is in bytes."""

from __future__ import annotations


def utf8_length(text: str | None) -> int:
    """The UTF-8 bytes of ``text``; none for None."""
    # The length in characters is exact for ASCII, which is the common case and needs no encoding.
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode())
