"""Decides which holds the caps allow: the account sheet that is true at every instant.

For every cap, ``posted + held <= limit``: a hold is taken under all caps that apply to its tier, or not at
all. The one exception is a limit that was lowered below what was committed; then nothing new is held.

Sums are kept per tier and kind of period, and a cap is only a limit on them. So caps come, go and change
without a sum to move, and spend is counted whether or not a cap watches it. A hold posts to the period in
which it was taken: when it is settled after midnight, the new day does not see it.

Time goes forward only: a clock that is set back does not bring a past period back, nor reset a sum.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from sidecar.core.periods import Calendar, Period, PeriodKind
from sidecar.core.pricing import NANO_USD_MAX, Price, usd_text
from sidecar.core.spend_rate import RecentSpend, runs_out_at
from sidecar.core.vocabulary import Arm

#: The ``tier`` of a cap that applies to all tiers together.
ALL_TIERS = "*"

_CAP_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: A level of 10,000 is the whole cap: levels are whole hundredths of a percent.
FULL = 10_000


class Cap(msgspec.Struct, frozen=True):
    """A limit in nano-dollars on what one tier, or all (``*``), may cost in a period.

    The name stands in addresses and alert keys: letters, digits, dots, hyphens, underscores, at most 64.
    Raises ``ValueError`` when it does not, or when the limit is none.
    """

    name: str
    tier: str
    period: PeriodKind
    limit_nano_usd: int

    def __post_init__(self) -> None:
        if not _CAP_NAME.fullmatch(self.name):
            raise ValueError(
                f"a cap's name is letters, digits, '.', '-' and '_', at most 64, not {self.name!r}"
            )
        if not 0 <= self.limit_nano_usd <= NANO_USD_MAX:
            raise ValueError(f"a cap's limit is 0 to 1000000000 dollars, not {usd_text(self.limit_nano_usd)}")

    def covers(self, tier: str) -> bool:
        return self.tier in (tier, ALL_TIERS)


class HoldRequest(msgspec.Struct, frozen=True):
    """One attempt that wants money: whose it is, the most it can cost, and the price it is settled at."""

    request_id: str
    attempt: int
    tier: str
    model: str
    arm: Arm
    app: str
    amount_nano_usd: int
    price: Price


class Hold(msgspec.Struct, frozen=True):
    """Money set aside for one attempt, from ``held_at_ns`` (Unix nanoseconds) until it is settled."""

    id: int
    request: HoldRequest
    held_at_ns: int


class RefusalReason(StrEnum):
    """Why no money is set aside; also the reason code for a tier that was passed over."""

    EXHAUSTED = "budget_exhausted"
    UNAVAILABLE = "budget_unavailable"


class HoldRefusal(msgspec.Struct, frozen=True):
    """No hold was taken. ``cap`` names the cap that was in the way, if one was; ``detail`` is for people."""

    reason: RefusalReason
    detail: str
    cap: str = ""


class CapStatus(msgspec.Struct, frozen=True):
    """Where a cap stands. Money in nano-dollars; ``runs_out_at_ns`` at the recent rate, or None."""

    cap: Cap
    period: Period
    posted_nano_usd: int
    held_nano_usd: int
    runs_out_at_ns: int | None

    @property
    def remaining_nano_usd(self) -> int:
        return max(0, self.cap.limit_nano_usd - self.posted_nano_usd - self.held_nano_usd)


class LevelCrossed(msgspec.Struct, frozen=True):
    """A cap reached an alert level: once per period, level and limit. ``level`` counts to ``FULL``."""

    cap: Cap
    period: Period
    level: int
    posted_nano_usd: int

    @property
    def key(self) -> str:
        """What makes it the same alert, also after a restart."""
        cap = self.cap
        return f"{cap.name}/{cap.period}/{self.period.start_ns}/{self.level}/{cap.limit_nano_usd}"


class _Sum:
    """What one tier has posted and holds in the current period of one kind."""

    __slots__ = ("held", "posted")

    def __init__(self, posted: int = 0) -> None:
        self.posted = posted
        self.held = 0


class AccountSheet:
    """All that is needed to allow or refuse a hold at once: sums, open holds, caps.

    Its size is that of the open holds and the tiers; settled holds leave nothing behind but their sum.
    """

    def __init__(
        self,
        calendar: Calendar,
        now_ns: int,
        *,
        alert_levels: Sequence[int] = (),
        alerted: Iterable[str] = (),
        last_id: int = 0,
    ) -> None:
        """``alerted`` are the keys of levels already told of; ``last_id`` is the highest hold id in use."""
        self._calendar = calendar
        self._now_ns = now_ns
        self._periods = {kind: calendar.period(kind, now_ns) for kind in PeriodKind}
        self._sums: dict[str, dict[PeriodKind, _Sum]] = {}
        self._recent: dict[str, RecentSpend] = {}
        self._open: dict[int, Hold] = {}
        self._last_id = last_id
        self._levels = tuple(sorted(alert_levels))
        self._alerted = set(alerted)
        self._crossed: list[LevelCrossed] = []
        self._caps: dict[str, Cap] = {}

    def load(self, kind: PeriodKind, posted: Mapping[str, int]) -> None:
        """Start with what each tier has posted in the current period of ``kind``; before any hold."""
        for tier, nano_usd in posted.items():
            self._sums_of(tier)[kind].posted = nano_usd

    def load_recent(self, tier: str, nano_usd: int, at_ns: int) -> None:
        """Let the forecast know what ``tier`` spent at ``at_ns``, oldest first."""
        self._recent.setdefault(tier, RecentSpend()).add(nano_usd, at_ns)

    def take(self, request: HoldRequest, now_ns: int) -> Hold | HoldRefusal:
        """Set the amount aside under every cap that covers the tier, or say which cap is in the way."""
        now_ns = self._roll(now_ns)
        amount = request.amount_nano_usd
        if not 0 <= amount <= NANO_USD_MAX:
            return HoldRefusal(RefusalReason.EXHAUSTED, f"${usd_text(amount)} is no amount for a call")
        for cap in self._caps.values():
            if cap.covers(request.tier) and amount > self._room(cap):
                self._note_refusal(cap, amount)
                return HoldRefusal(
                    RefusalReason.EXHAUSTED,
                    f"{cap.name} has ${usd_text(max(0, self._room(cap)))} left of "
                    f"${usd_text(cap.limit_nano_usd)} for this {cap.period}, "
                    f"the call may cost ${usd_text(amount)}",
                    cap.name,
                )
        self._last_id += 1
        hold = Hold(self._last_id, request, now_ns)
        self._open[hold.id] = hold
        for total in self._sums_of(request.tier).values():
            total.held += amount
        return hold

    def post(self, hold: Hold, nano_usd: int, now_ns: int) -> bool:
        """End a hold and post ``nano_usd`` of it, at most its amount; False when it had ended before."""
        now_ns = self._roll(now_ns)
        if self._open.pop(hold.id, None) is None:
            return False
        request = hold.request
        assert 0 <= nano_usd <= request.amount_nano_usd, "a hold posts at most itself"
        for total in self._sums_since(request.tier, hold.held_at_ns):
            total.held -= request.amount_nano_usd
            total.posted += nano_usd
        if nano_usd:
            self._recent.setdefault(request.tier, RecentSpend()).add(nano_usd, now_ns)
            self._check_levels(request.tier)
        return True

    def refund(self, tier: str, nano_usd: int, held_at_ns: int, now_ns: int) -> None:
        """Take back what an ended hold posted: the bill said that it was not billed after all."""
        self._roll(now_ns)
        for total in self._sums_since(tier, held_at_ns):
            total.posted -= nano_usd

    def remaining(self, tier: str, now_ns: int) -> tuple[int | None, str]:
        """What the tightest cap leaves for ``tier`` in nano-dollars, and its name; None when uncapped."""
        self._roll(now_ns)
        tightest: tuple[int | None, str] = (None, "")
        for cap in self._caps.values():
            if cap.covers(tier):
                room = max(0, self._room(cap))
                if tightest[0] is None or room < tightest[0]:
                    tightest = (room, cap.name)
        return tightest

    def posted(self, kind: PeriodKind, now_ns: int, tier: str = ALL_TIERS) -> int:
        """What ``tier``, or all tiers, posted in the current period of ``kind``, in nano-dollars."""
        self._roll(now_ns)
        return self._total(tier, kind, lambda total: total.posted)

    def status(self, now_ns: int) -> list[CapStatus]:
        """Where every cap stands, in the order they were added."""
        now_ns = self._roll(now_ns)
        return [self._status(cap, now_ns) for cap in self._caps.values()]

    def put_cap(self, cap: Cap) -> None:
        """Add a cap, or give one a new limit; it counts from the next hold on."""
        self._caps[cap.name] = cap
        self._check_levels(cap.tier)

    def drop_cap(self, name: str) -> None:
        """Remove a cap; what it watched is counted on."""
        self._caps.pop(name, None)

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open_holds(self) -> list[Hold]:
        """The holds that have not ended, oldest first."""
        return list(self._open.values())

    def take_crossed(self) -> list[LevelCrossed]:
        """The alert levels that were crossed since this was last asked."""
        crossed, self._crossed = self._crossed, []
        return crossed

    def _roll(self, now_ns: int) -> int:
        """Move to ``now_ns``, into new periods where the old ones are over; the time to go by."""
        if now_ns <= self._now_ns:
            return self._now_ns
        self._now_ns = now_ns
        for kind, period in self._periods.items():
            if period.end_ns is not None and now_ns >= period.end_ns:
                self._periods[kind] = self._calendar.period(kind, now_ns)
                for sums in self._sums.values():
                    sums[kind] = _Sum()
                self._alerted = {key for key in self._alerted if f"/{kind}/" not in key}
        return now_ns

    def _sums_of(self, tier: str) -> dict[PeriodKind, _Sum]:
        if tier not in self._sums:
            self._sums[tier] = {kind: _Sum() for kind in PeriodKind}
        return self._sums[tier]

    def _sums_since(self, tier: str, held_at_ns: int) -> list[_Sum]:
        """The sums of ``tier`` whose current period saw the hold that was taken at ``held_at_ns``."""
        sums = self._sums_of(tier)
        return [sums[kind] for kind, period in self._periods.items() if held_at_ns >= period.start_ns]

    def _total(self, tier: str, kind: PeriodKind, of: Callable[[_Sum], int]) -> int:
        if tier != ALL_TIERS:
            return of(self._sums[tier][kind]) if tier in self._sums else 0
        return sum(of(sums[kind]) for sums in self._sums.values())

    def _room(self, cap: Cap) -> int:
        return cap.limit_nano_usd - self._total(cap.tier, cap.period, lambda total: total.posted + total.held)

    def _status(self, cap: Cap, now_ns: int) -> CapStatus:
        posted = self._total(cap.tier, cap.period, lambda total: total.posted)
        recent = [spend for tier, spend in self._recent.items() if cap.covers(tier)]
        period = self._periods[cap.period]
        return CapStatus(
            cap=cap,
            period=period,
            posted_nano_usd=posted,
            held_nano_usd=self._total(cap.tier, cap.period, lambda total: total.held),
            runs_out_at_ns=runs_out_at(cap.limit_nano_usd - posted, recent, now_ns, period.end_ns),
        )

    def _check_levels(self, tier: str) -> None:
        for cap in self._caps.values():
            if tier == ALL_TIERS or cap.covers(tier):
                posted = self._total(cap.tier, cap.period, lambda total: total.posted)
                for level in self._levels:
                    if posted * FULL >= cap.limit_nano_usd * level:
                        self._cross(cap, level, posted)

    def _note_refusal(self, cap: Cap, amount: int) -> None:
        """Tell that a cap is used up.

        Spend seldom meets a cap to the nano-dollar: the last calls no longer fit. So the cap counts as
        used up when a call is turned away for what has been posted, above the level before the last.
        A single call that asks for too much turns no alert on.
        """
        if FULL not in self._levels:
            return
        posted = self._total(cap.tier, cap.period, lambda total: total.posted)
        before = max((level for level in self._levels if level < FULL), default=0)
        if posted + amount > cap.limit_nano_usd and posted * FULL >= cap.limit_nano_usd * before:
            self._cross(cap, FULL, posted)

    def _cross(self, cap: Cap, level: int, posted: int) -> None:
        # A limit of nothing is how a tier is switched off: there is no level to reach.
        crossed = LevelCrossed(cap, self._periods[cap.period], level, posted)
        if cap.limit_nano_usd > 0 and crossed.key not in self._alerted:
            self._alerted.add(crossed.key)
            self._crossed.append(crossed)
