"""All that a worker and the hub say to each other."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.alerts import AlertKind
from sidecar.core.breaker import BreakerView
from sidecar.core.budget import HoldRefusal, HoldRequest
from sidecar.core.obstacles import OutOfService
from sidecar.core.said import Said
from sidecar.core.settlement import Settlement
from sidecar.core.shadows import ShadowResult
from sidecar.core.trace_context import TraceContext
from sidecar.core.vocabulary import RefusedCall
from sidecar.traffic import Traffic
from sidecar.upstreams.admission import AdmissionView


class Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """One message. ``seq`` numbers what a worker asks for, so that answers find their way."""


# from a worker to the hub


class Ready(Message, frozen=True):
    """The worker takes calls from now on."""


class HoldWanted(Message, frozen=True):
    """Set money aside, and answer with ``HoldTaken`` or ``HoldRefused``."""

    seq: int
    request: HoldRequest


class HoldEnded(Message, frozen=True):
    """What became of the hold that was asked for under ``seq``."""

    seq: int
    settlement: Settlement


class HoldForgotten(Message, frozen=True):
    """The call that asked is no more: whatever was answered, nothing was sent for it."""

    seq: int


class AlertRaised(Message, frozen=True):
    """Operators are to be told of something, as ``Ledger.raise_alert`` has it."""

    kind: AlertKind
    key: str
    text: str
    detail: dict[str, Any]


class CallsEnded(Message, frozen=True):
    """Decision records as msgpack, in the order in which calls ended.

    ``said`` has what was said in those, by their place, whose spans may show it.
    """

    records: list[bytes]
    said: dict[int, Said] = {}


class CallRefused(Message, frozen=True):
    """A call that was turned away at the door."""

    call: RefusedCall


class CallRated(Message, frozen=True):
    """A rating of an earlier answer that came with a call."""

    request_id: str
    score: float


class ShadowMoney(Message, frozen=True):
    """Set money for a shadow call aside, within a day's cap, and answer with ``ShadowAnswer``."""

    seq: int
    nano_usd: int
    cap_nano_usd: int


class ShadowPaid(Message, frozen=True):
    """What was set aside for a shadow call came to ``cost_nano_usd``."""

    nano_usd: int
    cost_nano_usd: int


class ShadowEnded(Message, frozen=True):
    """A shadow call, its own trace, and that of the call that it followed."""

    result: ShadowResult
    own: TraceContext
    followed: TraceContext


class TierReport(msgspec.Struct, frozen=True, array_like=True):
    """How a tier fares in one worker, as ``TierView`` has it; ``obstacle`` is a reason code and its words."""

    obstacle: tuple[str, str]
    circuit: BreakerView
    queue: AdmissionView
    absent: str
    key_refused: str


class Report(Message, frozen=True):
    """How the worker fares; several a second."""

    tiers: dict[str, TierReport]
    traffic: Traffic
    lag_ms: float
    worst_lag_ms: float
    cpu_s: float
    memory_bytes: int
    #: Records that were lost because the hub did not take them.
    dropped: int


class AllTold(Message, frozen=True):
    """The answer to ``TellNow``: everything that had ended by then has been told."""

    seq: int


FromWorker = (
    Ready
    | AllTold
    | AlertRaised
    | HoldWanted
    | HoldEnded
    | HoldForgotten
    | CallsEnded
    | CallRefused
    | CallRated
    | ShadowMoney
    | ShadowPaid
    | ShadowEnded
    | Report
)

# from the hub to a worker


class News(Message, frozen=True):
    """Where the rollout stands and which tiers are out of service, whenever either has changed."""

    salt: str
    percent: float
    out: dict[str, OutOfService]


class Room(Message, frozen=True):
    """For each priced tier what the tightest cap leaves in nano-dollars (None: uncapped), and its name."""

    left: dict[str, tuple[int | None, str]]


class Welcome(Message, frozen=True):
    """All that a worker begins with: it is number ``number`` of ``count``, from 0.

    ``first`` is the configuration that the hub started with, ``now`` the one in force; ``file`` is its name.
    ``patterns`` are those of the privacy gate, compiled. ``hub`` is the path of the hub's socket.
    """

    number: int
    count: int
    file: str
    first: bytes
    now: bytes
    patterns: bytes | None
    hub: str
    news: News
    room: Room


class SettingsChanged(Message, frozen=True):
    """Another configuration is in force."""

    raw: bytes


class HoldTaken(Message, frozen=True):
    """The money is set aside, durably."""

    seq: int
    hold_id: int
    held_at_ns: int


class HoldRefused(Message, frozen=True):
    """It is not."""

    seq: int
    refusal: HoldRefusal


class ShadowAnswer(Message, frozen=True):
    """Whether the money for a shadow call is set aside."""

    seq: int
    granted: bool


class TellNow(Message, frozen=True):
    """Send the records that are being gathered, and then ``AllTold``."""

    seq: int


class Leave(Message, frozen=True):
    """Stop accepting, finish what runs, and end; said again: end at once.

    ``gently``: somebody else goes on accepting, so that clients are asked to connect anew before their
    connections are closed. All is over ``within_s``.
    """

    gently: bool = False
    within_s: float = 0.0


FromHub = Welcome | News | Room | SettingsChanged | HoldTaken | HoldRefused | ShadowAnswer | TellNow | Leave
