"""Upstreams and lanes that the tests of this directory share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import ScriptedUpstream
from tests.sidecar.upstreams.lanes import make_lane

OpenLane = Callable[..., AnyLLMLane]


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[ScriptedUpstream]:
    """One scripted upstream for the tests of a module; starting one takes longer than most of them."""
    upstream = ScriptedUpstream()
    asyncio.run(upstream.__aenter__())
    yield upstream
    asyncio.run(upstream.stop())


@pytest.fixture
async def upstream(shared_upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The module's scripted upstream with an empty log and no faults."""
    await shared_upstream.reset()
    return shared_upstream


@pytest.fixture
async def open_lane() -> AsyncIterator[OpenLane]:
    """Makes lanes as ``make_lane`` does; they are closed with the test."""
    lanes: list[AnyLLMLane] = []

    def open_one(provider: str, base_url: str, **tier: Any) -> AnyLLMLane:
        lanes.append(make_lane(provider, base_url, **tier))
        return lanes[-1]

    yield open_one
    for lane in lanes:
        await lane.aclose()


@pytest.fixture
def ollama_lane(open_lane: OpenLane, upstream: ScriptedUpstream) -> AnyLLMLane:
    """A lane to the scripted upstream as Ollama on this machine."""
    return open_lane("ollama", upstream.url)


@pytest.fixture
def openai_lane(open_lane: OpenLane, upstream: ScriptedUpstream) -> AnyLLMLane:
    """A lane to the scripted upstream as OpenAI."""
    return open_lane("openai", upstream.openai_url, off_box=True, api_key="sk-tier")


@pytest.fixture
def lanes(ollama_lane: AnyLLMLane, openai_lane: AnyLLMLane) -> dict[str, AnyLLMLane]:
    """Both lanes by name, for tests that run through either."""
    return {"ollama": ollama_lane, "openai": openai_lane}
