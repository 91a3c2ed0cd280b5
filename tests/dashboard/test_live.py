"""Open pages follow what happens, without a reload and without cost to the calls."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route, expect

from dashboard import live
from tests.dashboard.conftest import Reader
from tests.dashboard.stage import Stage, csrf_of, give_past, record
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CHAT, CRITICAL, World, chat


@pytest_asyncio.fixture(loop_scope="session")
async def world(
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream], tmp_path: Path
) -> AsyncIterator[World]:
    """A world on the browser's event loop."""
    for upstream in upstream_processes:
        await upstream.reset()
    world = World(*upstream_processes, tmp_path)
    yield world
    await world.aclose()


pytestmark = pytest.mark.asyncio(loop_scope="session")


def call(running: Stage, number: int = 1, **changes: object) -> None:
    """A call that ends now."""
    running.services.log.record(record(number, time.time_ns(), dice=random.Random(), **changes))


async def test_a_call_is_on_the_open_pages_within_a_second(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader, Reader(chromium, fresh) as other:
        await reader.log_in()
        await other.log_in()
        await reader.see("/decisions")
        await expect(reader.page.locator("[data-live-state][data-state=on]")).to_be_visible()
        await expect(other.page.locator("[data-live-state][data-state=on]")).to_be_visible()
        began = time.monotonic()
        call(fresh, app="just-now")
        row = reader.page.get_by_role("cell", name="just-now")
        await row.wait_for(timeout=5_000)
        took = time.monotonic() - began
        await other.page.get_by_role("cell", name="just-now").wait_for(timeout=5_000)
        assert took < 2, "a noisy machine may need longer than the second that is promised"
        assert reader.noticed == other.noticed == []
        pages = [url for url in reader.requested if url.endswith("/dashboard/decisions")]
        assert len(pages) == 1, "the page was not loaded again"


async def test_a_call_over_http_is_on_the_open_page_within_a_second(chromium: Browser, world: World) -> None:
    running = await world.sidecar()
    async with Reader(chromium, running) as reader:  # type: ignore[arg-type]
        await reader.page.goto(running.base + running.server.login_path())
        await reader.see("/decisions")
        await expect(reader.page.locator("[data-live-state][data-state=on]")).to_be_visible()
        headers = {**CRITICAL, "x-sidecar-app": "over-http"}
        assert (await running.http.post(CHAT, json=chat(max_tokens=4), headers=headers)).status_code == 200
        began = time.monotonic()
        await reader.page.get_by_role("cell", name="over-http").wait_for(timeout=10_000)
        took = time.monotonic() - began
    assert took < 2, f"a noisy machine may need longer than the promised second: {took}"


@pytest.mark.parametrize("script", ["htmx.min.js", "hx-sse.min.js", "dashboard.js"])
async def test_a_page_goes_live_whichever_of_its_scripts_comes_late(
    chromium: Browser, fresh: Stage, script: str
) -> None:
    async def late(route: Route) -> None:
        await asyncio.sleep(0.5)
        await route.continue_()

    async with Reader(chromium, fresh) as reader:
        await reader.page.route(f"**/{script}*", late)
        await reader.log_in()
        await expect(reader.page.locator("[data-live-state][data-state=on]")).to_be_visible()


async def test_a_paused_page_stands_still_and_catches_up(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        page = await reader.see("/decisions")
        await expect(page.locator("[data-live-state][data-state=on]")).to_be_visible()
        call(fresh, app="before")
        await page.get_by_role("cell", name="before").wait_for()
        await page.get_by_role("button", name="Pause").click()
        call(fresh, 2, app="meanwhile")
        await fresh.services.log.flush()
        async with events(fresh, "/live/decisions") as stream:
            while "meanwhile" not in await next_event(stream):
                pass
        assert await page.get_by_role("cell", name="meanwhile").count() == 0
        await page.get_by_role("button", name="Resume").click()
        await page.get_by_role("cell", name="meanwhile").wait_for()


async def test_the_state_line_follows_the_rollout(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        await reader.see("/tiers")
        await expect(reader.page.locator("#health")).to_contain_text("Rollout 30 %")
        await fresh.services.set_percent(75, actor="somebody", reason="")
        await expect(reader.page.locator("#health")).to_contain_text("Rollout 75 %")


async def test_charts_take_in_new_calls(chromium: Browser, fresh: Stage) -> None:
    await give_past(fresh.services, calls=60)
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        await expect(reader.page.locator("[data-live-state][data-state=on]")).to_be_visible()
        canvas = reader.page.locator("#chart-calls canvas")
        await expect(canvas).to_be_visible()
        await canvas.evaluate("(canvas) => (window.firstCanvas = canvas)")
        table = reader.page.locator("#chart-calls details")
        await table.locator("summary").click()
        for number in range(11, 20):
            call(fresh, number)
        calls = reader.page.locator(".figures dd").first
        await expect(calls).to_have_text("69")
        last = reader.page.locator("#chart-calls tbody tr").last.locator("td").first
        await expect(last).not_to_have_text("0")
        assert await canvas.evaluate("(canvas) => canvas === window.firstCanvas"), (
            "the chart was kept, not redrawn"
        )
        await expect(table).to_have_attribute("open", "")
        assert reader.noticed == []


async def test_routing_admin_and_audit_agree_after_a_change(chromium: Browser, world: World) -> None:
    """The acceptance: a move in the browser, then the admin API, the next call and the audit log."""
    running = await world.sidecar(
        {
            "rollout": {"percent": 0},
            "budgets": {"caps": [{"name": "openai-day", "tier": "openai", "period": "day", "usd": 5}]},
        }
    )
    before = await running.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert before.headers["x-sidecar-arm"] == "legacy"
    login = running.base + running.server.login_path()
    async with Reader(chromium, running) as reader:  # type: ignore[arg-type]
        await reader.page.goto(login)
        page = await reader.see("/rollout")
        await page.get_by_label("Percent to route, exactly").fill("100")
        await page.get_by_role("button", name="See what changes").click()
        await expect(page.get_by_text("Everything is routed")).to_be_visible()
        await page.get_by_label("Why").fill("ready")
        await page.get_by_role("button", name="Route 100 %").click()
        assert (await running.admin("GET", "/rollout"))["percent"] == 100
        after = await running.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert after.headers["x-sidecar-arm"] == "routed"
        assert after.headers["x-sidecar-tier"] == "openai"

        page = await reader.see("/budgets?edit=openai-day")
        await page.get_by_label("Limit a day").fill("0")
        await page.get_by_role("button", name="Set").click()
        capped = await running.http.post(CHAT, json=chat(), headers=CRITICAL)
        assert capped.headers["x-sidecar-tier"] != "openai"
        await running.sidecar.services.log.flush()
        page = await reader.see(f"/decisions/{capped.headers['x-sidecar-request-id']}")
        await expect(page.locator(".story")).to_contain_text("OpenAI has used up its budget")

        page = await reader.see("/audit")
        rows = page.locator("table.rows tbody tr")
        await expect(rows.nth(0)).to_contain_text("openai-day")
        await expect(rows.nth(1)).to_contain_text("ready")
        entries = (await running.admin("GET", "/audit"))["entries"]
        assert [entry["action"] for entry in entries] == ["budget.set", "rollout.set"]
        assert reader.noticed == []


@asynccontextmanager
async def events(running: Stage, path: str, **headers: str) -> AsyncIterator[AsyncIterator[str]]:
    """The lines of an event stream, read as a browser would."""
    async with running.client() as client, client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield response.aiter_lines()


async def next_event(lines: AsyncIterator[str]) -> str:
    """The next event that carries something, as text."""
    event: list[str] = []
    async with asyncio.timeout(10):
        async for line in lines:
            if line:
                event.append(line)
            elif any(one.startswith("data:") for one in event):
                return "\n".join(event)
            else:
                event = []
    raise AssertionError("the stream ended")


def id_of(event: str) -> str:
    return next(line.removeprefix("id: ") for line in event.splitlines() if line.startswith("id: "))


async def test_a_broken_stream_resumes_with_what_was_missed(fresh: Stage) -> None:
    async with events(fresh, "/live/decisions") as lines, events(fresh, "/live/decisions") as witness:
        event = await next_event(lines)
        await next_event(witness)
        call(fresh, app="missed")
        assert "missed" in await next_event(witness)
        async with events(fresh, "/live/decisions", **{"last-event-id": id_of(event)}) as resumed:
            again = await next_event(resumed)
            assert "missed" in again
            assert "health" not in again, "what did not change is not sent again"
        async with events(fresh, "/live/decisions", **{"last-event-id": "0badc0de-7"}) as stranger:
            assert "health" in await next_event(stranger), "an id of another process gets everything"


async def test_whoever_comes_back_after_everybody_had_left_gets_what_was_missed(fresh: Stage) -> None:
    async with events(fresh, "/live/decisions") as lines:
        event = await next_event(lines)
    await asyncio.gather(*_watchers())
    call(fresh, app="missed")
    await fresh.services.log.flush()
    async with events(fresh, "/live/decisions", **{"last-event-id": id_of(event)}) as lines:
        assert "missed" in await next_event(lines)


async def test_a_call_is_there_within_a_second_with_ten_pages_open(fresh: Stage) -> None:
    others = (
        "overview?window=24h", "overview?window=1h", "overview?window=7d", "decisions?tier=openai",
        "rollout", "budgets", "tiers", "tiers?window=1h", "audit",
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        for path in others:
            await next_event(await stack.enter_async_context(events(fresh, f"/live/{path}")))
        lines = await stack.enter_async_context(events(fresh, "/live/decisions"))
        await next_event(lines)
        took = []
        for number in range(5):
            began = time.monotonic()
            call(fresh, number, app=f"among-ten-{number}")
            while f"among-ten-{number}" not in await next_event(lines):
                pass
            took.append(time.monotonic() - began)
    # A noisy machine may take one of them longer than is promised.
    assert statistics.median(took) < 1.5, took


async def test_streams_are_bounded(fresh: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "STREAMS_MAX", 2)
    async with events(fresh, "/live/audit") as one, events(fresh, "/live/audit") as two:
        await next_event(one)
        await next_event(two)
        async with fresh.client() as client:
            full = await client.get("/live/audit")
        assert full.status_code == 503
        assert full.headers["retry-after"] == "10"


async def test_a_stream_ends_with_its_session(fresh: Stage) -> None:
    async with fresh.client() as client, client.stream("GET", "/live/audit") as response:
        lines = response.aiter_lines()
        await next_event(lines)
        page = await client.get("/audit")
        await client.post("/logout", data={"csrf": csrf_of(page.text)})
        await fresh.services.set_percent(75, actor="somebody", reason="")
        async with asyncio.timeout(10):
            assert not [line async for line in lines if "somebody" in line]


async def test_streams_end_when_the_sidecar_stops(fresh: Stage) -> None:
    async with events(fresh, "/live/audit") as lines:
        await next_event(lines)
        fresh.services.draining = True
        async with asyncio.timeout(10):
            assert not [line async for line in lines if line.startswith("data:")]


async def test_nobody_looks_and_nothing_is_done(fresh: Stage) -> None:
    async with events(fresh, "/live/overview") as lines:
        await next_event(lines)
        assert len(_watchers()) >= 1
    async with asyncio.timeout(10):
        await asyncio.gather(*_watchers())
    assert not _watchers()


def _watchers() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "dashboard-live"]


async def test_unknown_streams_and_strangers_are_turned_away(fresh: Stage) -> None:
    async with fresh.client() as client:
        assert (await client.get("/live/nothing")).status_code == 404
        assert (await client.get("/live/policy")).status_code == 404
    async with httpx.AsyncClient(base_url=fresh.base, trust_env=False) as stranger:
        assert (await stranger.get("/dashboard/live/overview")).status_code == 401


async def test_an_open_page_says_that_its_session_has_ended(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        page = await reader.see("/audit?window=1h")
        await expect(page.locator("[data-live-state][data-state=on]")).to_be_visible()
        other = await reader.context.new_page()
        await other.goto(f"{fresh.base}/dashboard")
        await other.get_by_role("button", name="Log out").click()
        await expect(other.get_by_role("heading", name="Log in")).to_be_visible()
        await fresh.services.set_percent(75, actor="somebody", reason="")
        await page.get_by_role("link", name="Log in again").click()
        await page.get_by_label("Token").fill(fresh.services.admin_token)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_role("heading", name="Audit")).to_be_visible()
        assert page.url.endswith("/dashboard/audit?window=1h")


async def test_more_tabs_than_connections_all_open(chromium: Browser, fresh: Stage) -> None:
    """Browsers open six connections to a host, and a stream takes one: tabs in the background have none."""
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        await reader.context.add_init_script(
            "Object.defineProperty(Document.prototype, 'hidden', {get: () => !window.inFront})"
        )
        tabs = [await reader.context.new_page() for _ in range(7)]
        for tab in tabs:
            await tab.goto(f"{fresh.base}/dashboard/audit")
            await expect(tab.locator("[data-live-state]")).to_have_text("Not live")
        await tabs[-1].evaluate(
            "window.inFront = true; document.dispatchEvent(new Event('visibilitychange'))"
        )
        await expect(tabs[-1].locator("[data-live-state]")).to_have_text("Live")
        await tabs[-1].evaluate(
            "window.inFront = false; document.dispatchEvent(new Event('visibilitychange'))"
        )
        await fresh.services.set_percent(75, actor="meanwhile", reason="")
        await tabs[-1].evaluate(
            "window.inFront = true; document.dispatchEvent(new Event('visibilitychange'))"
        )
        await expect(tabs[-1].get_by_role("cell", name="meanwhile")).to_be_visible()
