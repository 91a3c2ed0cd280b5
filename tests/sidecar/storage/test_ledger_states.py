"""Any interleaving of holds, settlements, caps, days and crashes keeps every cap, on the real file too."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sidecar.core.budget import Cap, Hold
from sidecar.core.periods import SLOT_S, PeriodKind
from sidecar.core.settlement import Settlement
from sidecar.storage.budget_ledger import BudgetLedger, LedgerLimits
from tests.sidecar.budget_model import DAY_NS, BudgetModel, ModelHold
from tests.sidecar.storage.ledger_rig import (
    RELEASED,
    RESET_DAY,
    UNKNOWN,
    ZONE,
    Clock,
    reported,
    request,
    rows,
)

TIERS = ("openai", "ollama_cloud")
NAMES = ("a", "b", "c")
HOUR_NS = DAY_NS // 24
TTL_S = 10 * 86_400.0
SEED = Cap("a", "*", PeriodKind.DAY, 150)

tiers = st.sampled_from(TIERS)
amounts = st.integers(0, 60)
caps = st.builds(
    Cap,
    st.sampled_from(NAMES),
    st.sampled_from([*TIERS, "*"]),
    st.sampled_from(PeriodKind),
    st.integers(0, 200),
)


#: What a crash leaves behind is not the same each time, so nothing that is drawn may depend on it.
picks = st.integers(0, 99)
T = TypeVar("T")


def one_of(things: Sequence[T], pick: int) -> T:
    return things[pick % len(things)]


class LedgerMachine(RuleBasedStateMachine):
    """The ledger on its file and the plainest account, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "ledger.sqlite"
        self.clock = Clock()
        self.model = BudgetModel(caps={SEED.name: SEED})
        self.taken: dict[int, Hold] = {}
        #: Per cap that was put below what was committed: how far above it that may be, after a crash too.
        self.excused: dict[str, int] = {}
        self.ledger = self.open()

    def open(self) -> BudgetLedger:
        opening = BudgetLedger.open(
            self.path, [SEED], ZONE, RESET_DAY, self.clock, limits=LedgerLimits(hold_ttl_s=TTL_S)
        )
        return self.runner.run(opening)

    def teardown(self) -> None:
        self.runner.run(self.ledger.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    @initialize(cap=caps)
    def start_with_a_cap(self, cap: Cap) -> None:
        self.put_cap(cap)

    @rule(wanted=st.lists(st.tuples(tiers, amounts), min_size=1, max_size=6))
    def hold_at_once(self, wanted: list[tuple[str, int]]) -> None:
        async def hold_all() -> list[object]:
            return await asyncio.gather(*(self.ledger.hold(request(amount, tier)) for tier, amount in wanted))

        for (tier, amount), answer in zip(wanted, self.runner.run(hold_all()), strict=True):
            assert isinstance(answer, Hold) is self.model.allows(tier, amount), answer
            if isinstance(answer, Hold):
                self.taken[answer.id] = answer
                self.model.holds[answer.id] = ModelHold(tier, amount, self.model.now_ns)
                self.model.write()
                for cap in self.model.caps.values():
                    if cap.covers(tier):
                        assert self.model.worst_case(cap) <= cap.limit_nano_usd
                        self.excused[cap.name] = 0

    @rule(tier=tiers, amount=amounts, ticks=st.integers(0, 4))
    def leave_while_waiting(self, tier: str, amount: int, ticks: int) -> None:
        async def leave() -> None:
            waiting = asyncio.create_task(self.ledger.hold(request(amount, tier)))
            for _ in range(ticks):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled() or not isinstance(waiting.result(), Hold)

        allowed = self.model.allows(tier, amount)
        self.runner.run(leave())
        if allowed:
            self.model.left.append(ModelHold(tier, amount, self.model.now_ns))

    @rule(pick=picks, settlement=st.sampled_from([RELEASED, UNKNOWN]) | st.integers(1, 70).map(reported))
    def settle(self, pick: int, settlement: Settlement) -> None:
        if not self.taken:
            return
        hold = self.taken[one_of(sorted(self.taken), pick)]
        amount, was_open = hold.request.amount_nano_usd, self.model.holds[hold.id].open
        posted = 0 if settlement is RELEASED else amount
        if settlement.usage is not None:
            posted = min(settlement.usage.input_tokens, amount)
        assert self.call(self.ledger.settle, hold, settlement) == (posted if was_open else 0)
        if was_open:
            self.model.settle(hold.id, posted)

    def call(self, function: Callable[..., int], *arguments: object) -> int:
        async def call() -> int:
            return function(*arguments)

        return self.runner.run(call())

    @rule()
    def flush(self) -> None:
        self.runner.run(self.ledger.flush())
        self.model.write()

    @rule(minutes=st.integers(0, 40 * 24 * 60))
    def time_passes(self, minutes: int) -> None:
        self.clock.now_ns += minutes * 60 * 10**9
        self.model.now_ns = max(self.model.now_ns, self.clock.now_ns)
        self.expire()

    def expire(self) -> None:
        late = [
            hold_id
            for hold_id in self.model.open_ids()
            if self.model.holds[hold_id].held_at_ns < self.clock.now_ns - TTL_S * 10**9
        ]
        before = self.ledger.counters.expired
        self.call(self.ledger.expire)
        # The ledger's own upkeep may have been there first.
        assert self.ledger.counters.expired - before == len(late)
        for hold_id in late:
            self.model.settle(hold_id, self.model.holds[hold_id].amount)

    @rule(hours=st.integers(1, 100))
    def the_clock_is_set_back(self, hours: int) -> None:
        self.clock.now_ns -= hours * HOUR_NS

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        self.flush()
        unreconciled = self.runner.run(self.ledger.unreconciled())
        if unreconciled:
            hold = one_of(unreconciled, pick)
            assert self.runner.run(self.ledger.release(hold.id))
            self.model.holds[hold.id].posted = 0

    @rule(cap=caps)
    def put_cap(self, cap: Cap) -> None:
        if cap.name not in self.model.caps:
            self.runner.run(self.ledger.add_cap(cap))
        else:
            cap = Cap(cap.name, *self.same_place(cap.name), cap.limit_nano_usd)
            text = f"{cap.limit_nano_usd / 10**9:.9f}"
            self.runner.run(self.ledger.set_cap(cap.name, text))
        self.model.caps[cap.name] = cap
        self.excused[cap.name] = self.model.worst_case(cap)

    def same_place(self, name: str) -> tuple[str, PeriodKind]:
        return self.model.caps[name].tier, self.model.caps[name].period

    @rule(pick=picks)
    def remove_cap(self, pick: int) -> None:
        if self.model.caps:
            name = one_of(sorted(self.model.caps), pick)
            self.runner.run(self.ledger.remove_cap(name))
            del self.model.caps[name]

    @rule()
    def restart(self) -> None:
        self.runner.run(self.ledger.close())
        self.model.write()
        self.start_again()

    @rule()
    def crash(self) -> None:
        # What the disk holds this instant is what a crash leaves behind.
        after = self.folder / f"{len(list(self.folder.iterdir()))}.sqlite"
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.path}{suffix}", f"{after}{suffix}")
        self.runner.run(self.ledger.close())
        self.path = after
        self.start_again()

    def start_again(self) -> None:
        self.ledger = self.open()
        found = rows(self.path, "SELECT id, tier, amount, held_at_ns, state, posted FROM ledger_holds")
        for hold_id, tier, amount, held_at_ns, state, posted in found:
            assert state != "open"
            if hold_id in self.model.holds:
                assert posted in {self.model.holds[hold_id].posted, self.model.holds[hold_id].worst}
            elif state == "unknown":
                self.model.left.remove(ModelHold(tier, amount, held_at_ns))
                self.model.holds[hold_id] = ModelHold(tier, amount, held_at_ns)
            if hold_id in self.model.holds:
                self.model.settle(hold_id, posted)
        assert {row[0] for row in found} >= self.model.holds.keys()
        self.model.write()
        ((newest,),) = rows(self.path, "SELECT ifnull(max(slot), 0) FROM ledger_spend")
        self.model.now_ns = max(self.clock.now_ns, newest * SLOT_S * 10**9)

    @invariant()
    def every_cap_holds(self) -> None:
        statuses = self.ledger.caps()
        assert {status.cap.name: status.cap for status in statuses} == self.model.caps
        for status in statuses:
            posted, held = self.model.sums(status.cap)
            assert (status.posted_nano_usd, status.held_nano_usd) == (posted, held)
            assert posted + held <= max(status.cap.limit_nano_usd, self.excused.get(status.cap.name, 0))
        assert self.ledger.open_holds == len(self.model.open_ids())


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
