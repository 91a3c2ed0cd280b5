"""A call goes where a model can do what it asks for, or is told which field no tier can honour."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
IMAGE: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "text", "text": "what is it"}, PIXEL]}]
}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}


async def with_local_model(world: World, model: str, **changes: Any) -> RunningSidecar:
    """A sidecar that has learnt what the local ``model`` can do."""
    local = {"models": {"default": model}, "capabilities": {}}
    sidecar = await world.sidecar({"tiers": {"local_ollama": local, **changes}})
    upstream = sidecar.sidecar.current.upstreams["local_ollama"]
    async with asyncio.timeout(10):
        while upstream.can(model).tools is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return sidecar


@pytest.mark.parametrize(
    ("model", "fields", "need", "named"),
    [
        ("no-vision-7b", IMAGE, "vision", "messages"),
        ("no-tools-7b", {"tools": [TOOL]}, "tools", "tools"),
        ("plain-7b", {"reasoning_effort": "high"}, "thinking", "reasoning_effort"),
        (
            "plain-7b",
            {"messages": [{"role": "user", "content": "so long " * 140_000}]},
            "context",
            "messages",
        ),
    ],
)
async def test_what_ollama_says_its_model_cannot_do_is_refused_by_field_and_tier(
    world: World, model: str, fields: dict[str, Any], need: str, named: str
) -> None:
    sidecar = await with_local_model(world, model)
    response = await sidecar.http.post(CHAT, json=chat(**fields), headers=PUBLIC)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "capability_missing", named)
    assert f"local_ollama: it lacks {need}" in error["message"]
    assert f"{need} by {named}" in error["message"]
    assert await world.local.log() == []
    record = await sidecar.record(response)
    assert [(tier.tier, tier.reason) for tier in record.decision.rejected] == [
        ("local_ollama", "capability_missing"),
        ("ollama_cloud", "not_permitted_to_leave"),
        ("openai", "not_permitted_to_leave"),
    ]
    fine = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert fine.headers["x-sidecar-tier"] == "local_ollama"


@pytest.mark.parametrize(
    ("lacks", "fields"),
    [
        ({"vision": False}, IMAGE),
        ({"tools": False}, {"tools": [TOOL]}),
        ({"schema": False}, {"response_format": SCHEMA}),
        ({"context_tokens": 2}, {}),
    ],
    ids=str,
)
async def test_what_the_operator_says_moves_a_call_on(
    world: World, lacks: dict[str, Any], fields: dict[str, Any]
) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {
                "openai": {"capabilities": {"*": lacks}},
                "ollama_cloud": {"price": {"usd_per_1k_tokens": 0}},
            }
        }
    )
    body = chat("hello there, how are you", **fields)
    response = await sidecar.http.post(CHAT, json=body, headers=CRITICAL)
    assert (response.status_code, response.headers["x-sidecar-tier"]) == (200, "ollama_cloud")
    record = await sidecar.record(response)
    assert record.decision.rejected[0].reason == "capability_missing"
    assert await sidecar.sidecar.services.search.replay(record.request_id) == record.decision


async def test_the_legacy_arm_asks_its_tier_whatever_is_known(world: World) -> None:
    sidecar = await with_local_model(world, "no-tools-7b")
    await sidecar.admin("PUT", "/rollout", {"percent": 0, "reason": "a test"})
    response = await sidecar.http.post(CHAT, json=chat(model="no-tools-7b", tools=[TOOL]), headers=PUBLIC)
    assert (response.status_code, response.headers["x-sidecar-arm"]) == (200, "legacy")


async def test_a_pinned_model_is_judged_as_itself(world: World) -> None:
    known = {"gpt-4o": {"vision": False}, "gpt-5": {"vision": True}}
    sidecar = await world.sidecar({"tiers": {"openai": {"capabilities": known}}})
    seeing = await sidecar.http.post(CHAT, json=chat(model="openai/gpt-5", **IMAGE), headers=PUBLIC)
    assert seeing.headers["x-sidecar-tier"] == "openai"
    blind = await sidecar.http.post(CHAT, json=chat(model="openai/gpt-4o", **IMAGE), headers=PUBLIC)
    assert blind.headers["x-sidecar-tier"] == "ollama_cloud"
