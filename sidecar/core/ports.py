"""The shapes through which the request line reaches the world; lanes, stores and clocks fit them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from sidecar.core.alerts import AlertKind
from sidecar.core.budget import Hold, HoldRefusal, HoldRequest
from sidecar.core.settlement import Settlement
from sidecar.core.vocabulary import Arm, Door, Lane, Usage


class OutboundCall(msgspec.Struct, frozen=True):
    """One attempt's request, before a lane has put it into the upstream's shape.

    ``body`` are the caller's bytes, ``fields`` the same decoded. ``model`` is what the upstream is asked
    for. ``output_limit`` is the number of output tokens that was held for, or None: leave as it is. It
    must reach the upstream and never be exceeded. ``strip_metadata`` names the keys of the body's
    ``metadata`` that were ours. ``headers`` are the caller's headers that may go on (allow-listed), with
    the trace context.
    """

    request_id: str
    door: Door
    arm: Arm
    body: bytes
    fields: dict[str, Any]
    model: str
    stream: bool
    headers: tuple[tuple[str, str], ...] = ()
    output_limit: int | None = None
    strip_metadata: tuple[str, ...] = ()


class Tally:
    """What has been seen of an answer so far; a lane keeps it current while its chunks are read.

    ``finished`` says that the dialect's end was seen; a stream that stops without it was cut. Where an
    answer has several choices, each that began must have come to its end.
    ``output_text_bytes`` counts the UTF-8 bytes of generated text delivered, for estimates when no usage
    is reported. ``finish_reason`` is the upstream's own word. ``behind`` says that the upstream may have
    sent, or be about to send, more than was read: it was kept from sending by a client that did not read.
    """

    __slots__ = ("_ended", "_under_way", "behind", "finish_reason", "finished", "output_text_bytes", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.output_text_bytes = 0
        self.finished = False
        self.behind = False
        self.finish_reason = ""
        self._under_way: set[int] = set()
        self._ended: set[int] = set()

    def take_choice(self, index: int, finish_reason: str | None) -> None:
        """A piece of a choice has come; with a ``finish_reason`` it was the last that counts."""
        if finish_reason:
            self.finish_reason = finish_reason
            self._ended.add(index)
            self._under_way.discard(index)
        elif index not in self._ended:
            self._under_way.add(index)
        else:
            return
        self.finished = not self._under_way

    def begun(self) -> bool:
        """Whether a first token, or the end, has been seen."""
        return self.output_text_bytes > 0 or self.finished


class Answer(Protocol):
    """An answer whose first byte has arrived, in the caller's dialect.

    ``chunks`` is read once. A fault while reading raises ``UpstreamFault``. ``aclose`` stops the
    upstream from generating and is safe to call at any time, more than once.
    """

    status: int
    content_type: str
    headers: tuple[tuple[str, str], ...]
    lane: Lane
    tally: Tally

    def chunks(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


class UpstreamLane(Protocol):
    """One way to reach one tier's upstream. Only the upstream registry holds lanes.

    ``send`` returns once the first byte of the answer is there: the whole body when the call does not
    stream, the first event when it does. Before that, every failure is an ``UpstreamFault``.
    """

    async def send(self, call: OutboundCall) -> Answer: ...

    async def aclose(self) -> None: ...


class StorageError(Exception):
    """The sidecar cannot remember, or not all of it; the message is for the operator."""


class Ledger(Protocol):
    """Where money is held and settled; all of a sidecar's processes reach the same one."""

    def remaining(self, tier: str) -> tuple[int | None, str]:
        """What the tightest cap leaves for ``tier``, in nano-dollars, and its name; None when uncapped."""
        ...

    async def hold(self, request: HoldRequest) -> Hold | HoldRefusal:
        """Set money aside, durably; when the caller is cancelled while it waits, nothing stays held."""
        ...

    def settle(self, hold: Hold, settlement: Settlement) -> int:
        """Post what ``hold`` came to, and return it in nano-dollars; 0 when it was settled before."""
        ...

    def raise_alert(self, kind: AlertKind, key: str, text: str, detail: dict[str, Any]) -> None:
        """Tell operators of something once for each ``key``."""
        ...


class Split(Protocol):
    """Which share of the calls is routed, and the salt that places them."""

    @property
    def salt(self) -> str: ...

    @property
    def percent(self) -> float: ...


class Rollout(Protocol):
    """Where the rollout stands now."""

    @property
    def current(self) -> Split: ...
