"""Counts which sessions were seen, window by window, for the sample-ratio check; pure.

A window is over once it has seen ``SESSIONS_A_WINDOW`` sessions or lasted ``WINDOW_S``, whichever comes
first, but never with fewer sessions than a judgement needs. Sessions are told apart by the bucket of their
sticky key, of which there are 10,000: within a window each counts once however much it talks, and the next
window counts it anew. So a break shows in the window that it falls into or in the next one, however many
sessions were seen before.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.core.rollout import BUCKETS

#: Few enough that a window is over long before all buckets are seen, when nothing more could be noticed.
SESSIONS_A_WINDOW: Final = 2_000
WINDOW_S: Final = 3_600.0


class Count(msgspec.Struct, frozen=True):
    """One window's sessions, and the routed ones among them; ``number`` counts the windows from 1."""

    number: int
    sessions: int
    routed: int


def _none_seen() -> bytearray:
    return bytearray(BUCKETS // 8)


class SessionsSeen(msgspec.Struct):
    """The window under way, with a bit in ``seen`` for each bucket, and the last one that is over."""

    number: int = 1
    lasted_s: float = 0.0
    sessions: int = 0
    routed: int = 0
    seen: bytearray = msgspec.field(default_factory=_none_seen)
    last: Count | None = None

    def see(self, bucket: int, *, routed: bool) -> None:
        """A call of the session in ``bucket`` has ended."""
        byte, bit = bucket >> 3, 1 << (bucket & 7)
        if not self.seen[byte] & bit:
            self.seen[byte] |= bit
            self.sessions += 1
            self.routed += routed

    def passes(self, seconds: float, enough: int) -> None:
        """Time goes by; a window that is over, and has ``enough`` sessions, is followed by the next."""
        self.lasted_s += seconds
        over = self.lasted_s >= WINDOW_S or self.sessions >= SESSIONS_A_WINDOW
        if over and self.sessions >= enough:
            self.last = Count(self.number, self.sessions, self.routed)
            self.number += 1
            self.lasted_s, self.sessions, self.routed, self.seen = 0.0, 0, 0, _none_seen()

    def judged(self, enough: int) -> Count:
        """The count to judge by: the window under way, or the last one while too few are seen in it."""
        now = Count(self.number, self.sessions, self.routed)
        return self.last if self.last is not None and self.sessions < enough else now
