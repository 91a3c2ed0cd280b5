"""Takes a picture of every page of the dashboard: light and dark, on a desk and on a phone.

::

    python -m benchmarks.screenshots /tmp/pictures
    python -m benchmarks.screenshots /tmp/pictures --docs docs/images

A sidecar with a made-up day behind it is opened in Chromium. Look at the pictures: what a test cannot tell is
whether a page reads well. ``--docs`` also takes those that the README shows.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Final, Literal

from playwright.async_api import Browser, async_playwright

from tests.dashboard.conftest import ARGUMENTS, CHROMIUM, Reader
from tests.dashboard.stage import Stage, give_past, spend, stage

PAGES: Final = {
    "overview": "",
    "decisions": "/decisions",
    "decision": "{decision}",
    "rollout": "/rollout",
    "rollout-confirm": "/rollout?to=75",
    "budgets": "/budgets",
    "budgets-edit": "/budgets?edit=all-day",
    "tiers": "/tiers",
    "policy": "/policy",
    "audit": "/audit",
}
SIZES: Final = {1280: 900, 390: 844}
#: File name, page and theme of the pictures in the README.
IN_THE_README: Final = (
    ("overview", "", "light"),
    ("decision", "{decision}", "light"),
    ("budgets", "/budgets?edit=all-day", "dark"),
)

Theme = Literal["light", "dark"]


async def make_a_past(running: Stage) -> str:
    """Calls, spend, moves; returns the path of a decision that fell back, which tells most."""
    await give_past(running.services)
    await spend(running.services, "openai", 1_500_000_000, "never-answered", unknown=True)
    await running.services.ledger.flush()
    await running.services.set_percent(50, actor="Maria (dashboard)", reason="errors are low")
    await running.services.rollout_desk.pause(actor="Maria (dashboard)", reason="lunch")
    await running.services.rollout_desk.resume(actor="Maria (dashboard)", reason="back again")
    newest = (await running.services.search.page(limit=500)).decisions
    chosen = next((one for one in newest if one.fallback), newest[0])
    return f"/decisions/{chosen.request_id}"


async def pictures(browser: Browser, running: Stage, decision: str, into: Path) -> None:
    """Every page in every theme and width."""
    themes: tuple[Theme, ...] = ("light", "dark")
    for theme in themes:
        for width, height in SIZES.items():
            async with Reader(
                browser, running, color_scheme=theme, viewport={"width": width, "height": height}
            ) as reader:
                await reader.log_in()
                for name, path in PAGES.items():
                    await reader.see(path.format(decision=decision))
                    await reader.page.wait_for_timeout(300)
                    await reader.page.screenshot(path=into / f"{name}-{theme}-{width}.png", full_page=True)


async def readme(browser: Browser, running: Stage, decision: str, into: Path) -> None:
    """The pictures in the README."""
    for name, path, theme in IN_THE_README:
        async with Reader(browser, running, color_scheme=theme) as reader:
            await reader.log_in()
            await reader.see(path.format(decision=decision))
            await reader.page.wait_for_timeout(300)
            await reader.page.screenshot(path=into / f"{name}.png")


async def take(into: Path, docs: Path | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with stage(Path(directory)) as running, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            decision = await make_a_past(running)
            await pictures(browser, running, decision, into)
            if docs is not None:
                await readme(browser, running, decision, docs)
            await browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(options.into, options.docs))


if __name__ == "__main__":
    main()
