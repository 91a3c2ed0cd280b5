"""One Chromium for all tests of the pages, and a sidecar with a past to look at.

Everything here lives on the session's event loop, where the browser is; so do the tests that use it.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.dashboard.stage import Stage, give_past, spend, stage

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Reader:
    """A person at a browser of their own, who notices everything that is not as it should be."""

    def __init__(self, browser: Browser, running: Stage, **options: Any) -> None:
        self._browser = browser
        self._running = running
        self._options = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "UTC", **options}
        self.noticed: list[str] = []
        self.requested: list[str] = []
        self.context: BrowserContext
        self.page: Page

    async def __aenter__(self) -> Self:
        self.context = await self._browser.new_context(**self._options)
        self.page = await self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.noticed.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.noticed.append(str(error)))
        self.page.on("dialog", lambda dialog: self.noticed.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.requested.append(request.url))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.context.close()

    async def log_in(self) -> Self:
        """Follow a fresh login link."""
        await self.page.goto(self._running.link())
        return self

    async def see(self, path: str) -> Page:
        """Go to a page of the dashboard."""
        await self.page.goto(f"{self._running.base}/dashboard{path}")
        return self.page

    async def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        width: int = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return width


NewReader = Callable[..., Reader]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The one browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def past(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A sidecar with a day of calls behind it, for tests that change nothing."""
    async with stage(tmp_path_factory.mktemp("past")) as running:
        await give_past(running.services)
        await spend(running.services, "openai", 1_500_000_000, "never-answered", unknown=True)
        await running.services.ledger.flush()
        await running.services.set_percent(50, actor="Maria (dashboard)", reason="errors are low")
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def fresh(tmp_path: Path) -> AsyncIterator[Stage]:
    """A sidecar that has seen nothing, for one test."""
    async with stage(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def viewed(tmp_path: Path) -> AsyncIterator[Stage]:
    """A sidecar with a token for viewers, ``only-look-at-it``."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    token = data / "viewer-token"
    token.touch(mode=0o600)
    token.write_text("only-look-at-it\n")
    async with stage(tmp_path) as running:
        yield running
