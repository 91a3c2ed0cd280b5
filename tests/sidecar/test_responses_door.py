"""OpenAI's Responses: money, records and endings, relayed and translated, and what is kept nowhere."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.vocabulary import Lane, Outcome
from tests.rig.world import CRITICAL, HIGH, PUBLIC, World

DOOR = "/v1/responses"
WAYS = ((CRITICAL, Lane.RELAY), (HIGH, Lane.ANY_LLM))


def asking(**fields: Any) -> dict[str, Any]:
    return {"model": "auto", "input": "hello there", **fields}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("headers", "lane"), WAYS)
async def test_a_call_is_held_for_settled_and_recorded(
    world: World, headers: dict[str, str], lane: Lane, stream: bool
) -> None:
    sidecar = await world.sidecar()
    body = asking(stream=stream, metadata={"app": "desk"}, x_future={"a": 1.50})
    if lane is Lane.ANY_LLM:
        del body["x_future"]
    response = await sidecar.http.post(DOOR, json=body, headers=headers)
    assert response.status_code == 200
    record = await sidecar.record(response)
    (attempt,) = record.attempts
    assert (attempt.lane, attempt.settlement, record.outcome) == (lane, "reported", Outcome.COMPLETE)
    assert 0 < record.cost_nano_usd < attempt.held_nano_usd
    assert record.app == "desk"
    (entry,) = await (world.openai if lane is Lane.RELAY else world.cloud).log()
    asked = msgspec.json.decode(entry.body)
    if lane is Lane.RELAY:
        del body["metadata"]
        assert asked == {**body, "model": "gpt-4o", "max_output_tokens": 1024}
        assert "x_future" in response.text
    assert "metadata" not in asked


@pytest.mark.parametrize(("headers", "lane"), WAYS)
async def test_a_stream_that_breaks_off_ends_in_an_error_event(
    world: World, headers: dict[str, str], lane: Lane
) -> None:
    sidecar = await world.sidecar()
    upstream = world.openai if lane is Lane.RELAY else world.cloud
    await upstream.fault(cut_after=7, cut="fin")
    response = await sidecar.http.post(DOOR, json=asking(stream=True), headers=headers)
    name, data = response.text.rstrip().rsplit("\n\n", 1)[-1].split("\ndata: ")
    told = msgspec.json.decode(data)
    assert (name, told["type"], told["code"]) == ("event: error", "error", "upstream_failed")
    assert told["message"] == told["error"]["message"]
    assert (await sidecar.record(response)).outcome is Outcome.UPSTREAM_FAILED


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
    ],
    ids=str,
)
@pytest.mark.parametrize("headers", [PUBLIC, CRITICAL], ids=["local", "openai"])
async def test_what_is_kept_or_run_elsewhere_is_refused_by_field_and_tier(
    world: World, fields: dict[str, Any], named: str, headers: dict[str, str]
) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(DOOR, json=asking(**fields), headers=headers)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "capability_missing")
    assert error["param"].startswith(named)
    assert f"local_ollama: {named}" in error["message"]
    assert await world.openai.log() == []


async def test_an_answer_that_shall_be_kept_goes_where_it_can_be(world: World) -> None:
    sidecar = await world.sidecar()
    kept = await sidecar.http.post(DOOR, json=asking(store=True), headers=CRITICAL)
    assert kept.headers["x-sidecar-tier"] == "openai"
    refused = await sidecar.http.post(DOOR, json=asking(store=True), headers=PUBLIC)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "store")
