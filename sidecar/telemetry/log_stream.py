"""Writes log lines to standard error without ever waiting for whoever reads it.

A pipe that nobody reads is full after 64 KB. A plain handler would then keep the event loop standing in the
middle of a warning, and with it every call, for as long as the reader likes.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

#: What a pipe that says it is writable takes at once (POSIX's least for PIPE_BUF is 512, Linux has 4096).
_PIECE: Final = min(getattr(select, "PIPE_BUF", 512), 4096)
#: How long a reader that kept up so far is waited for. One that did not is not waited for at all.
_GRACE_MS: Final = 20


class NeverWaiting(logging.Handler):
    """Writes to the file ``descriptor``; ``lost`` counts the lines that found no room since the last did."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.lost = 0
        self._descriptor = descriptor
        self._writable = select.poll()
        self._writable.register(descriptor, select.POLLOUT)
        self._gathered = threading.local()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write what this thread logs in here at the end, many lines at a time.

        For who has many: for each write a thread lets go of Python's lock, and has to get it back.
        """
        lines: list[bytes] = []
        self._gathered.lines = lines
        try:
            yield
        finally:
            self._gathered.lines = None
            with self._own_lock():
                self._write_all(lines)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it as lost. Never waits, never raises."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        except (ValueError, TypeError):  # a record that cannot be put into words
            self.lost += 1
            return
        if (gathered := getattr(self._gathered, "lines", None)) is not None:
            gathered.append(line)
        else:
            self._write_all([line])

    @contextmanager
    def _own_lock(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _write_all(self, lines: Sequence[bytes]) -> None:
        """Write ``lines``, as many at a time as are taken at once; count those that found no room."""
        first = 0
        while first < len(lines):
            last, size = first + 1, len(lines[first])
            while last < len(lines) and size + len(lines[last]) <= _PIECE:
                size += len(lines[last])
                last += 1
            self._write_some(lines[first:last])
            first = last

    def _write_some(self, lines: Sequence[bytes]) -> None:
        try:
            if self.lost and not self._write(self._of_the_lost()):
                self.lost += len(lines)
                return
            self.lost = 0
            if self._write(b"".join(lines)):
                return
        except OSError:  # a full disk, a reader that is gone
            pass
        self.lost += len(lines)

    def _of_the_lost(self) -> bytes:
        words = f"{self.lost} log lines were lost, because nobody read them"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, words, None, None)
        return self.format(record).encode() + b"\n"

    def _write(self, data: bytes) -> bool:
        """Whether all of it was taken; of a long line the beginning may be."""
        for start in range(0, len(data), _PIECE):
            if not self._writable.poll(0 if self.lost else _GRACE_MS):
                return False
            os.write(self._descriptor, data[start : start + _PIECE])
        return True
