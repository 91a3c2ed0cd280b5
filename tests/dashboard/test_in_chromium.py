"""The pages as a person meets them: in a real browser, with a mouse and a keyboard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.dashboard.conftest import Reader
from tests.dashboard.stage import Stage, give_past, stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = ("", "/decisions", "/rollout", "/budgets", "/tiers", "/policy", "/audit")
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
FIRST_LOAD_BYTES_MAX = 300_000
LATER_BYTES_MAX = 30_000


async def a_decision(reader: Reader) -> str:
    """The path of the newest decision."""
    page = await reader.see("/decisions")
    href = await page.locator("table.rows tbody a").first.get_attribute("href")
    assert href is not None
    return href.removeprefix("/dashboard")


async def test_every_page_opens_quietly_and_asks_no_other_host(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        await expect(reader.page.get_by_role("heading", name="Overview")).to_be_visible()
        links = reader.page.get_by_label("Pages").get_by_role("link")
        titles = await links.all_inner_texts()
        assert titles == ["Overview", "Decisions", "Rollout", "Budgets", "Tiers", "Policy", "Audit"]
        for title in titles:
            await reader.page.get_by_label("Pages").get_by_role("link", name=title).click()
            await expect(reader.page.get_by_role("heading", level=1, name=title)).to_be_visible()
            assert await reader.overflow() <= 0
        await reader.page.get_by_label("Pages").get_by_role("link", name="Decisions").click()
        await reader.page.locator("table.rows tbody a").first.click()
        await expect(reader.page.get_by_role("heading", name="What happened")).to_be_visible()
        assert reader.noticed == []
        assert {url for url in reader.requested if not url.startswith(past.base)} == set()


async def test_pages_are_light(chromium: Browser, past: Stage) -> None:
    """What goes over the wire, headers included: everything at first, then what is not in the cache."""
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        first = await _weight(reader)
        assert 50_000 < first <= FIRST_LOAD_BYTES_MAX, "and nothing was in the cache before"
        await reader.see("/budgets")
        later = {}
        for path in (*PAGES, await a_decision(reader), "/rollout?to=75", "/decisions?min_cost_usd=0"):
            await reader.see(path)
            later[path] = await _weight(reader)
    assert {path: size for path, size in later.items() if size > LATER_BYTES_MAX} == {}


async def _weight(reader: Reader) -> int:
    """What the page that is shown has weighed."""
    await reader.page.wait_for_load_state("load")
    return int(
        await reader.page.evaluate(
            "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter((entry) => !entry.name.includes('/live/'))"
            ".reduce((sum, entry) => sum + entry.transferSize, 0)"
        )
    )


#: What axe is to look for: everything, in both themes and at a phone's width.
WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
)
async def test_axe_finds_nothing(chromium: Browser, past: Stage, scheme: str, width: int) -> None:
    options = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    async with Reader(chromium, past, bypass_csp=True, **options) as reader:
        await reader.see("/login")
        found = await _violations(reader)
        await reader.log_in()
        decision = await a_decision(reader)
        forms = ("/rollout?to=75", "/budgets?edit=all-day", "/budgets?add=cap", "/decisions?min_cost_usd=0")
        for path in (*PAGES, decision, *forms, "/nowhere"):
            await reader.see(path)
            assert await reader.overflow() <= 0, path
            found |= {f"{path}: {words}" for words in await _violations(reader)}
    assert found == set()


async def _violations(reader: Reader) -> set[str]:
    await reader.page.evaluate(AXE)
    report = await reader.page.evaluate(
        "(rules) => axe.run({runOnly: rules, resultTypes: ['violations']})", WCAG
    )
    return {
        f"{one['id']} at {node['target']}: {node['failureSummary']}"
        for one in report["violations"]
        for node in one["nodes"]
    }


async def test_charts_are_drawn_and_have_a_table(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        figures = reader.page.locator("figure.chart")
        assert await figures.count() == 4
        for place in range(4):
            await expect(figures.nth(place).locator("canvas")).to_be_visible()
            await figures.nth(place).get_by_text("As a table").click()
            await expect(figures.nth(place).get_by_role("table", name="").last).to_be_visible()


@pytest.mark.parametrize("width", [390, 2560])
async def test_no_page_is_wider_than_its_window(chromium: Browser, past: Stage, width: int) -> None:
    async with Reader(chromium, past, viewport={"width": width, "height": 900}) as reader:
        await reader.log_in()
        for path in (*PAGES, "/tiers?out=openai", "/budgets?remove=all-day"):
            await reader.see(path)
            assert await reader.overflow() <= 0, path


async def test_the_theme_is_kept(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past, color_scheme="light") as reader:
        await reader.log_in()
        await reader.page.get_by_role("button", name="Theme: as the system").click()
        assert (
            await reader.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 19)"
        )
        await reader.see("/audit")
        assert await reader.page.locator("html").get_attribute("data-theme") == "dark"


async def test_times_are_those_of_the_reader(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past, timezone_id="America/New_York") as reader:
        await reader.log_in()
        await expect(reader.page.get_by_text("Times are those of America/New_York")).to_be_visible()
        shown = reader.page.locator("table.rows time").first
        utc = await shown.get_attribute("datetime")
        wanted = await reader.page.evaluate(
            "(utc) => new Date(utc).toLocaleTimeString('en-GB', {timeZone: 'America/New_York'})", utc
        )
        assert wanted in (await shown.inner_text())
        assert "UTC" in (await shown.get_attribute("title") or "")


async def test_without_javascript_everything_can_be_read_and_changed(chromium: Browser, fresh: Stage) -> None:
    await give_past(fresh.services, calls=120)
    async with Reader(chromium, fresh, java_script_enabled=False) as reader:
        await reader.log_in()
        for path in PAGES:
            await reader.see(path)
            await expect(reader.page.get_by_role("heading", level=1)).to_be_visible()
        page = await reader.see("/decisions")
        await page.get_by_label("Tier").select_option("openai")
        await page.get_by_role("button", name="Filter").click()
        tiers = await page.locator("table.rows tbody td:nth-child(2) .tier").all_inner_texts()
        assert tiers
        assert set(tiers) == {"OpenAI"}
        page = await reader.see("/")
        await page.get_by_text("As a table").first.click()
        await expect(page.locator("figure.chart table").first).to_be_visible()
        page = await reader.see("/rollout")
        await page.get_by_role("link", name="75 %").click()
        await page.get_by_role("button", name="Route 75 %").click()
        await expect(page.get_by_role("status")).to_have_text("The rollout went from 30 % to 75 %.")


async def test_a_filter_narrows_and_stays_in_the_address(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        page = await reader.see("/decisions")
        await page.get_by_label("Ending").select_option("upstream_failed")
        await page.get_by_role("button", name="Filter").click()
        assert "outcome=upstream_failed" in page.url
        rows = page.locator("table.rows tbody tr")
        assert await rows.count() == await rows.filter(has_text="failed").count() > 0
        session = (await past.services.search.page(limit=1)).decisions[0].session
        page = await reader.see("/decisions")
        await page.get_by_label("Request or session").fill(session)
        await page.keyboard.press("Enter")
        await expect(rows.first).to_be_visible()
        assert 0 < await rows.count() <= 20
        assert reader.noticed == []


async def test_older_decisions_are_a_page_away(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        page = await reader.see("/decisions")
        first = await page.locator("table.rows tbody tr").first.get_attribute("id")
        await page.get_by_role("link", name="Older").click()
        assert await page.locator("table.rows tbody tr").first.get_attribute("id") != first
        await page.get_by_role("link", name="Newest").click()
        assert await page.locator("table.rows tbody tr").first.get_attribute("id") == first


async def test_two_operators_at_once(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as maria, Reader(chromium, fresh) as jonas:
        await maria.log_in()
        await jonas.log_in()
        await maria.see("/rollout?to=50")
        await jonas.see("/rollout?to=100")
        await maria.page.get_by_label("Why").fill("one step")
        await maria.page.get_by_role("button", name="Route 50 %").click()
        await expect(maria.page.get_by_role("status")).to_contain_text("from 30 % to 50 %")
        await jonas.page.get_by_role("button", name="Route 100 %").click()
        await expect(jonas.page.get_by_role("alert")).to_contain_text("moved the rollout to 50 % (one step)")
        assert fresh.services.rollout.current.percent == 50

        await maria.see("/budgets?edit=all-day")
        await jonas.see("/budgets?edit=all-day")
        await maria.page.get_by_label("Limit a day").fill("25")
        await maria.page.get_by_role("button", name="Set").click()
        await jonas.page.get_by_label("Limit a day").fill("5")
        await jonas.page.get_by_role("button", name="Set").click()
        await expect(jonas.page.get_by_role("alert")).to_contain_text("set the cap all-day to $25.00")
        assert _limits(fresh)["all-day"] == 25_000_000_000


async def test_caps_are_added_changed_and_removed(chromium: Browser, fresh: Stage) -> None:
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        page = await reader.see("/budgets")
        await page.get_by_role("link", name="Add a cap").click()
        await page.get_by_label("Name").fill("trial")
        await page.locator("select[name=tier]").select_option("openai")
        await page.get_by_label("Limit, $").fill("0.5")
        await page.get_by_role("button", name="Add").click()
        await expect(page.get_by_role("status")).to_contain_text("The cap trial is in force")
        assert _limits(fresh)["trial"] == 500_000_000
        await page.get_by_role("link", name="Change trial").click()
        await page.get_by_label("Limit a day").fill("0.75")
        await page.get_by_label("Why").fill("more room")
        await page.get_by_role("button", name="Set").click()
        assert _limits(fresh)["trial"] == 750_000_000
        await page.get_by_role("link", name="Remove trial").click()
        await page.get_by_role("button", name="Remove").click()
        assert "trial" not in _limits(fresh)
        page = await reader.see("/audit")
        did = await page.locator("table.rows tbody td:nth-child(3)").all_inner_texts()
        assert did == ["removed a cap", "changed a cap", "added a cap"]
        await expect(page.get_by_role("row").filter(has_text="more room")).to_contain_text("0.50")
        assert reader.noticed == []


def _limits(running: Stage) -> Mapping[str, int]:
    return {status.cap.name: status.cap.limit_nano_usd for status in running.services.ledger.caps()}


async def test_try_a_call_without_sending_it(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        page = await reader.see("/policy")
        await page.get_by_label("Prompt").fill("Why is the sky blue?")
        await page.get_by_label("Data classification").select_option("public")
        await page.get_by_label("Quality").select_option("critical")
        await page.get_by_role("button", name="Decide").click()
        tried = page.locator("#tried")
        await expect(tried).to_contain_text("“critical quality” applied")
        await expect(tried.get_by_role("row").filter(has_text="OpenAI")).to_contain_text("$0.0")
        assert await past.services.search.get("trial") is None
        await page.get_by_label("Data classification").select_option("hipaa")
        await page.get_by_role("button", name="Decide").click()
        await expect(tried).to_contain_text("had to stay on this machine")
        assert page.url.endswith("/policy")
        assert reader.noticed == []


async def test_a_new_operator_is_shown_where_to_begin(chromium: Browser, tmp_path: Path) -> None:
    keyless = {
        "tiers": {
            "local_ollama": {
                "provider": "ollama",
                "base_url": "http://127.0.0.1:9",
                "off_box": False,
                "models": {"default": "llama3.2"},
            },
            "openai": {
                "provider": "openai",
                "base_url": "http://127.0.0.1:9/v1",
                "off_box": True,
                "price": {"usd_per_1k_tokens": "0.015"},
                "models": {"default": "gpt-4o"},
            },
        },
        "routing": {},
        "budgets": {},
    }
    async with stage(tmp_path, keyless) as running, Reader(chromium, running) as reader:
        await reader.log_in()
        await expect(reader.page.get_by_text("No calls yet.")).to_be_visible()
        await expect(reader.page.locator("pre").first).to_contain_text(f"{running.base}/v1")
        await expect(reader.page.get_by_text("OpenAI has no API key yet")).to_be_visible()
        for path in PAGES:
            await reader.see(path)
            assert await reader.overflow() <= 0
        assert reader.noticed == []


#: Whatever can be clicked, typed into or scrolled, and is shown.
REACHABLE = """[...document.querySelectorAll(
    "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
)].filter((one) => !one.disabled && one.checkVisibility({visibilityProperty: true}))"""


async def test_the_keyboard_reaches_everything_on_every_page(chromium: Browser, past: Stage) -> None:
    async with Reader(chromium, past) as reader:
        await reader.log_in()
        decision = await a_decision(reader)
        forms = ("/rollout?to=75", "/budgets?edit=all-day", "/budgets?add=cap", "/tiers?out=openai")
        for path in (*PAGES, decision, *forms):
            page = await reader.see(path)
            # A form that is open has the focus already.
            if path not in forms:
                await page.keyboard.press("Tab")
                await expect(page.locator(":focus")).to_have_text("Skip to content")
            expected = await page.evaluate(f"(window.all = {REACHABLE}).length")
            await page.evaluate(
                "window.reached = new Set([document.activeElement]);"
                "document.addEventListener('focusin', (event) => reached.add(event.target))"
            )
            for _ in range(expected + 5):
                await page.keyboard.press("Tab")
            missed = await page.evaluate(
                "all.filter((one) => one.isConnected && !reached.has(one)).map((one) => one.outerHTML)"
            )
            assert missed == [], path


async def test_a_lone_value_is_drawn_as_a_point(chromium: Browser, fresh: Stage) -> None:
    await give_past(fresh.services, calls=1)
    async with Reader(chromium, fresh) as reader:
        await reader.log_in()
        canvas = reader.page.locator("#chart-latency canvas")
        await expect(canvas).to_be_visible()
        rows = reader.page.locator("#chart-latency tbody td:first-of-type[data-v]")
        assert await rows.count() == 1
        coloured = await canvas.evaluate(
            """(canvas) => {
              const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
              let found = 0;
              for (let at = 0; at < data.length; at += 4) {
                const rgb = data.slice(at, at + 3);
                const spread = Math.max(...rgb) - Math.min(...rgb);
                if (data[at + 3] > 200 && spread > 80) found += 1;
              }
              return found;
            }"""
        )
        assert coloured > 20
