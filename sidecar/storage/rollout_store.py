"""Keeps where the rollout stands, the salt that places sessions, and who moved it when and why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Final, Self

import msgspec

from sidecar.core.rollout_states import Event, Phase, after
from sidecar.storage.database import Clock, Database

SALT_BYTES: Final = 16


class RolloutState(msgspec.Struct, frozen=True):
    """The rollout in force. ``version`` counts its changes from 1; ``salt`` is what sessions are placed by.

    ``since_ns``, ``actor`` and ``why`` are those of the last change. ``target_hundredths`` is where an
    advance under way leads.
    """

    hundredths: int
    salt: str
    version: int
    phase: Phase = Phase.HOLDING
    since_ns: int = 0
    actor: str = ""
    why: str = ""
    target_hundredths: int | None = None

    @property
    def percent(self) -> float:
        """0 to 100 in steps of 0.01."""
        return self.hundredths / 100

    @property
    def salt_name(self) -> str:
        """What the salt may be told apart by without being told: replicas that agree have the same one."""
        return blake2b(self.salt.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


class RolloutChange(msgspec.Struct, frozen=True):
    """One change, of the percentage or of the state alone.

    ``from_percent`` is None for the first value, which the configuration gave; ``event`` is then empty.
    """

    version: int
    at_ns: int
    actor: str
    from_percent: float | None
    to_percent: float
    reason: str
    event: str
    state: str


class StaleRollout(Exception):
    """The rollout was changed since the caller looked; ``current`` is what it is now."""

    def __init__(self, expected_version: int, current: RolloutState) -> None:
        super().__init__(
            f"the rollout is at version {current.version} ({current.percent:g} %), not {expected_version}"
        )
        self.current = current


def hundredths_of(percent: float | str | Decimal) -> int:
    """``percent`` in hundredths. Raises ``ValueError`` unless it is 0 to 100 with at most two decimals."""
    try:
        exact = Decimal(str(percent))
    except InvalidOperation:
        raise ValueError(f"the percentage must be a number, not {str(percent)[:40]!r}") from None
    if isinstance(percent, bool) or not exact.is_finite() or not 0 <= exact <= 100 or exact * 100 % 1:
        raise ValueError(
            f"the percentage must be 0 to 100 with at most two decimals, not {str(percent)[:40]}"
        )
    return int(exact * 100)


class RolloutStore:
    """The rollout in force, in memory for every call and in the database for the next start."""

    def __init__(self, database: Database, clock: Clock, current: RolloutState) -> None:
        self._database = database
        self._clock = clock
        self._changing = asyncio.Lock()
        self.current = current
        #: The state before this start, if its salt was another one; sessions have changed arms since.
        self.placed_before: RolloutState | None = None

    @classmethod
    async def open(
        cls,
        database: Database,
        clock: Clock,
        *,
        initial_percent: float,
        entropy: Callable[[int], bytes],
        last_stage: float = 100.0,
        salt: str = "",
    ) -> Self:
        """Read the rollout. The first start takes ``initial_percent``, and a salt from ``entropy(16)``.

        ``salt``, if any, rules instead, at every start. When it is not the one that was in use, what was
        gathered of the arms is dropped: it is of other sessions.
        """
        begins = Phase.COMPLETE if initial_percent >= last_stage else Phase.HOLDING
        first = RolloutState(
            hundredths_of(initial_percent),
            salt or entropy(SALT_BYTES).hex(),
            1,
            begins,
            clock(),
            "configuration",
            "the first start",
        )
        async with database.transaction() as connection:
            rows = list(
                await connection.execute_fetchall(
                    "SELECT hundredths, salt, version, phase, since_ns, actor, why, target FROM rollout"
                )
            )
            if rows:
                hundredths, placed_by, version, phase, *rest = rows[0]
                state = RolloutState(hundredths, placed_by, version, Phase(phase), *rest)
                if not salt or salt == placed_by:
                    return cls(database, clock, state)
                await connection.execute("UPDATE rollout SET salt = ?", (salt,))
                await connection.execute("DELETE FROM rollout_progress")
                store = cls(database, clock, msgspec.structs.replace(state, salt=salt))
                store.placed_before = state
                return store
            await connection.execute(_BEGIN, msgspec.structs.astuple(first))
            await connection.execute(_ADD_HISTORY, _history_row(first, None, ""))
        return cls(database, clock, first)

    async def apply(
        self,
        event: Event,
        *,
        actor: str,
        why: str,
        hundredths: int | None = None,
        target_hundredths: int | None = None,
        expected_version: int | None = None,
    ) -> RolloutState:
        """Make one move of the table, durably before it takes effect, to ``hundredths`` if that is given.

        Raises ``NoSuchMove`` when the table has no such move, ``StaleRollout`` when ``expected_version`` is
        given and no longer current, ``StorageError`` when it cannot be written.
        """
        async with self._changing:
            before = self.current
            if expected_version is not None and expected_version != before.version:
                raise StaleRollout(expected_version, before)
            now = RolloutState(
                before.hundredths if hundredths is None else hundredths,
                before.salt,
                before.version + 1,
                after(before.phase, event),
                self._clock(),
                actor,
                why,
                target_hundredths,
            )
            async with self._database.transaction() as connection:
                await connection.execute(_UPDATE, msgspec.structs.astuple(now))
                await connection.execute(_ADD_HISTORY, _history_row(now, before.hundredths, event.value))
            self.current = now
            return now

    async def history(self, limit: int = 100) -> tuple[RolloutChange, ...]:
        """The latest changes, newest first."""
        async with self._database.reader() as connection:
            rows = await connection.execute_fetchall(
                "SELECT version, at_ns, actor, from_hundredths / 100.0, to_hundredths / 100.0, reason, "
                "event, phase FROM rollout_history ORDER BY version DESC LIMIT ?",
                (limit,),
            )
        return tuple(RolloutChange(*row) for row in rows)

    async def keep_progress(self, progress: bytes) -> None:
        """Write down what was gathered since the last move. Raises ``StorageError``."""
        async with self._database.transaction() as connection:
            await connection.execute(
                "INSERT OR REPLACE INTO rollout_progress (only, at_ns, progress) VALUES (1, ?, ?)",
                (self._clock(), progress),
            )

    async def progress(self) -> bytes | None:
        """What was last written down. Raises ``StorageError``."""
        async with self._database.reader() as connection:
            rows = list(await connection.execute_fetchall("SELECT progress FROM rollout_progress"))
        return rows[0][0] if rows else None


def _history_row(state: RolloutState, from_hundredths: int | None, event: str) -> tuple[object, ...]:
    return (
        state.version,
        state.since_ns,
        state.actor,
        from_hundredths,
        state.hundredths,
        state.why,
        event,
        state.phase.value,
    )


_BEGIN: Final = """
INSERT INTO rollout (only, hundredths, salt, version, phase, since_ns, actor, why, target)
VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE: Final = """
UPDATE rollout SET hundredths = ?, salt = ?, version = ?, phase = ?, since_ns = ?, actor = ?, why = ?,
    target = ?
"""
_ADD_HISTORY: Final = """
INSERT INTO rollout_history (version, at_ns, actor, from_hundredths, to_hundredths, reason, event, phase)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
