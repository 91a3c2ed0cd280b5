"""Random bytes for names, a system call for many of them at once."""

from __future__ import annotations

import os
import threading

_AT_ONCE = 4096


class _Pool(threading.local):
    """What is left of the last bytes that the system gave this thread."""

    data = b""
    used = 0


_pool = _Pool()


def random_bytes(count: int) -> bytes:
    """``count`` random bytes, each given out once; ``count`` is at most 4096.

    For names of calls and spans, not for keys: bytes to come lie in memory.
    """
    end = _pool.used + count
    if end > len(_pool.data):
        _pool.data, end = os.urandom(_AT_ONCE), count
    _pool.used = end
    return _pool.data[end - count : end]


def _forget() -> None:
    """A forked child must not give out what its parent will."""
    _pool.data, _pool.used = b"", 0


os.register_at_fork(after_in_child=_forget)
