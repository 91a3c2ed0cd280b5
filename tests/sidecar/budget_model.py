"""The plainest account of holds and caps there is, to hold the real one against: all holds, summed anew."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from sidecar.core.budget import Cap
from sidecar.core.periods import Calendar
from sidecar.core.pricing import Price
from sidecar.core.vocabulary import Usage

#: One nano-dollar a token, whichever.
PRICE = Price(1_000_000, 1_000_000, 1_000_000)
DAY_NS = 86_400 * 10**9
#: A Saturday, 25 hours before the clocks of Berlin go forward.
START_NS = 1_743_206_400 * 10**9


def usage(tokens: int) -> Usage:
    """A usage that costs ``tokens`` nano-dollars."""
    return Usage(tokens, 0)


@dataclass
class ModelHold:
    """One hold. ``written`` says that its end is on the disk; until then a crash would post all of it."""

    tier: str
    amount: int
    held_at_ns: int
    open: bool = True
    posted: int = 0
    written: bool = False

    @property
    def worst(self) -> int:
        return self.posted if self.written else self.amount


@dataclass
class BudgetModel:
    """Every hold there ever was, and the caps in force.

    ``left`` are holds whose caller went away before they were granted: they may be on the disk or not.
    """

    now_ns: int = START_NS
    calendar: Calendar = field(default_factory=lambda: Calendar(ZoneInfo("Europe/Berlin"), 31))
    holds: dict[int, ModelHold] = field(default_factory=dict)
    left: list[ModelHold] = field(default_factory=list)
    caps: dict[str, Cap] = field(default_factory=dict)

    def sums(self, cap: Cap) -> tuple[int, int]:
        """What is posted and what is held under ``cap`` in its present period."""
        counted = self._counted(cap, self.holds.values())
        return sum(hold.posted for hold in counted), sum(hold.amount for hold in counted if hold.open)

    def allows(self, tier: str, amount: int) -> bool:
        covering = [cap for cap in self.caps.values() if cap.covers(tier)]
        return all(sum(self.sums(cap)) + amount <= cap.limit_nano_usd for cap in covering)

    def settle(self, hold_id: int, posted: int) -> None:
        hold = self.holds[hold_id]
        hold.open, hold.posted = False, min(posted, hold.amount)

    def write(self) -> None:
        """All that was settled until now is on the disk."""
        self.left.clear()
        for hold in self.holds.values():
            hold.written = not hold.open

    def open_ids(self) -> list[int]:
        return [hold_id for hold_id, hold in self.holds.items() if hold.open]

    def committed(self) -> dict[str, int]:
        """Per cap, what is posted and held."""
        return {name: sum(self.sums(cap)) for name, cap in self.caps.items()}

    def worst_case(self, cap: Cap) -> int:
        """At least what would be posted under ``cap`` if everything ended in a crash this instant."""
        return sum(hold.worst for hold in self._counted(cap, [*self.holds.values(), *self.left]))

    def _counted(self, cap: Cap, holds: Iterable[ModelHold]) -> list[ModelHold]:
        start_ns = self.calendar.period(cap.period, self.now_ns).start_ns
        return [hold for hold in holds if cap.covers(hold.tier) and hold.held_at_ns >= start_ns]
