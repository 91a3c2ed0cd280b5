"""The rollout page: what an operator reads on it, and its levers."""

from __future__ import annotations

import html
import re

import httpx
import msgspec
import pytest
from playwright.async_api import Browser, expect

from dashboard.arm_rows import figure_rows, task_rows
from dashboard.rollout_words import STATES, change_rows, levers, next_steps
from sidecar.core.arms import ArmSums, Measured, compare
from sidecar.core.call_class import CallClass
from sidecar.core.rollout import bucket
from sidecar.core.rollout_states import RULES, Phase
from sidecar.core.sequential import Interval
from sidecar.core.vocabulary import Arm
from sidecar.rollout_view import RolloutView, ScheduleView, SplitView
from sidecar.storage.arm_comparison import Comparison
from sidecar.storage.rollout_store import RolloutChange
from tests.dashboard.conftest import Reader
from tests.dashboard.stage import Stage, csrf_of, give_past

HOUR_NS = 3_600 * 10**9


def view(phase: Phase, **schedule: object) -> RolloutView:
    """A rollout at 30 % in that state."""
    plan = ScheduleView(True, 7_200.0, 3_600.0, 200, [], ["40 more calls"], True, 0)
    plan = msgspec.structs.replace(plan, **schedule)
    return RolloutView(
        percent=30.0,
        version=3,
        stages=[10.0, 30.0, 50.0],
        state=phase.value,
        since_ns=0,
        actor="schedule",
        reason="",
        previous_stage=10.0,
        next_stage=50.0,
        on_breach="previous",
        gates=[],
        evidence={},
        evidence_since_ns=0,
        split=SplitView(0, 0.3, None, ""),
        schedule=plan,
        history=[],
    )


@pytest.mark.parametrize("phase", Phase)
def test_every_state_has_words_and_the_levers_that_the_table_allows(phase: Phase) -> None:
    assert STATES[phase]
    assert next_steps(view(phase), 0)
    found = levers(view(phase))
    assert found.back_to == 10
    assert found.pause is (phase in (Phase.HOLDING, Phase.BAKING, Phase.READY))
    assert found.resume is (phase in (Phase.PAUSED, Phase.ROLLED_BACK))


def test_what_it_waits_for() -> None:
    assert next_steps(view(Phase.BAKING), 0)[:2] == (
        "On the way to 50 %: 1 h of 2 h are baked.",
        "It still lacks 40 more calls.",
    )
    ready = view(Phase.READY, lacking=[], opens_at_ns=3 * HOUR_NS)
    assert next_steps(ready, HOUR_NS)[0] == (
        "It has all it needs for 50 %, and moves in 2 h, when a window opens."
    )
    assert "at once" in next_steps(ready, 3 * HOUR_NS)[0]
    assert "no window" in next_steps(view(Phase.READY, opens_at_ns=None), 0)[0]
    assert next_steps(view(Phase.HOLDING, enabled=False), 0) == (
        "No schedule: it moves by hand only, or back when a gate breaches. The next stage is 50 %.",
        "A breached gate takes it back to 10 % by itself.",
    )
    zero = msgspec.structs.replace(view(Phase.PAUSED), on_breach="zero")
    assert next_steps(zero, 0)[-1] == "A breached gate takes it back to 0 % by itself."


@pytest.mark.parametrize("event", ["", *RULES])
def test_every_event_of_the_history_has_words(event: str) -> None:
    change = RolloutChange(1, 0, "x", 10.0, 30.0, "", event, "holding")
    (row,) = change_rows([change])
    assert row.what
    assert "_" not in row.what


def test_figures_are_written_in_their_units_with_their_bounds() -> None:
    sure = Measured(500, Interval(90.0, 100.0, 120.0))
    open_ended = Measured(500, Interval(900.0, 1_000.0, float("inf")))
    legacy = ArmSums(calls=500, proving=500, failed=5, p50=sure, p95=sure, tokens=500)
    routed = ArmSums(calls=500, proving=500, failed=200, p50=sure, p95=open_ended, tokens=1_000, cost_usd=1)
    comparison = Comparison("", 500, 500, compare(legacy, routed))
    rows = {row.name: row for row in figure_rows(comparison)}
    assert (rows["Errors"].level, rows["Errors"].verdict) == ("error", "worse")
    assert rows["Half answered within"].legacy.bounds == "90 ms to 120 ms"
    assert rows["95 % answered within"].routed.bounds == "900 ms or more"
    assert rows["Tokens per call"].routed.value == "2"
    assert rows["Rated, 0 to 1"].routed.value == "–"
    task = msgspec.structs.replace(comparison, task_type="code_generation")
    (row,) = task_rows((comparison, task))
    assert row.task_type == "code generation"
    assert row.verdicts == (
        ("error", "worse"),
        ("error", "worse"),
        ("plain", "too few"),
        ("plain", "too few"),
    )


def text_of(page: httpx.Response) -> str:
    """What can be read."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))


on_the_sessions_loop = pytest.mark.asyncio(loop_scope="session")


@on_the_sessions_loop
async def test_the_levers_do_what_they_say_once(fresh: Stage) -> None:
    async with fresh.client() as client:
        page = await client.get("/rollout")
        sent = {"csrf": csrf_of(page.text), "version": "1", "percent": "30"}
        assert "Roll back to 10 %" in text_of(page)
        assert (await client.post("/rollout/pause", data=sent)).status_code == 303
        assert (await client.post("/rollout/pause", data=sent)).status_code == 409
        assert "paused" in text_of(await client.get("/rollout"))
        assert (await client.post("/rollout/rollback", data=sent)).status_code == 303
        twice = await client.post("/rollout/rollback", data=sent)
        assert twice.status_code == 409
        assert "Meanwhile the rollout is at 10 %" in text_of(twice)
        back = text_of(await client.get("/rollout"))
        assert "rolled back" in back
        assert "Nothing moves until an operator resumes" in back
        assert (await client.post("/rollout/resume", data={**sent, "version": "3"})).status_code == 303
        state = fresh.services.rollout.current
        assert (state.phase, state.percent) == (Phase.HOLDING, 10)


@on_the_sessions_loop
async def test_a_breach_shows_on_an_open_page_by_itself(chromium: Browser, fresh: Stage) -> None:
    await give_past(fresh.services, calls=60)
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        page = await reader.see("/rollout")
        await expect(page.locator("#rollout-now .badge").first).to_have_text("holding")
        desk = fresh.services.rollout_desk
        evidence = desk.standing().progress.evidence
        for number in range(220):
            evidence.count(Arm.ROUTED, bucket("s", str(number)) % 3_000, CallClass.FAILED, 20.0)
        await expect(page.locator("#rollout-now .badge").first).to_have_text("rolled back")
        await expect(page.locator("#rollout-now")).to_contain_text("of 220 calls failed; the limit is 5 %")
        await expect(page.locator("#rollout-history tbody tr").first).to_contain_text("went back by itself")
        await expect(page.locator(".health")).to_contain_text("went back to 10 % by itself")
        await reader.see("/rollout")
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("status")).to_contain_text("The rollout goes on at 10 %")
        assert reader.noticed == []
