"""Anthropic's door: money, records and endings of message calls, relayed and translated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.vocabulary import Lane, Operation, Outcome
from tests.rig.world import HIGH, PUBLIC, RunningSidecar, World

DOOR = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
VERSION = {"anthropic-version": "2023-06-01"}
#: The headers that lead to a first tier, the model that does, and the tier.
TO_ANTHROPIC = ({**PUBLIC, **VERSION}, "anthropic/claude-x", "anthropic")
TO_CLOUD = ({**HIGH, **VERSION}, "claude-x", "ollama_cloud")


async def with_anthropic(world: World, **changes: Any) -> RunningSidecar:
    tier = {
        "provider": "anthropic",
        "base_url": world.openai.url,
        "api_key": "openai-key",
        "price": {"input_usd_per_1m": 3, "output_usd_per_1m": 15},
        "models": {"default": "claude-x"},
    }
    return await world.sidecar({"tiers": {"anthropic": tier}, **changes})


def asking(model: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": 40,
        "messages": [{"role": "user", "content": "hello there"}],
        **fields,
    }


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("way", [TO_ANTHROPIC, TO_CLOUD], ids=["relayed", "translated"])
async def test_a_call_is_held_for_settled_and_recorded(
    world: World, way: tuple[dict[str, str], str, str], stream: bool
) -> None:
    headers, model, tier = way
    sidecar = await with_anthropic(world)
    body = asking(model, stream=stream, metadata={"app": "desk"})
    response = await sidecar.http.post(DOOR, json=body, headers=headers)
    assert response.status_code == 200
    if stream:
        assert response.text.startswith("event: message_start\n")
        assert response.text.endswith('event: message_stop\ndata: {"type":"message_stop"}\n\n')
    record = await sidecar.record(response)
    (attempt,) = record.attempts
    assert (attempt.tier, attempt.settlement, record.outcome) == (tier, "reported", Outcome.COMPLETE)
    assert attempt.lane is (Lane.RELAY if tier == "anthropic" else Lane.ANY_LLM)
    assert 0 < record.cost_nano_usd < attempt.held_nano_usd
    assert record.app == "desk"
    upstream = world.openai if tier == "anthropic" else world.cloud
    (entry,) = await upstream.log()
    assert "metadata" not in msgspec.json.decode(entry.body)
    assert record.usage is not None
    assert (entry.input_tokens, entry.output_tokens) == (
        record.usage.input_tokens,
        record.usage.output_tokens,
    )


@pytest.mark.parametrize("way", [TO_ANTHROPIC, TO_CLOUD], ids=["relayed", "translated"])
async def test_a_stream_that_breaks_off_ends_in_anthropics_error_event(
    world: World, way: tuple[dict[str, str], str, str]
) -> None:
    headers, model, tier = way
    sidecar = await with_anthropic(world)
    upstream = world.openai if tier == "anthropic" else world.cloud
    await upstream.fault(cut_after=7, cut="fin")
    response = await sidecar.http.post(DOOR, json=asking(model, stream=True), headers=headers)
    last = response.text.rstrip().rsplit("\n\n", 1)[-1]
    assert last.startswith('event: error\ndata: {"type":"error","error":{"type":"api_error","message":')
    record = await sidecar.record(response)
    assert (record.outcome, record.attempts[0].settlement) == (Outcome.UPSTREAM_FAILED, "unknown")


async def test_a_fault_before_the_first_token_goes_on_to_the_next_tier(world: World) -> None:
    sidecar = await with_anthropic(world, routing={"fallback": ["anthropic", "local_ollama"]})
    await world.openai.fault(status=500)
    headers, model, _ = TO_ANTHROPIC
    response = await sidecar.http.post(DOOR, json=asking(model, stream=True), headers=headers)
    assert response.headers["x-sidecar-fallback"] == "anthropic"
    assert response.headers["x-sidecar-tier"] == "local_ollama"
    assert "event: message_stop" in response.text


async def test_an_error_of_another_dialect_is_put_into_anthropics(world: World) -> None:
    sidecar = await with_anthropic(world)
    await world.openai.fault(status=422)
    response = await sidecar.http.post(DOOR, json=asking("openai/gpt-4o"), headers=TO_ANTHROPIC[0])
    assert response.status_code == 422
    assert response.json() == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "The request could not be processed."},
    }


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0]"),
        ({"mcp_servers": [{"type": "url", "url": "http://x", "name": "x"}]}, "mcp_servers"),
        ({"x_future": 1}, "x_future"),
    ],
    ids=str,
)
async def test_what_no_tier_can_do_is_refused_by_field_and_tier(
    world: World, fields: dict[str, Any], named: str
) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(DOOR, json=asking("claude-x", **fields), headers=PUBLIC)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert f"local_ollama: {named}: " in response.json()["error"]["message"]


async def test_counting_costs_nothing_and_leaves_only_with_a_permit(world: World) -> None:
    sidecar = await with_anthropic(world)
    headers, model, _ = TO_ANTHROPIC
    body = {"model": model, "messages": [{"role": "user", "content": "hello there"}], "stream": True}
    relayed = await sidecar.http.post(COUNT, json=body, headers=headers)
    counted = relayed.json()["input_tokens"]
    record = await sidecar.record(relayed)
    assert (record.features.operation, record.cost_nano_usd) == (Operation.COUNT_TOKENS, 0)
    assert record.attempts[0].held_nano_usd == 0
    secret = [{"role": "user", "content": "mail anna.miller" + "@gmail.com"}]
    at_home = await sidecar.http.post(COUNT, json={**body, "messages": secret}, headers=headers)
    assert at_home.headers["x-sidecar-tier"] == "local_ollama"
    assert at_home.json()["input_tokens"] > 0 < counted
    assert len(await world.openai.log()) == 1
