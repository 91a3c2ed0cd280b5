"""Tells all workers what is new, and adds up what they tell of themselves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from sidecar.app import Sidecar
from sidecar.core.breaker import BreakerView, Circuit
from sidecar.core.obstacles import CIRCUIT_OPEN, SATURATED
from sidecar.settings import Settings
from sidecar.traffic import Traffic
from sidecar.upstreams.admission import AdmissionView
from sidecar.workers.link import Link
from sidecar.workers.messages import Message, News, Report, Room, SettingsChanged, TierReport, Welcome

log = logging.getLogger("sidecar.workers")

#: How often it is looked whether there is anything new; what holds and settlements change goes out sooner.
LOOK_EVERY_S: Final = 0.1
_MONEY_WITHIN_S: Final = 0.02
#: How long a worker that is asked for its records may keep the others waiting.
_TOLD_WITHIN_S: Final = 1.0

_BY_GRAVITY: Final = (Circuit.CLOSED, Circuit.HALF_OPEN, Circuit.OPEN)


class Hub:
    """The workers' links, and what they have in common. ``hub_socket`` is the path that they reach us at."""

    def __init__(self, sidecar: Sidecar, count: int, hub_socket: str, patterns: bytes | None) -> None:
        self._sidecar = sidecar
        self._services = sidecar.services
        self._count = count
        self._hub_socket = hub_socket
        self._patterns = patterns
        self._news = self._what_is_new()
        self._room = self._what_is_left()
        self._raw = self._services.settings.raw
        self._due: asyncio.TimerHandle | None = None
        self._gone = Traffic()
        self._gone_cpu_s = 0.0
        self._gone_queues: dict[str, tuple[int, int]] = {}
        self.links: list[Link] = []
        self._services.traffic = self.traffic
        self._services.tier_desk.sight = self
        sidecar.telemetry.others = self._processes
        self._services.flush = self._services.feedback.flush = self._flush
        self._services.settings.subscribe(self._settings_changed)
        self._task = asyncio.create_task(self._look_forever(), name="workers-news")

    # for the workers

    def link(self) -> Link:
        """The hub's end of a new worker."""
        link = Link(self._sidecar, self._money_moved)
        self.links.append(link)
        return link

    def welcome(self, link: Link, number: int) -> None:
        """Tell the worker at the other end all that it needs to begin as ``number``."""
        settings = self._services.settings
        self._look()
        link.channel.send(
            Welcome(
                number=number,
                count=self._count,
                file=str(settings.path),
                first=settings.first_raw,
                now=self._raw,
                patterns=self._patterns,
                hub=self._hub_socket,
                news=self._news,
                room=self._room,
            )
        )

    def forget(self, link: Link) -> None:
        """The worker is gone; what it has counted stays."""
        self.links.remove(link)
        report = link.report
        if report is None:
            return
        self._gone = self._gone.plus(report.traffic.counted_only())
        self._gone_cpu_s += report.cpu_s
        for name, tier in report.tiers.items():
            full, vain = self._gone_queues.get(name, (0, 0))
            self._gone_queues[name] = full + tier.queue.turned_away, vain + tier.queue.waited_in_vain

    async def close(self) -> None:
        """Tell nobody any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._due is not None:
            self._due.cancel()

    async def _flush(self) -> None:
        """Write the records of all calls that have ended by now: a call may be rated as soon as it has."""
        telling = [asyncio.create_task(link.all_told()) for link in self.links if link.ready.is_set()]
        if telling:
            _, late = await asyncio.wait(telling, timeout=_TOLD_WITHIN_S)
            for task in late:
                task.cancel()
        await self._services.log.flush()

    def _what_is_new(self) -> News:
        split = self._services.rollout.current
        return News(split.salt, split.percent, dict(self._sidecar.current.out))

    def _what_is_left(self) -> Room:
        ledger = self._services.ledger
        tiers = self._sidecar.current.tiers.items()
        return Room({name: ledger.remaining(name) for name, tier in tiers if tier.price is not None})

    async def _settings_changed(self, old: Settings, new: Settings) -> None:
        """They are in force here, so that decisions by them can be replayed and charged."""
        self._raw = self._services.settings.raw
        self._send(SettingsChanged(self._raw))

    async def _look_forever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._look()
            except Exception:
                log.exception("the workers could not be told what is new")

    def _look(self) -> None:
        news = self._what_is_new()
        if news != self._news:
            self._news = news
            self._send(news)
        self._look_at_money()

    def _look_at_money(self) -> None:
        self._due = None
        room = self._what_is_left()
        if room != self._room:
            self._room = room
            self._send(room)

    def _money_moved(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_MONEY_WITHIN_S, self._look_at_money)

    def _send(self, message: Message) -> None:
        for link in self.links:
            link.channel.send(message)

    # for the pages

    def traffic(self) -> Traffic:
        """What comes in through all workers, and what those that are gone have counted."""
        total = self._gone
        for report in self._reports():
            total = total.plus(report.traffic)
        return total

    def _processes(self) -> tuple[float, int]:
        """CPU seconds of all workers that were and are, and the memory of those that are."""
        reports = list(self._reports())
        cpu_s = self._gone_cpu_s + sum(report.cpu_s for report in reports)
        return cpu_s, sum(report.memory_bytes for report in reports)

    def obstacle(self, tier: str) -> tuple[str, str]:
        """Why some worker sends the tier nothing; a full queue counts when it is full in all."""
        told = [report.obstacle for report in self._of(tier)]
        resting = [words for code, words in told if code == CIRCUIT_OPEN]
        if resting:
            return CIRCUIT_OPEN, resting[0]
        if told and all(code == SATURATED for code, _ in told):
            queue = self.queue(tier)
            return SATURATED, f"all {queue.limit} places are taken and {queue.waiting} calls wait"
        return "", ""

    def circuit(self, tier: str) -> BreakerView:
        """The breaker of the worker that is worst off."""
        views = [report.circuit for report in self._of(tier)]
        worst = max(
            views,
            key=lambda view: (_BY_GRAVITY.index(view.state), view.wait_s is None, view.wait_s or 0.0),
            default=None,
        )
        return worst or self._sidecar.current.upstreams[tier].circuit()

    def queue(self, tier: str) -> AdmissionView:
        """All workers' places and queues together."""
        spec = self._sidecar.current.tiers[tier]
        views = [report.queue for report in self._of(tier)]
        full, vain = self._gone_queues.get(tier, (0, 0))
        return AdmissionView(
            in_use=sum(view.in_use for view in views),
            limit=spec.places,
            waiting=sum(view.waiting for view in views),
            waiting_max=spec.queue.max,
            turned_away=full + sum(view.turned_away for view in views),
            waited_in_vain=vain + sum(view.waited_in_vain for view in views),
        )

    def absent(self, tier: str) -> str:
        """That nobody has answered there, if no worker has found anybody."""
        told = [report.absent for report in self._of(tier)]
        return told[0] if told and all(told) else ""

    def key_refused(self, tier: str) -> str:
        """How a worker's call was refused for its key, if one was."""
        return next((report.key_refused for report in self._of(tier) if report.key_refused), "")

    def _of(self, tier: str) -> list[TierReport]:
        return [report.tiers[tier] for report in self._reports() if tier in report.tiers]

    def _reports(self) -> Iterable[Report]:
        return (link.report for link in self.links if link.report is not None)
