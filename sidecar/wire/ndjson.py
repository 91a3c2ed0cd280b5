"""Splits a byte stream into newline-delimited JSON lines without changing a byte of them."""

from __future__ import annotations


class LineSplitter:
    """Feed it chunks as they come; it gives whole lines, each with its newline."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, oldest first."""
        data = self._rest + chunk if self._rest else chunk
        lines = data.splitlines(keepends=True) if b"\r" not in data else _split(data)
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        return lines

    def rest(self) -> bytes:
        """What has come after the last newline."""
        return self._rest


def _split(data: bytes) -> list[bytes]:
    """Lines ended by a newline only: a carriage return may stand before it, or inside a line."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    last = lines.pop()[:-1]
    return [*lines, last] if last else lines
