"""The hub's end of one channel: what a worker asks for, and one settlement for each hold, however it ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec

from sidecar.app import Sidecar
from sidecar.core.budget import Hold
from sidecar.core.ports import StorageError
from sidecar.core.said import Said
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import DecisionRecord
from sidecar.workers.channel import Channel
from sidecar.workers.messages import (
    AlertRaised,
    AllTold,
    CallRated,
    CallRefused,
    CallsEnded,
    FromWorker,
    HoldEnded,
    HoldForgotten,
    HoldRefused,
    HoldTaken,
    HoldWanted,
    Ready,
    Report,
    ShadowAnswer,
    ShadowEnded,
    ShadowMoney,
    ShadowPaid,
    TellNow,
)

log = logging.getLogger("sidecar.workers")

#: Records are worked on so many at a time, between which holds are answered.
_AT_ONCE: Final = 4
#: Records that may wait for that. The log behind it has a bound of its own.
_RECORDS_MAX: Final = 10_000

_decode_record = msgspec.msgpack.Decoder(DecisionRecord).decode


class Link:
    """One worker as the hub knows it.

    ``money_moved`` is called when what the caps leave may have changed. ``report`` is the worker's last word
    on how it fares.
    """

    def __init__(self, sidecar: Sidecar, money_moved: Callable[[], None]) -> None:
        self._sidecar = sidecar
        self._services = sidecar.services
        self._money_moved = money_moved
        self._holds: dict[int, asyncio.Task[None] | Hold] = {}
        self._shadow_nano_usd = 0
        self._records: deque[tuple[bytes, Said | None]] = deque()
        self._recording: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._telling: dict[int, asyncio.Event] = {}
        self._others: set[asyncio.Task[None]] = set()
        self.channel: Channel[FromWorker] = Channel(
            msgspec.msgpack.Decoder(FromWorker), self._take, self._channel_ended
        )
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()
        self.report: Report | None = None
        self._handlers: dict[type, Callable[..., None]] = {
            Ready: lambda _: self.ready.set(),
            AllTold: self._all_told,
            AlertRaised: lambda m: self._services.ledger.raise_alert(m.kind, m.key, m.text, m.detail),
            HoldWanted: self._hold_wanted,
            HoldEnded: self._hold_ended,
            HoldForgotten: self._hold_forgotten,
            CallsEnded: self._calls_ended,
            CallRefused: lambda message: self._sidecar.telemetry.refused(message.call),
            CallRated: lambda message: self._services.ratings.offer(message.request_id, message.score),
            ShadowMoney: self._shadow_money,
            ShadowPaid: self._shadow_paid,
            ShadowEnded: self._shadow_ended,
            Report: self._reported,
        }

    @property
    def open_holds(self) -> int:
        """The holds that were asked for and are not settled."""
        return len(self._holds)

    async def recorded(self) -> None:
        """Until all records that have come are handed on."""
        if self._recording is not None:
            await asyncio.wait([self._recording])

    async def all_told(self) -> None:
        """Until the records of all calls that have ended by now are handed on."""
        told = asyncio.Event()
        seq = next(self._numbers)
        self._telling[seq] = told
        self.channel.send(TellNow(seq))
        try:
            if not self.ended.is_set():
                await told.wait()
        finally:
            self._telling.pop(seq, None)
        await self.recorded()

    def _all_told(self, message: AllTold) -> None:
        if message.seq in self._telling:
            self._telling[message.seq].set()

    def _take(self, message: FromWorker) -> None:
        self._handlers[type(message)](message)

    def _reported(self, report: Report) -> None:
        self.report = report

    # money

    def _hold_wanted(self, message: HoldWanted) -> None:
        self._holds[message.seq] = asyncio.get_running_loop().create_task(self._hold(message))

    async def _hold(self, message: HoldWanted) -> None:
        seq = message.seq
        try:
            answer = await self._services.ledger.hold(message.request)
        except BaseException:
            # Cancelled: the ledger has given back what it may have held.
            self._holds.pop(seq, None)
            raise
        if isinstance(answer, Hold):
            # From here on something may be sent for it: only the worker knows what, and may not live to tell.
            self._holds[seq] = answer
            self.channel.send(HoldTaken(seq, answer.id, answer.held_at_ns))
        else:
            del self._holds[seq]
            self.channel.send(HoldRefused(seq, answer))
        self._money_moved()

    def _hold_ended(self, message: HoldEnded) -> None:
        hold = self._holds.pop(message.seq, None)
        if isinstance(hold, Hold):
            self._services.ledger.settle(hold, message.settlement)
            self._money_moved()

    def _hold_forgotten(self, message: HoldForgotten) -> None:
        hold = self._holds.pop(message.seq, None)
        if isinstance(hold, Hold):
            self._services.ledger.settle(hold, Settlement(SettlementKind.RELEASED))
            self._money_moved()
        elif hold is not None:
            hold.cancel()

    def _channel_ended(self) -> None:
        """Nothing more will come: what the worker was told that it had is as good as spent."""
        holds, self._holds = self._holds, {}
        unknown = 0
        for hold in holds.values():
            if isinstance(hold, Hold):
                self._services.ledger.settle(hold, Settlement(SettlementKind.UNKNOWN))
                unknown += 1
            else:
                hold.cancel()
        if unknown:
            log.warning("%d holds of a worker that ended are posted whole, as unknown", unknown)
        self._services.shadow_purse.give_back(self._shadow_nano_usd, self._shadow_nano_usd)
        self._shadow_nano_usd = 0
        self._money_moved()
        self.ended.set()
        for told in self._telling.values():
            told.set()

    # what became of calls

    def _calls_ended(self, message: CallsEnded) -> None:
        for place, body in enumerate(message.records):
            if len(self._records) >= _RECORDS_MAX:
                self._services.log.dropped += 1
            else:
                self._records.append((body, message.said.get(place)))
        if self._recording is None or self._recording.done():
            self._recording = asyncio.get_running_loop().create_task(self._record())

    async def _record(self) -> None:
        while self._records:
            for _ in range(min(_AT_ONCE, len(self._records))):
                body, said = self._records.popleft()
                hear = None if said is None else _saying(said)
                self._sidecar.record(_decode_record(body), hear, body)
            await asyncio.sleep(0)

    # shadow calls

    def _shadow_money(self, message: ShadowMoney) -> None:
        self._start(self._shadow_answer(message))

    async def _shadow_answer(self, message: ShadowMoney) -> None:
        granted = False
        try:
            granted = await self._services.shadow_purse.take(message.nano_usd, message.cap_nano_usd)
        except StorageError as error:
            log.info("a shadow call was not made: %s", error)
        if granted and self.ended.is_set():
            self._services.shadow_purse.give_back(message.nano_usd, 0)
        elif granted:
            self._shadow_nano_usd += message.nano_usd
        self.channel.send(ShadowAnswer(message.seq, granted))

    def _shadow_paid(self, message: ShadowPaid) -> None:
        self._shadow_nano_usd -= message.nano_usd
        self._services.shadow_purse.give_back(message.nano_usd, message.cost_nano_usd)

    def _shadow_ended(self, message: ShadowEnded) -> None:
        self._sidecar.telemetry.tell_of_shadow(message.result, message.own, message.followed)
        self._start(self._shadow_kept(message))

    async def _shadow_kept(self, message: ShadowEnded) -> None:
        try:
            await self._services.shadow_log.add(message.result)
        except StorageError as error:
            log.warning("what became of a shadow call is lost: %s", error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)


def _saying(said: Said) -> Callable[[], Said]:
    return lambda: said
