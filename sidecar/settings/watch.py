"""Keeps the settings in force while their file changes: a valid change is applied, any other refused.

Only what the path leads to counts, so that it does not matter how a file is replaced: written in place,
renamed over, or a symlink turned elsewhere, as Kubernetes does with a ConfigMap. The content is compared,
not its date and size: reading a few kilobytes twice a second costs nothing, and two writes within one
tick of a file system's clock look alike from outside.

A change is taken up when it is seen twice in a row. An editor that empties a file before it writes it, or
half a file that happens to be valid, must not switch caps off for a moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from sidecar.settings.checks import warnings_for
from sidecar.settings.load import config_path, parse_settings, unreadable
from sidecar.settings.problems import SettingsError
from sidecar.settings.schema import Settings
from sidecar.settings.shares import too_small_to_split

T = TypeVar("T", bound=msgspec.Struct)

logger = logging.getLogger(__name__)

OnChange = Callable[[Settings, Settings], Awaitable[None]]

#: Keys bound when the process starts.
_FIXED_WHILE_RUNNING = (
    "listen",
    "data_dir",
    "telemetry.otlp_endpoint",
    "budgets.timezone",
    "budgets.reset_day",
    "budgets.alerts_at",
    "budgets.webhook",
    "budgets.webhook_secret",
    "rollout.salt",
)


class ReloadRefusal(msgspec.Struct, frozen=True):
    """A changed file that was not applied: since when (Unix nanoseconds), and its problems in words."""

    when_ns: int
    problems: tuple[str, ...]


OnRefusal = Callable[[ReloadRefusal], Awaitable[None]]


class SettingsSource:
    """The settings in force. ``current`` and ``rejected`` are plain attributes, to be read at any time.

    Raises ``SettingsError`` when the file is not valid to begin with. ``clock`` gives Unix nanoseconds.
    ``workers`` is over how many processes the bounds on calls are split.
    """

    def __init__(
        self, path: Path | None, environ: Mapping[str, str], *, clock: Callable[[], int], workers: int = 1
    ) -> None:
        self.path = config_path(path)
        self.rejected: ReloadRefusal | None = None
        self._environ = environ
        self._clock = clock
        self._workers = workers
        self._subscribers: list[OnChange] = []
        self._told_of_refusals: list[OnRefusal] = []
        self._looking = asyncio.Lock()
        # Blocking, once: nothing can be served before the settings are known.
        self._seen = self._judged = _read(self.path)
        self.current = self._parse(self._judged)
        #: The bytes that were in force first, and those that are now.
        self.first_raw = self.raw = self._judged.raw

    def subscribe(self, on_change: OnChange) -> None:
        """Have ``on_change(old, new)`` awaited after each change, in the order of subscription.

        By then ``current`` is the new. When one raises, the change is refused: ``current`` is the old again,
        those before it are told to go back, and ``rejected`` says why. It must have changed nothing itself.
        """
        self._subscribers.append(on_change)

    def subscribe_to_refusals(self, on_refusal: OnRefusal) -> None:
        """Have ``on_refusal`` awaited after each changed file that is not applied, as ``subscribe``."""
        self._told_of_refusals.append(on_refusal)

    async def watch(self, interval_s: float = 0.5) -> None:
        """Look at the file every ``interval_s`` seconds, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(interval_s)

    async def look(self) -> None:
        """Look at the file once, and apply or refuse what has changed and stayed so since the last look."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        # In a thread: a network file system may stall, and reading a long file takes milliseconds.
        content = await asyncio.to_thread(_read, self.path)
        settled, self._seen = content == self._seen, content
        if not settled or content == self._judged:
            return
        self._judged = content
        try:
            new = await asyncio.to_thread(self._parse, content)
        except SettingsError as error:
            logger.error("%s is not applied, what was in force stays:\n%s", self.path, error)
            await self._refuse(tuple(map(str, error.problems)))
            return
        old, self.current = self.current, keep_fixed(self.current, new)
        old_raw, self.raw = self.raw, content.raw
        try:
            if self.current != old:
                await self._apply(old, self.current)
        except Exception as error:
            logger.exception("%s cannot be taken up, what was in force stays", self.path)
            self.current, self.raw = old, old_raw
            why = f"{self.path}: cannot be taken up: {type(error).__name__}: {error}"
            await self._refuse((why,))
        else:
            self.rejected = None

    async def _refuse(self, problems: tuple[str, ...]) -> None:
        self.rejected = ReloadRefusal(self._clock(), problems)
        for on_refusal in self._told_of_refusals:
            try:
                await on_refusal(self.rejected)
            except Exception:
                logger.exception("a part of the sidecar could not be told of the refused settings")

    async def _apply(self, old: Settings, new: Settings) -> None:
        async with contextlib.AsyncExitStack() as undo:
            for on_change in self._subscribers:
                await on_change(old, new)
                undo.push_async_callback(on_change, new, old)
            undo.pop_all()
        changed = [key for key in new.__struct_fields__ if getattr(new, key) != getattr(old, key)]
        logger.info("%s is applied, changed: %s", self.path, ", ".join(changed))
        for words in new.warnings:
            if words not in old.warnings:
                logger.warning("%s: %s", self.path, words)

    def _parse(self, content: _Content) -> Settings:
        if content.unreadable:
            raise unreadable(self.path, content.unreadable)
        settings = parse_settings(content.raw, str(self.path), self._environ)
        if problems := too_small_to_split(settings, self._workers, str(self.path)):
            raise SettingsError(problems)
        return settings


class _Content(msgspec.Struct, frozen=True):
    """What the path leads to: bytes, or the reason why they cannot be read."""

    raw: bytes = b""
    unreadable: str = ""


def _read(path: Path) -> _Content:
    try:
        return _Content(path.read_bytes())
    except OSError as error:
        return _Content(unreadable=error.strerror or str(error))


def keep_fixed(old: Settings, new: Settings) -> Settings:
    """``new`` with what cannot change while running as it was, and a warning for each such change."""
    restart = []
    for key in _FIXED_WHILE_RUNNING:
        kept = _with_one_as_in(old, new, *key.split("."))
        if kept != new:
            restart.append(f"{key}: changed in the file, takes effect at the next start")
        new = kept
    return msgspec.structs.replace(new, warnings=(*warnings_for(new), *restart))


def _with_one_as_in(old: T, new: T, first: str, *rest: str) -> T:
    """``new`` with the value under one key, of this struct or of one in it, as ``old`` has it."""
    value = getattr(old, first)
    if rest:
        value = _with_one_as_in(value, getattr(new, first), *rest)
    return msgspec.structs.replace(new, **{first: value})
