"""The connections of clients: how many are open, how many may be, and what became of those that dawdled."""

from __future__ import annotations

import resource

#: What the process needs besides clients' connections: those to upstreams, the databases, the exporter.
_RESERVED_FILES = 1536

#: Under this name a request's ``state`` has a function that takes what is to be called when its client goes.
WHEN_GONE = "sidecar.when_gone"


class Connections:
    """Counts connections. ``limit`` is how many may be open at a time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.open = 0
        #: Closed because a request did not come to its end in time.
        self.hung_up = 0
        #: Closed as soon as they came, because there were too many.
        self.turned_away = 0
        #: Whether clients are asked, with each answer, to close their connection and open another.
        self.parting = False

    @property
    def full(self) -> bool:
        """Whether there are more than there may be."""
        return self.open > self.limit


def connection_limit() -> int:
    """How many connections leave enough of the open files that the system allows, of which each is one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    return max(soft - _RESERVED_FILES, soft // 2)
