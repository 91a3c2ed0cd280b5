"""Keeps how answers were rated, and adds the ratings to the roll-ups of the calls' arms and tiers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import aiosqlite
import msgspec

from sidecar.core.vocabulary import Arm
from sidecar.storage.database import Clock, Database
from sidecar.storage.rollups import GRAINS_S, Facet

COMMENT_MAX: Final = 4_000


class Rating(msgspec.Struct, frozen=True):
    """The latest rating of one call; ``score`` is 0 to 1."""

    request_id: str
    score: float
    comment: str
    at_ns: int


class Rated(msgspec.Struct, frozen=True):
    """The call that was rated, and whether it was for the first time."""

    arm: Arm
    started_ns: int
    first: bool


class Feedback:
    """The ratings. ``flush`` writes what the decision log has queued, so that a call is found at once."""

    def __init__(self, database: Database, clock: Clock, flush: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._clock = clock
        #: Replaced where other processes serve calls, whose records are still on their way.
        self.flush = flush

    async def rate(self, request_id: str, score: float, comment: str = "") -> Rated | None:
        """Rate a call, again if it was rated before; None when there is no such call.

        Raises ``ValueError`` unless ``0 <= score <= 1``, ``StorageError`` when it cannot be written.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"score must be between 0 and 1, not {score}")
        await self.flush()
        rating = Rating(request_id, float(score), comment[:COMMENT_MAX], self._clock())
        async with self._database.transaction() as connection:
            calls = list(
                await connection.execute_fetchall(
                    "SELECT started_ns, arm, tier, task_type FROM decisions WHERE request_id = ?",
                    (request_id,),
                )
            )
            if not calls:
                return None
            before = await _rating(connection, request_id)
            await connection.execute(
                "INSERT OR REPLACE INTO feedback (request_id, score, comment, at_ns) VALUES (?, ?, ?, ?)",
                msgspec.structs.astuple(rating),
            )
            started_ns, arm, tier, task_type = calls[0]
            started_s = started_ns // 1_000_000_000
            old = before.score if before is not None else 0.0
            change = (int(before is None), rating.score - old, rating.score**2 - old**2)
            await connection.executemany(
                _ADD_RATING,
                [
                    (*change, grain, facet.value, started_s // grain * grain, arm, tier, label)
                    for grain in GRAINS_S
                    for facet, label in ((Facet.ALL, ""), (Facet.TASK_TYPE, task_type))
                ],
            )
        return Rated(Arm(arm), started_ns, before is None)

    async def get(self, request_id: str) -> Rating | None:
        """The rating of one call, or None."""
        async with self._database.reader() as connection:
            return await _rating(connection, request_id)


_ADD_RATING: Final = """
UPDATE rollups SET
    ratings = ratings + ?,
    score_sum = score_sum + ?,
    score_squares = score_squares + ?
WHERE grain = ? AND facet = ? AND start_s = ? AND arm = ? AND tier = ? AND label = ?
"""


async def _rating(connection: aiosqlite.Connection, request_id: str) -> Rating | None:
    rows = await connection.execute_fetchall(
        "SELECT request_id, score, comment, at_ns FROM feedback WHERE request_id = ?", (request_id,)
    )
    return next((Rating(*row) for row in rows), None)
