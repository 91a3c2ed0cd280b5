"""Writes to a terminal, or to whatever stands in for one: colour and progress only where they belong."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import TextIO

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_CLEAR_LINE = "\r\x1b[K"


class Terminal:
    """Text output. ``NO_COLOR`` and dumb terminals are respected; a pipe sees plain lines.

    ``live`` says whether a line can be replaced by the next.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
        self.live = stream.isatty() and environ.get("TERM") != "dumb"
        self._colour = self.live and not environ.get("NO_COLOR")
        self._passing = False

    def line(self, text: str = "") -> None:
        """One line that stays."""
        self._write(text + "\n", passing=False)

    def passing(self, text: str) -> None:
        """A line that the next one replaces; nothing at all where lines cannot be replaced."""
        if self.live:
            # A model may say anything, also what a terminal would take for a command.
            safe = "".join(sign for sign in text if sign.isprintable())
            self._write(safe[: self._width() - 1], passing=True)

    def colour(self, text: str, *styles: str) -> str:
        """``text`` in the named styles, where there is colour."""
        if not self._colour or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"

    def table(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Sequence[str]]
    ) -> None:
        """Columns as wide as they need to be; heads that begin with ``>`` stand over right-aligned ones."""
        right = [head.startswith(">") for head in heads]
        titles = [head.removeprefix(">") for head in heads]
        widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]

        def lay(cells: Sequence[str]) -> str:
            placed = [
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(cells, widths, right, strict=True)
            ]
            return "  ".join(placed).rstrip()

        self.line(self.colour(lay(titles), "bold"))
        for row, style in zip(rows, styles, strict=True):
            self.line(self.colour(lay(row), *style))

    def _write(self, text: str, *, passing: bool) -> None:
        self._stream.write((_CLEAR_LINE if self._passing else "") + text)
        self._stream.flush()
        self._passing = passing

    def _width(self) -> int:
        return os.get_terminal_size(self._stream.fileno()).columns or 80
