"""The legacy text completions: every prompt is read, bounded and answered, or refused by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.vocabulary import Lane, Outcome
from tests.rig.world import CRITICAL, PUBLIC, World

DOOR = "/v1/completions"
INSTRUCT = "openai/gpt-3.5-turbo-instruct"
#: Put together here so that no scanner of repositories takes it for a real one.
SECRET = "mail anna.miller" + "@gmail.com please"


def asking(prompt: Any, **fields: Any) -> dict[str, Any]:
    return {"model": INSTRUCT, "prompt": prompt, **fields}


async def asked_of(world: World) -> list[dict[str, Any]]:
    return [msgspec.json.decode(entry.body) for entry in await world.openai.log()]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_secret_in_any_prompt_stays_home(world: World, place: int) -> None:
    sidecar = await world.sidecar()
    prompts = ["one", "two", "three"]
    prompts[place] = SECRET
    for body in (asking(prompts), asking("fine", suffix=SECRET)):
        response = await sidecar.http.post(DOOR, json=body, headers=CRITICAL)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "capability_missing")
    assert await world.openai.log() == []
    assert await world.cloud.log() == []
    single = await sidecar.http.post(DOOR, json=asking([SECRET]), headers=CRITICAL)
    assert single.headers["x-sidecar-reason"] == "sensitive_data_local_only"
    assert single.headers["x-sidecar-tier"] == "local_ollama"


async def test_token_ids_are_unknown_to_the_gate(world: World) -> None:
    sidecar = await world.sidecar()
    for prompt in ([1, 2, 3], [[1, 2], [3]]):
        response = await sidecar.http.post(DOOR, json=asking(prompt), headers={})
        assert response.status_code == 400
        assert "token ids" in response.text or "one prompt" in response.text
        told = await sidecar.http.post(DOOR, json=asking(prompt), headers=PUBLIC)
        assert told.headers["x-sidecar-tier"] == "openai"
    assert len(await world.openai.log()) == 2


async def test_prompts_and_choices_multiply_and_are_held_for(world: World) -> None:
    sidecar = await world.sidecar()
    body = asking(["how are you", "and you"], n=2, best_of=3, max_tokens=30, user="u")
    response = await sidecar.http.post(DOOR, json=body, headers=PUBLIC)
    assert [choice["index"] for choice in response.json()["choices"]] == [0, 1, 2, 3]
    assert response.json()["x_future"]
    record = await sidecar.record(response)
    (attempt,) = record.attempts
    assert (attempt.lane, record.outcome, attempt.settlement) == (Lane.RELAY, Outcome.COMPLETE, "reported")
    assert 0 < record.cost_nano_usd < attempt.held_nano_usd
    (asked,) = await asked_of(world)
    assert asked == {**body, "model": "gpt-3.5-turbo-instruct"}


async def test_without_a_limit_a_priced_tier_is_sent_the_documented_one(world: World) -> None:
    sidecar = await world.sidecar()
    await sidecar.http.post(DOOR, json=asking("go on"), headers=PUBLIC)
    await sidecar.http.post(DOOR, json=asking("go on", model="openai/gpt-4o"), headers=PUBLIC)
    relayed, translated = await asked_of(world)
    assert relayed["max_tokens"] == 16
    assert translated["max_completion_tokens"] == 16
    assert translated["messages"] == [{"role": "user", "content": "go on"}]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"prompt": ["one", "two"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"suffix": "the end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"n": 2}, "n"),
        ({"logprobs": 2}, "logprobs"),
    ],
    ids=str,
)
async def test_what_a_chat_has_no_place_for_is_refused_by_field_and_tier(
    world: World, fields: dict[str, Any], named: str
) -> None:
    sidecar = await world.sidecar()
    body = {"model": "auto", "prompt": "go on", **fields}
    response = await sidecar.http.post(DOOR, json=body, headers=PUBLIC)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (400, "capability_missing", named)
    assert f"local_ollama: {named}: " in error["message"]
    record = await sidecar.record(response)
    assert (record.status, record.error_code) == (400, "capability_missing")
