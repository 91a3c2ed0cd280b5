"""Finds where triggers end in a text: hyperscan in one pass, or RE2 where hyperscan has no wheel.

A trigger has one fixed width, so the places where it ends are the same whatever the engine: verdicts do not
depend on which engine runs. What a trigger means is for the rules to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import re2

from sidecar.core.privacy.rules import Trigger

try:
    import hyperscan
except ImportError:  # no wheel for this machine
    hyperscan = None  # type: ignore[assignment]

EngineName = Literal["auto", "hyperscan", "re2"]


class TooManyMatches(Exception):
    """The text triggers more often than is looked at; nothing can be said about it in time."""


class Engine(Protocol):
    """One compiled set of triggers."""

    name: str

    def ends(self, data: bytes, limit: int) -> list[tuple[int, int]]:
        """``(end, trigger)`` of every match, in order. Raises ``TooManyMatches`` past ``limit``."""
        ...


class HyperscanEngine:
    """All triggers in one pass.

    ``compiled`` is what ``compile_triggers`` made of the same triggers, perhaps in another process; what is
    damaged or of another hyperscan is compiled anew.
    """

    name = "hyperscan"

    def __init__(self, triggers: Sequence[Trigger], compiled: bytes | None = None) -> None:
        self._database = _loaded(compiled) or _database(triggers)

    def ends(self, data: bytes, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []

        def on_match(trigger: int, _start: int, end: int, _flags: int, _context: object) -> bool | None:
            found.append((end, trigger))
            return len(found) > limit

        try:
            self._database.scan(data, match_event_handler=on_match)
        except hyperscan.ScanTerminated:
            raise TooManyMatches from None
        found.sort()
        return found


def compile_triggers(triggers: Sequence[Trigger]) -> bytes | None:
    """The triggers compiled, for ``HyperscanEngine``; ``None`` where hyperscan is not installed."""
    return None if hyperscan is None else bytes(hyperscan.dumpb(_database(triggers)))


def _database(triggers: Sequence[Trigger]) -> Any:
    database = hyperscan.Database()
    database.compile(
        expressions=[trigger.expression for trigger in triggers],
        ids=list(range(len(triggers))),
        elements=len(triggers),
        flags=hyperscan.HS_FLAG_CASELESS,
    )
    return database


def _loaded(compiled: bytes | None) -> Any:
    if compiled is None:
        return None
    try:
        database = hyperscan.loadb(compiled, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except hyperscan.HyperscanError:
        return None
    return database


class Re2Engine:
    """One set says which triggers occur; only those are then searched for, one by one."""

    name = "re2"

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.case_sensitive = False
        options.log_errors = False
        options.max_mem = 64 << 20
        self._options = options
        self._set = re2.Set.SearchSet(options)
        self._triggers = triggers
        self._compiled: dict[int, Any] = {}
        for trigger in triggers:
            self._set.Add(trigger.expression)
        self._set.Compile()

    def ends(self, data: bytes, limit: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for trigger in self._set.Match(data) or ():
            pattern = self._compiled.get(trigger)
            if pattern is None:
                pattern = re2.compile(self._triggers[trigger].expression, self._options)
                self._compiled[trigger] = pattern
            match = pattern.search(data)
            while match is not None:
                found.append((match.end(), trigger))
                if len(found) > limit:
                    raise TooManyMatches
                match = pattern.search(data, match.start() + 1)
        found.sort()
        return found


def build_engine(
    triggers: Sequence[Trigger], name: EngineName = "auto", compiled: bytes | None = None
) -> Engine:
    """Compile ``triggers``. Raises ``ValueError`` where the named engine is not installed."""
    if name == "hyperscan" and hyperscan is None:
        raise ValueError("hyperscan is not installed on this machine")
    if name == "re2" or hyperscan is None:
        return Re2Engine(triggers)
    return HyperscanEngine(triggers, compiled)
