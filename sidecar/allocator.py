"""Keeps the C library's memory allocator from holding on to what the process does not use.

Only glibc has the calls; elsewhere there is nothing to do. Its manual: ``mallopt(3)``, ``malloc_trim(3)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_ARENA_MAX = -8


def share_arenas() -> None:
    """Let all threads take memory from two pools, not one each: 3 MB less. To be called before they start.

    Python's threads take turns anyway, so that they seldom wait for each other there.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Return to the system what imports and the compiling of patterns used for a moment: some 15 MB."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
