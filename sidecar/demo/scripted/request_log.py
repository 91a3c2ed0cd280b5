"""Remembers every request, what was answered and what it cost, in memory and in a file.

The file has one JSON line when a request has been understood, written out before a byte of the answer
is, and one when it has ended; so it tells the truth even about calls whose caller was killed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from sidecar.demo.scripted.faults import Fault

#: Older entries are forgotten; the totals are not.
ENTRIES_MAX = 20_000


class Entry(msgspec.Struct, omit_defaults=True):
    """One request. ``input_tokens`` and ``output_tokens`` are what the service bills for it.

    Bodies are text, or base64 under ``*_base64`` where they are not UTF-8. ``promised_tokens`` is what the
    whole answer would cost. ``client_left`` is set when the client went before the end; ``time`` and
    ``ended_at`` are Unix seconds.
    """

    seq: int
    time: float
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: str = ""
    body_base64: str = ""
    status: int = 0
    content_type: str = ""
    answer: str = ""
    answer_base64: str = ""
    chunks_sent: int = 0
    promised_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    fault: Fault | None = None
    client_left: bool = False
    ended: bool = False
    ended_at: float = 0.0


class RequestLog:
    """All requests since the start or the last reset."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file.open("ab", buffering=0) if file else None
        self._entries: deque[Entry] = deque(maxlen=ENTRIES_MAX)
        self._seq = 0
        self._open = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._totals = dict.fromkeys(("requests", "input_tokens", "output_tokens", "clients_left"), 0)

    def receive(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Entry:
        """A request has been read."""
        self._seq += 1
        self._open += 1
        self._quiet.clear()
        text, encoded = _readable(body)
        entry = Entry(self._seq, time.time(), method, path, headers, text, encoded)
        self._entries.append(entry)
        self._totals["requests"] += 1
        return entry

    def promise(self, entry: Entry) -> None:
        """It is known what will be answered; nothing has been sent yet."""
        self._append("promised", entry)

    def end(self, entry: Entry, answer: bytes) -> None:
        """The answer has been sent as far as it will be; a second call changes nothing."""
        if entry.ended:
            return
        entry.ended, entry.ended_at = True, time.time()
        entry.answer, entry.answer_base64 = _readable(answer)
        self._totals["input_tokens"] += entry.input_tokens
        self._totals["output_tokens"] += entry.output_tokens
        self._totals["clients_left"] += entry.client_left
        self._append("ended", entry)
        self._open -= 1
        if not self._open:
            self._quiet.set()

    async def read(self, quiet_within_s: float = 0.0) -> dict[str, Any]:
        """``{"totals", "open", "entries"}``, when nothing is under way any more or the time is up."""
        if quiet_within_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet.wait(), quiet_within_s)
        return {"totals": self._totals, "open": self._open, "entries": list(self._entries)}

    def reset(self) -> None:
        """Forget what has ended; the file keeps it."""
        self._entries.clear()
        self._totals = dict.fromkeys(self._totals, 0)

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def _append(self, event: str, entry: Entry) -> None:
        if self._file:
            line = {"event": event, "at": time.time(), **msgspec.to_builtins(entry)}
            self._file.write(msgspec.json.encode(line) + b"\n")


def _readable(data: bytes) -> tuple[str, str]:
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        return "", base64.b64encode(data).decode()
