"""What a caller is told when a call goes wrong: who answered, who was tried before, what it cost."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.rig.upstream import RefusedPort
from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

ABOVE = "calls go up to it only if routing.escalate_when_local_down is true"


def told(response: httpx.Response) -> dict[str, str | None]:
    return {
        name: response.headers.get(f"x-sidecar-{name}") for name in ("tier", "model", "fallback", "cost-usd")
    }


async def replays(sidecar: RunningSidecar, response: httpx.Response) -> bool:
    record = await sidecar.record(response)
    return await sidecar.sidecar.services.search.replay(record.request_id) == record.decision


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 404, 422])
async def test_who_rejected_the_call_is_named_as_who_answered_it(
    world: World, status: int, stream: bool
) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=status)
    response = await sidecar.http.post(CHAT, json=chat(stream=stream), headers=CRITICAL)
    assert response.status_code == status
    assert told(response) == {"tier": "openai", "model": "gpt-4o", "fallback": None, "cost-usd": "0.00"}
    record = await sidecar.record()
    assert (record.tier, record.model) == ("openai", "gpt-4o")


async def test_the_fallback_names_those_before_and_the_cost_is_all_of_theirs(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=500)
    await world.cloud.fault(status=404)
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.status_code == 404
    facts = told(response)
    assert (facts["tier"], facts["model"], facts["fallback"]) == ("ollama_cloud", "gpt-oss:120b", "openai")
    # What OpenAI billed for its failure is not known, so that the whole hold is posted.
    assert float(facts["cost-usd"] or 0) == (await sidecar.record()).cost_nano_usd / 1e9 > 0


async def test_a_tier_that_was_tried_twice_is_no_fallback_of_itself(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"local_ollama": {"retry": {"max": 1, "wait_s": 0.01}}}})
    await world.local.fault(status=500, times=1)
    body = {**chat(stream=True)}
    response = await sidecar.http.post(CHAT, json=body, headers={**PUBLIC, "x-sidecar-summary": "true"})
    assert '"fallback":[]' in response.text
    assert told(response)["fallback"] is None


async def test_a_call_that_is_not_well_formed_has_cost_nothing(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(), headers={"x-sidecar-quality": "best"})
    assert (response.status_code, told(response)["cost-usd"]) == (400, "0.00")


async def test_when_nobody_answers_every_tier_is_named_with_its_reason(
    world: World, refused_port: RefusedPort
) -> None:
    sidecar = await world.sidecar(
        {"tiers": {"local_ollama": {"base_url": refused_port.url}, "ollama_cloud": {"api_key": ""}}}
    )
    response = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "no_tier_available")
    words = response.json()["error"]["message"]
    assert "local_ollama: attempt_failed (" in words
    assert "ollama_cloud: tier_off (no api_key is configured)" in words
    assert f"openai: not_permitted_to_leave ({ABOVE})" in words
    assert told(response) == {"tier": None, "model": None, "fallback": "local_ollama", "cost-usd": "0.00"}
    shown = await sidecar.admin("GET", f"/decisions/{(await sidecar.record()).request_id}")
    assert [(one["tier"], one["reason"]) for one in shown["passed_over"]] == [
        ("ollama_cloud", "tier_off"),
        ("openai", "not_permitted_to_leave"),
    ]
    assert await replays(sidecar, response)
    page = await _story(sidecar, response)
    assert "OpenAI was not to be asked" in page


async def test_a_decision_without_a_plan_has_every_tier_among_the_rejected(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"ollama_cloud": {"api_key": ""}}})
    await sidecar.admin("PUT", "/tiers/local_ollama", {"in_service": False, "reason": "moved"})
    response = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert response.json()["error"]["code"] == "no_tier_available"
    shown: dict[str, Any] = await sidecar.admin("GET", f"/decisions/{(await sidecar.record()).request_id}")
    rejected = {one["tier"]: (one["reason"], one["detail"]) for one in shown["decision"]["rejected"]}
    assert rejected["ollama_cloud"] == ("tier_off", "no api_key is configured")
    assert rejected["openai"] == ("not_permitted_to_leave", ABOVE)
    assert rejected["local_ollama"][0] == "tier_off"
    for tier, (reason, detail) in rejected.items():
        assert f"{tier}: {reason} ({detail})" in response.json()["error"]["message"]
    assert f"ollama_cloud: no api_key is configured; openai: {ABOVE}" in shown["trace"][-1]["detail"]
    assert await replays(sidecar, response)
    assert "OpenAI was not to be asked" in await _story(sidecar, response)


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
async def test_a_stream_that_breaks_off_is_recorded_with_who_delivered_it(world: World, path: str) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(cut_after=5, cut="reset")
    response = await sidecar.http.post(path, json=chat(stream=True), headers=CRITICAL)
    assert told(response)["cost-usd"] is None
    record = await sidecar.record()
    assert (record.error_code, record.tier, record.model) == ("upstream_failed", "openai", "gpt-4o")
    assert [attempt.fault for attempt in record.attempts] != [""]


async def _story(sidecar: RunningSidecar, response: httpx.Response) -> str:
    await sidecar.http.post("/dashboard/login", data={"token": sidecar.sidecar.services.admin_token})
    request_id = response.headers["x-sidecar-request-id"]
    return (await sidecar.http.get(f"/dashboard/decisions/{request_id}")).text
