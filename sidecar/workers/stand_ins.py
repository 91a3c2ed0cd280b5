"""The ledger, the rollout and the shadow calls' purse as a worker sees them: the hub has the real ones."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

import msgspec

from sidecar.core.alerts import AlertKind
from sidecar.core.budget import Hold, HoldRefusal, HoldRequest, RefusalReason
from sidecar.core.settlement import Settlement, posting
from sidecar.core.shadows import ShadowResult
from sidecar.core.trace_context import TraceContext
from sidecar.workers.messages import (
    AlertRaised,
    HoldEnded,
    HoldForgotten,
    HoldRefused,
    HoldTaken,
    HoldWanted,
    Message,
    Room,
    ShadowAnswer,
    ShadowEnded,
    ShadowMoney,
    ShadowPaid,
)

Send = Callable[[Message], None]

#: How long the hub may take to answer. Its ledger answers within 2 s, whatever the disk does.
_WAIT_S: Final = 5.0


class RemoteLedger:
    """Holds and settles through the hub, which alone decides; a hub that does not answer is a refusal."""

    def __init__(self, send: Send, *, wait_s: float = _WAIT_S) -> None:
        self._send = send
        self._wait_s = wait_s
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[HoldRequest, asyncio.Future[Hold | HoldRefusal]]] = {}
        self._open: dict[int, int] = {}
        self._left: dict[str, tuple[int | None, str]] = {}

    def remaining(self, tier: str) -> tuple[int | None, str]:
        """What the tightest cap left for ``tier`` a moment ago. Nothing is held on the strength of it."""
        return self._left.get(tier, (None, ""))

    async def hold(self, request: HoldRequest) -> Hold | HoldRefusal:
        """Set money aside; it is on the disk when the hold is returned. Cancelled, nothing stays held."""
        seq = next(self._numbers)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Hold | HoldRefusal] = loop.create_future()
        self._asked[seq] = request, future
        overdue = loop.call_later(self._wait_s, self._give_up, seq)
        self._send(HoldWanted(seq, request))
        try:
            answer = await future
        except BaseException:
            self._asked.pop(seq, None)
            self._send(HoldForgotten(seq))
            raise
        finally:
            overdue.cancel()
        if isinstance(answer, Hold):
            self._open[answer.id] = seq
        return answer

    def settle(self, hold: Hold, settlement: Settlement) -> int:
        """Post what ``hold`` came to, and return it in nano-dollars; 0 when it was settled before."""
        seq = self._open.pop(hold.id, None)
        if seq is None:
            return 0
        request = hold.request
        posted = posting(request.amount_nano_usd, request.price, settlement)
        self._send(HoldEnded(seq, settlement))
        left, cap = self.remaining(request.tier)
        if left is not None:
            # The hub's word comes a moment later; the next call should not be turned away until then.
            self._left[request.tier] = left + request.amount_nano_usd - posted.nano_usd, cap
        return posted.nano_usd

    def raise_alert(self, kind: AlertKind, key: str, text: str, detail: dict[str, Any]) -> None:
        """Have the hub tell operators of something."""
        self._send(AlertRaised(kind, key, text, detail))

    @property
    def open_holds(self) -> int:
        """The holds that are not settled."""
        return len(self._open)

    # what the hub says

    def taken(self, answer: HoldTaken) -> None:
        """The money is set aside."""
        if answer.seq in self._asked:
            request, future = self._asked.pop(answer.seq)
            _answer(future, Hold(answer.hold_id, request, answer.held_at_ns))

    def refused(self, answer: HoldRefused) -> None:
        """It is not."""
        if answer.seq in self._asked:
            _answer(self._asked.pop(answer.seq)[1], answer.refusal)

    def room(self, room: Room) -> None:
        """What the caps leave."""
        self._left = dict(room.left)

    def _give_up(self, seq: int) -> None:
        if seq in self._asked:
            _, future = self._asked.pop(seq)
            self._send(HoldForgotten(seq))
            words = f"the ledger did not answer within {self._wait_s:g} s"
            _answer(future, HoldRefusal(RefusalReason.UNAVAILABLE, words))


def _answer(future: asyncio.Future[Hold | HoldRefusal], answer: Hold | HoldRefusal) -> None:
    # One that was cancelled in this very turn of the loop says so itself.
    if not future.done():
        future.set_result(answer)


class KnownSplit(msgspec.Struct, frozen=True):
    """Which share of the calls is routed, as the hub said last."""

    salt: str
    percent: float


class KnownRollout:
    """Where the rollout stands, as far as the worker was told."""

    def __init__(self, split: KnownSplit) -> None:
        self.current = split


class RemoteShadows:
    """What shadow calls cost and come to, told to the hub: it has the day's purse and keeps the results."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[int, asyncio.Future[bool]]] = {}

    async def take(self, nano_usd: int, cap_nano_usd: int) -> bool:
        """Set ``nano_usd`` aside, if a day's cap leaves them."""
        seq = next(self._numbers)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked[seq] = nano_usd, future
        self._send(ShadowMoney(seq, nano_usd, cap_nano_usd))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result():
                self.give_back(nano_usd, 0)
            raise

    def give_back(self, nano_usd: int, cost_nano_usd: int) -> None:
        """What was set aside came to ``cost_nano_usd``."""
        self._send(ShadowPaid(nano_usd, cost_nano_usd))

    def trace(self, result: ShadowResult, own: TraceContext, followed: TraceContext) -> None:
        """Have the hub trace the call, and keep what it came to."""
        self._send(ShadowEnded(result, own, followed))

    async def add(self, result: ShadowResult) -> None:
        """Nothing more: the hub keeps what it was told to trace."""

    # what the hub says

    def answered(self, answer: ShadowAnswer) -> None:
        """Whether the money is set aside; if nobody waits for it any more, it goes back."""
        nano_usd, future = self._asked.pop(answer.seq)
        if not future.done():
            future.set_result(answer.granted)
        elif answer.granted:
            self.give_back(nano_usd, 0)
