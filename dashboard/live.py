"""Keeps open pages current: one event stream per page, and one watcher for all streams together.

The watcher runs only while someone looks. Every ``WATCH_EVERY_S`` it compares a few numbers in memory, and
touches the database only when one of them has moved. What has changed is rendered once for all readers of
the same page, filter and time zone, and only the parts whose HTML differs are sent. A part replaces itself
on the page, so that sending it again does no harm: after a break a reader gets what it missed, or simply
everything.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Hashable
from typing import Final

import msgspec

from dashboard.health import assess
from dashboard.page import Ask, Page, Renderer
from sidecar.services import Services
from sidecar.storage.database import StorageError

logger = logging.getLogger(__name__)

WATCH_EVERY_S: Final = 0.3
#: The part of the event loop's CPU time that open pages may take in the long run, however many they are: one
#: half is for pages that are ``live_first``, so that they are current whatever else is open.
LOOP_SHARE_MAX: Final = 0.03
#: What each half may have saved up, in CPU seconds, so that what happens after a quiet time shows at once.
SAVED_MAX_S: Final = 0.125
#: How often a quiet stream shows that it is alive, and finds out that its reader has gone.
HEARTBEAT_S: Final = 15.0
STREAMS_MAX: Final = 64
#: After a break, how long the browser waits before it comes back, in milliseconds.
RETRY_MS: Final = 1_000


class TooManyStreams(Exception):
    """Every place for an event stream is taken."""


class _Topic:
    """One page as one kind of reader sees it: its parts as last sent, each with the version it is from."""

    def __init__(self, page: Page, ask: Ask) -> None:
        self.page = page
        self.ask = ask
        self.readers = 0
        #: Tells these versions from those of an earlier process, and of a time when others read the page.
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self.parts: dict[str, tuple[int, str]] = {}
        self.stamp: Hashable = None
        self.rendered_s = float("-inf")
        self.changed = asyncio.Event()

    def put(self, parts: dict[str, str]) -> None:
        """Take over ``parts``; those that differ get a new version, and waiting readers are woken."""
        fresh = {name: html for name, html in parts.items() if self.parts.get(name, (0, ""))[1] != html}
        if fresh:
            self.version += 1
            self.parts |= {name: (self.version, html) for name, html in fresh.items()}
            self.changed.set()
            self.changed = asyncio.Event()

    def after(self, version: int) -> dict[str, str]:
        return {name: html for name, (at, html) in self.parts.items() if at > version}


class Live:
    """The event streams of all open pages."""

    def __init__(self, services: Services, renderer: Renderer, clock_ns: Callable[[], int]) -> None:
        self._services = services
        self._renderer = renderer
        self._clock_ns = clock_ns
        self._topics: dict[Hashable, _Topic] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._saved_s = {True: SAVED_MAX_S, False: SAVED_MAX_S}
        self.streams = 0

    def open(self, page: Page, ask: Ask, last_id: str, wanted: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The stream for one reader; ends when ``wanted`` says so. Raises ``TooManyStreams``.

        ``last_id`` is the id of the last event that the reader has, or empty.
        """
        if self.streams >= STREAMS_MAX:
            raise TooManyStreams(f"{STREAMS_MAX} pages are open already.")
        return self._stream(page, ask, last_id, wanted)

    async def _stream(
        self, page: Page, ask: Ask, last_id: str, wanted: Callable[[], bool]
    ) -> AsyncIterator[bytes]:
        key = (page.name, tuple(sorted(ask.query.items())), ask.zone.key, ask.base_url)
        topic = self._topics.setdefault(key, _Topic(page, ask))
        topic.readers += 1
        self.streams += 1
        try:
            if self._watcher is None or self._watcher.done():
                self._watcher = asyncio.create_task(self._watch(), name="dashboard-live")
            epoch, _, seen_text = last_id.partition("-")
            seen = int(seen_text) if epoch == topic.epoch and seen_text.isdecimal() else 0
            yield b"retry: %d\n\n" % RETRY_MS
            while wanted():
                changed = topic.changed
                parts, upto = topic.after(seen), topic.version
                if parts:
                    seen = upto
                    yield _event(f"{topic.epoch}-{seen}", parts)
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.streams -= 1
            topic.readers -= 1
            if not topic.readers:
                self._topics.pop(key, None)

    async def _watch(self) -> None:
        """Look for changes until nobody reads any more.

        The event loop's CPU time counts, calls included that were served meanwhile: the more the sidecar has
        to do, the less often pages are made anew.
        """
        looked_s = asyncio.get_running_loop().time()
        while self._topics:
            now_s = asyncio.get_running_loop().time()
            earned_s = (now_s - looked_s) * LOOP_SHARE_MAX / 2
            self._saved_s = {
                first: min(SAVED_MAX_S, saved_s + earned_s) for first, saved_s in self._saved_s.items()
            }
            looked_s = now_s
            stamp = self._stamp()
            # Who has waited longest comes next: each has its turn, however little there is to spend.
            for topic in sorted(self._topics.values(), key=_turn):
                first, rested = topic.page.live_first, now_s - topic.rendered_s >= topic.page.live_every_s
                if topic.stamp != stamp and rested and self._saved_s[first] > 0:
                    topic.stamp, topic.rendered_s = stamp, now_s
                    began_s = time.thread_time()
                    await self._refresh(topic)
                    self._saved_s[first] -= time.thread_time() - began_s
            if self._services.draining:
                for topic in self._topics.values():
                    topic.changed.set()
            await asyncio.sleep(WATCH_EVERY_S)

    async def _refresh(self, topic: _Topic) -> None:
        page = topic.page
        ask = msgspec.structs.replace(topic.ask, now_ns=self._clock_ns())
        try:
            context = await page.load(self._services, ask)
            parts = {name: self._renderer.fragment(name, context, ask) for name in page.live}
            parts["health"] = self._renderer.fragment("health", await assess(self._services, ask.now_ns), ask)
        except StorageError as error:
            logger.warning("the open pages cannot be kept current: %s", error)
            topic.stamp = None
        except Exception:
            # The watcher serves every open page; one page's defect must not stop the others.
            logger.exception("the page %s cannot be kept current", page.name)
        else:
            topic.put(parts)

    def _stamp(self) -> Hashable:
        """Moves whenever something that a page shows may have changed, and once a minute with the clock."""
        services = self._services
        return (
            services.log.written_sequence,
            services.log.failing,
            services.log.dropped,
            services.ledger.unavailable,
            services.telemetry_trouble(),
            services.rollout.current.version,
            id(services.in_force),
            id(services.settings.rejected),
            tuple(
                (status.cap.name, status.cap.limit_nano_usd, status.posted_nano_usd, status.held_nano_usd)
                for status in services.ledger.caps()
            ),
            services.changes,
            tuple((tier.why, tier.circuit.state, tier.queue) for tier in services.tiers()),
            self._clock_ns() // 60_000_000_000,
        )


def _turn(topic: _Topic) -> tuple[bool, float]:
    return not topic.page.live_first, topic.rendered_s


def _event(event_id: str, parts: dict[str, str]) -> bytes:
    """One server-sent event whose data is each part, addressed to the element that it replaces."""
    html = "\n".join(
        f'<hx-partial hx-target="#{part_id(name)}" hx-swap="outerMorph">{html}</hx-partial>'
        for name, html in parts.items()
    )
    data = "".join(f"data: {line}\n" for line in html.splitlines())
    return f"id: {event_id}\n{data}\n".encode("utf-8", "surrogatepass")


def part_id(fragment: str) -> str:
    """The id of the element that a live fragment consists of."""
    return fragment.replace("_", "-")
