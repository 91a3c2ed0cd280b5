"""Gathers what has become of calls and sends it to the hub in batches; telling of each alone costs more."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import msgspec

from sidecar.core.said import Hear, Said
from sidecar.core.vocabulary import DecisionRecord
from sidecar.workers.channel import Channel
from sidecar.workers.messages import CallsEnded, FromHub

log = logging.getLogger(__name__)

#: How long a record waits for others, and how many go at once.
GATHER_S: Final = 0.05
BATCH_MAX: Final = 64
#: What may wait for a hub that takes nothing: some 20,000 records. Settlements wait without a bound.
WAITING_BYTES_MAX: Final = 32 * 2**20

_encode = msgspec.msgpack.Encoder().encode


class Outbox:
    """The records of calls that have ended. ``dropped`` counts those that the hub could not be told of."""

    def __init__(self, channel: Channel[FromHub]) -> None:
        self._channel = channel
        self._records: list[bytes] = []
        self._heard: dict[int, Hear] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.dropped = 0

    def record(self, record: DecisionRecord, hear: Hear | None = None) -> None:
        """Take over the record of a call that has ended. Never blocks, never raises."""
        if self._channel.waiting_bytes > WAITING_BYTES_MAX:
            self.dropped += 1
            return
        try:
            body = _encode(record)
        except (ValueError, OverflowError) as error:
            self.dropped += 1
            log.error("a decision record was dropped: %s", error)
            return
        if hear is not None:
            self._heard[len(self._records)] = hear
        self._records.append(body)
        if len(self._records) >= BATCH_MAX:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records = self._records, []
        heard, self._heard = self._heard, {}
        if records:
            said = {place: words for place, hear in heard.items() if (words := _said(hear)) is not None}
            self._channel.send(CallsEnded(records, said))


def _said(hear: Hear) -> Said | None:
    try:
        return hear()
    except Exception as error:
        # A defect here must not cost the records. Its text may hold a piece of the prompt.
        log.error("what a call said cannot be shown: %s", type(error).__name__)
        return None
