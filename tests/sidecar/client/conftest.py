"""A client of the test's own sidecar."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from sidecar.client import AegisLLMProxy
from tests.rig.world import RunningSidecar, World


@pytest.fixture
async def sidecar(world: World) -> RunningSidecar:
    return await world.sidecar({"limits": {"max_body_mb": 1}})


@pytest.fixture
async def proxy(sidecar: RunningSidecar) -> AsyncIterator[AegisLLMProxy]:
    async with AegisLLMProxy(sidecar.base, app="tests") as proxy:
        yield proxy
