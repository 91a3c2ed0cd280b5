"""The sidecars that clients call, one for each legacy tier, and their upstreams."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.clients.ways import Line, Way
from tests.rig.serving import Serve
from tests.rig.upstream import ScriptedUpstream

#: Gives the line of a way, on which nothing has been asked yet.
LineOf = Callable[[Way], Awaitable[Line]]


@pytest.fixture
async def line_of(
    serve: Serve, upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream]
) -> LineOf:
    """The line of a way."""
    for upstream in upstream_processes:
        await upstream.reset()
    local, cloud, openai = upstream_processes
    upstreams = {"local_ollama": local, "ollama_cloud": cloud, "openai": openai}

    async def get(way: Way) -> Line:
        # Only the legacy tier needs a sidecar of its own; the arms are told apart as an operator does it.
        sidecar = serve(f"legacy-{way.legacy_tier}", {"rollout": {"legacy": {"tier": way.legacy_tier}}})
        sidecar.set_percent(100 if way.arm == "routed" else 0)
        return Line(way, sidecar, upstreams[way.tier])

    return get
