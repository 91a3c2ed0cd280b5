"""Writes log lines to standard error without ever waiting for whoever reads it.

A pipe that nobody reads is full after 64 KB. A plain handler would then keep the event loop standing in the
middle of a warning, and with it every call, for as long as the reader likes.
"""

from __future__ import annotations

import logging
import os
import select
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

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it as lost. Never waits, never raises."""
        try:
            line = self.format(record)
            if self.lost:
                line = f"{self._of_the_lost(record)}\n{line}"
            if self._write(line.encode("utf-8", "backslashreplace") + b"\n"):
                self.lost = 0
                return
        except (OSError, ValueError, TypeError):
            # A full disk, a reader that is gone, a record that cannot be put into words.
            pass
        self.lost += 1

    def _of_the_lost(self, record: logging.LogRecord) -> str:
        words = f"{self.lost} log lines were lost, because nobody read them"
        return self.format(
            logging.LogRecord(__name__, logging.WARNING, record.pathname, 0, words, None, None)
        )

    def _write(self, data: bytes) -> bool:
        """Whether all of it was taken; of a long line the beginning may be."""
        for start in range(0, len(data), _PIECE):
            if not self._writable.poll(0 if self.lost else _GRACE_MS):
                return False
            os.write(self._descriptor, data[start : start + _PIECE])
        return True
