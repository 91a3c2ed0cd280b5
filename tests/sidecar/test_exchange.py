"""Calls through a whole sidecar over real sockets: who answers, what goes upstream, what comes back."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from sidecar.core.vocabulary import Arm, Lane, Outcome
from tests.rig.upstream import RefusedPort
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."
BATCH = {**PUBLIC, "x-sidecar-batch-size": "11"}


async def test_a_call_with_personal_data_stays_here(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(PERSONAL), headers={"x-sidecar-quality": "critical"})
    assert response.status_code == 200
    assert response.headers["x-sidecar-tier"] == "local_ollama"
    assert response.headers["x-sidecar-model"] == "llama3.2"
    assert response.headers["x-sidecar-reason"] == "sensitive_data_local_only"
    assert response.headers["x-sidecar-arm"] == "routed"
    assert response.headers["x-sidecar-cost-usd"] == "0.00"
    assert "x-sidecar-fallback" not in response.headers
    assert (await world.local.log())[0].path == "/api/chat"


@pytest.mark.parametrize(
    ("headers", "tier", "model", "reason", "path"),
    [
        (PUBLIC, "local_ollama", "llama3.2", "default_local", "/api/chat"),
        (CRITICAL, "openai", "gpt-4o", "critical_quality", "/v1/chat/completions"),
        (HIGH, "ollama_cloud", "gpt-oss:120b", "high_quality", "/api/chat"),
        (
            {**PUBLIC, "x-sidecar-batch-size": "11"},
            "ollama_cloud",
            "gpt-oss:120b",
            "batch_processing",
            "/api/chat",
        ),
        (
            {**CRITICAL, "x-sidecar-data-classification": "pii"},
            "local_ollama",
            "llama3.2",
            "sensitive_data_local_only",
            "/api/chat",
        ),
    ],
)
async def test_the_right_tier_answers(
    world: World, headers: dict[str, str], tier: str, model: str, reason: str, path: str
) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(), headers=headers)
    assert response.status_code == 200, response.text
    told = {name: response.headers[f"x-sidecar-{name}"] for name in ("tier", "model", "reason")}
    assert told == {"tier": tier, "model": model, "reason": reason}
    upstream = {"local_ollama": world.local, "ollama_cloud": world.cloud, "openai": world.openai}[tier]
    (entry,) = await upstream.log()
    assert entry.path == path
    assert json.loads(entry.body)["model"] == model
    record = await sidecar.record(response)
    assert (record.tier, record.model, record.decision.reason) == (tier, model, reason)
    assert record.outcome is Outcome.COMPLETE
    assert record.usage is not None
    assert record.usage.output_tokens == response.json()["usage"]["completion_tokens"]


async def test_hints_in_the_metadata_count_and_do_not_go_on(world: World) -> None:
    sidecar = await world.sidecar()
    metadata = {"quality": "critical", "data-classification": "public", "mine": "kept"}
    response = await sidecar.http.post(CHAT, json=chat(metadata=metadata))
    assert response.headers["x-sidecar-tier"] == "openai"
    (entry,) = await world.openai.log()
    assert json.loads(entry.body)["metadata"] == {"mine": "kept"}
    assert not any(name.lower().startswith("x-sidecar") for name, _ in entry.headers)


async def test_a_bad_hint_is_refused_with_the_good_ones(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(), headers={"x-sidecar-quality": "best"})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, "invalid_hint")
    assert "low, medium, high, critical" in error["message"]
    assert response.headers["x-sidecar-request-id"]
    assert not await world.local.log()


async def test_a_pin_names_tier_and_model(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(model="openai/gpt-4o-mini"), headers=PUBLIC)
    assert response.headers["x-sidecar-reason"] == "pinned"
    assert json.loads((await world.openai.log())[0].body)["model"] == "gpt-4o-mini"
    pinned = await sidecar.http.post(CHAT, json=chat(PERSONAL, model="openai/gpt-4o-mini"))
    assert pinned.headers["x-sidecar-tier"] == "local_ollama"
    assert json.loads((await world.local.log())[0].body)["model"] == "llama3.2"


@pytest.mark.parametrize(
    ("model", "sent"),
    [("bge-m3", "bge-m3"), ("local_ollama/bge-m3", "bge-m3"), ("auto", "nomic-embed-text")],
)
async def test_an_embedding_model_is_never_swapped(world: World, model: str, sent: str) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(
        "/v1/embeddings", json={"model": model, "input": ["a", "b"]}, headers=PUBLIC
    )
    assert response.headers["x-sidecar-reason"] == "embedding_local_only"
    assert len(response.json()["data"]) == 2
    assert json.loads((await world.local.log())[0].body)["model"] == sent


async def test_the_legacy_arm_relays_untouched(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    body = b'{ "model":"scripted-small", "messages":[{"role":"user","content":"hi"}],\n"x_future":{"n":1.0} }'
    response = await sidecar.http.post(CHAT, content=body, headers={**CRITICAL, "user-agent": "app/1"})
    assert response.headers["x-sidecar-arm"] == "legacy"
    assert response.headers["x-sidecar-reason"] == "rollout_legacy"
    (entry,) = await world.local.log()
    assert (entry.path, entry.body.encode()) == (CHAT, body)
    assert response.content.decode() == entry.answer
    assert dict(entry.headers)["User-Agent"] == "app/1"
    assert (await sidecar.record()).attempts[0].lane is Lane.RELAY


async def test_unknown_fields_survive_both_ways_on_the_relay_lane(world: World) -> None:
    sidecar = await world.sidecar()
    body = (
        b'{\n "model" : "auto", "messages":[{"role":"user","content":"caf\\u00e9"}],'
        b'  "max_tokens": 50, "x_future": {"big": 123456789012345678901234567890, "e": 1E5} }'
    )
    response = await sidecar.http.post(CHAT, content=body, headers=CRITICAL)
    (entry,) = await world.openai.log()
    assert entry.body.encode() == body.replace(b'"auto"', b'"gpt-4o"')
    assert response.content.decode() == entry.answer
    assert "x_future" in response.json()


async def test_a_stream_is_relayed_byte_for_byte_without_the_usage_nobody_asked_for(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(stream=True, max_tokens=30), headers=CRITICAL)
    assert response.headers["content-type"].startswith("text/event-stream")
    (entry,) = await world.openai.log()
    assert json.loads(entry.body)["stream_options"] == {"include_usage": True}
    events = entry.answer.split("\n\n")
    usage_events = [event for event in events if '"choices":[]' in event.replace(" ", "")]
    assert len(usage_events) == 1
    assert response.text == entry.answer.replace(usage_events[0] + "\n\n", "")
    record = await sidecar.record(response)
    assert record.outcome is Outcome.COMPLETE
    assert record.usage is not None
    assert record.cost_nano_usd == (record.usage.input_tokens + record.usage.output_tokens) * 15_000
    asked = chat(stream=True, max_tokens=30, stream_options={"include_usage": True})
    response = await sidecar.http.post(CHAT, json=asked, headers=CRITICAL)
    assert response.text == (await world.openai.log())[1].answer


async def test_the_output_limit_is_always_sent_to_a_priced_tier(world: World) -> None:
    sidecar = await world.sidecar()
    await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    await sidecar.http.post("/api/chat", json=chat(stream=False), headers=HIGH)
    assert json.loads((await world.openai.log())[0].body)["max_completion_tokens"] == 1024
    assert json.loads((await world.cloud.log())[0].body)["options"]["num_predict"] == 1024


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"status": 503},
        {"status": 429, "retry_after": 7},
        {"status": 401},
        {"close": True},
        {"body": "garbage"},
        {"body": "html"},
        {"body": "empty"},
        {"truncate": True},
        {"redirect": "http://127.0.0.1:9/elsewhere"},
        {"delay_s": 5.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_tier_is_followed_by_the_next(
    world: World, fault: dict[str, object], stream: bool
) -> None:
    if stream and "truncate" in fault:
        fault = {"cut_after": 0}  # a stream announces no length that could be cut short
    sidecar = await world.sidecar({"tiers": {"openai": {"timeouts": {"first_byte_s": 0.4}}}})
    await world.openai.fault(**fault)  # type: ignore[arg-type]
    response = await sidecar.http.post(CHAT, json=chat(stream=stream), headers=CRITICAL)
    assert response.status_code == 200, response.text
    assert response.headers["x-sidecar-tier"] == "ollama_cloud"
    assert response.headers["x-sidecar-fallback"] == "openai"
    assert response.headers["x-sidecar-reason"] == "critical_quality"
    record = await sidecar.record(response)
    assert [attempt.tier for attempt in record.attempts] == ["openai", "ollama_cloud"]
    assert record.attempts[0].fault
    assert record.tier == "ollama_cloud"


async def test_a_refused_connection_is_followed_by_the_next(world: World, refused_port: RefusedPort) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"base_url": f"{refused_port.url}/v1"}}})
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.headers["x-sidecar-fallback"] == "openai"
    assert (await sidecar.record()).attempts[0].fault == "refused"


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_what_the_upstream_rejects_is_told_in_its_words(world: World, status: int) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(status=status)
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.status_code == status
    assert response.text == (await world.openai.log())[0].answer
    assert not await world.cloud.log()
    record = await sidecar.record()
    assert (record.status, record.cost_nano_usd) == (status, 0)


async def test_words_of_another_dialect_are_put_into_the_callers(world: World) -> None:
    sidecar = await world.sidecar()
    await world.local.fault(status=404)
    response = await sidecar.http.post("/v1/embeddings", json={"model": "nope", "input": "x"})
    assert response.status_code == 404
    assert isinstance(response.json()["error"]["message"], str)


async def test_nothing_leaves_to_be_helpful_when_local_is_down(
    world: World, refused_port: RefusedPort
) -> None:
    sidecar = await world.sidecar({"tiers": {"local_ollama": {"base_url": refused_port.url}}})
    kept = await sidecar.http.post(CHAT, json=chat(PERSONAL))
    assert (kept.status_code, kept.json()["error"]["code"]) == (503, "sensitive_and_local_down")
    free = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert (free.status_code, free.json()["error"]["code"]) == (503, "no_tier_available")
    assert "local_ollama: attempt_failed" in free.json()["error"]["message"]
    ollama = await sidecar.http.post("/api/chat", json=chat(PERSONAL))
    assert set(ollama.json()) == {"error"}
    assert not await world.cloud.log()
    assert not await world.openai.log()
    records = await sidecar.records()
    assert [record.error_code for record in records] == [
        "sensitive_and_local_down", "no_tier_available", "sensitive_and_local_down"
    ]  # fmt: skip


async def test_escalation_happens_only_when_the_operator_allows_it(
    world: World, refused_port: RefusedPort
) -> None:
    sidecar = await world.sidecar(
        {
            "tiers": {"local_ollama": {"base_url": refused_port.url}},
            "routing": {"escalate_when_local_down": True},
        }
    )
    response = await sidecar.http.post(CHAT, json=chat(), headers=PUBLIC)
    assert response.headers["x-sidecar-tier"] == "ollama_cloud"
    assert (await sidecar.http.post(CHAT, json=chat(PERSONAL))).status_code == 503


@pytest.mark.parametrize("cut", ["reset", "fin", "end"])
@pytest.mark.parametrize("door", [CHAT, "/api/chat"])
async def test_a_stream_that_breaks_never_looks_complete(world: World, cut: str, door: str) -> None:
    sidecar = await world.sidecar()
    upstream, headers = (world.openai, CRITICAL) if door == CHAT else (world.cloud, HIGH)
    await upstream.fault(cut_after=5, cut=cut)
    response = await sidecar.http.post(door, json=chat(stream=True), headers=headers)
    assert response.status_code == 200
    last = response.text.strip().split("\n")[-1].removeprefix("data: ")
    assert "error" in json.loads(last), response.text
    assert "[DONE]" not in response.text
    record = await sidecar.record()
    assert (record.outcome, record.error_code) == (Outcome.UPSTREAM_FAILED, "upstream_failed")


async def test_an_upstreams_own_error_event_is_relayed_once(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(error_after=3, drip_s=0.05)
    response = await sidecar.http.post(CHAT, json=chat(stream=True), headers=CRITICAL)
    assert response.text.count('"error"') == 1
    assert (await sidecar.record()).outcome is Outcome.UPSTREAM_FAILED


@pytest.mark.parametrize("door", [CHAT, "/api/chat"])
async def test_a_client_that_leaves_stops_the_upstream(world: World, door: str) -> None:
    sidecar = await world.sidecar()
    upstream, headers = (world.openai, CRITICAL) if door == CHAT else (world.local, PUBLIC)
    await upstream.fault(endless=True, drip_s=0.01)
    body = chat(stream=True)
    async with sidecar.http.stream("POST", door, json=body, headers=headers) as response:
        async for _ in response.aiter_raw():
            break
    (entry,) = await upstream.log()
    assert entry.client_left
    for _ in range(100):
        if records := await sidecar.records():
            break
        await asyncio.sleep(0.02)
    assert [record.outcome for record in records] == [Outcome.CLIENT_LEFT]


async def test_a_client_that_leaves_before_the_answer_is_recorded_too(world: World) -> None:
    sidecar = await world.sidecar()
    await world.openai.fault(delay_s=30.0)
    with pytest.raises(httpx.ReadTimeout):
        await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL, timeout=httpx.Timeout(30, read=0.3))
    for _ in range(100):
        if records := await sidecar.records():
            break
        await asyncio.sleep(0.02)
    assert [record.outcome for record in records] == [Outcome.CLIENT_LEFT]
    assert [attempt.tier for attempt in records[0].attempts] == ["openai"]


async def test_keys_go_to_their_own_tier_only(world: World) -> None:
    sidecar = await world.sidecar()
    mine = {"authorization": "Bearer app-secret", "cookie": "a=b", "x-user-email": "jane@corp.test"}
    for headers in (PUBLIC, CRITICAL, HIGH):
        await sidecar.http.post(CHAT, json=chat(), headers={**headers, **mine})
    seen = {}
    for name, upstream in (("local", world.local), ("cloud", world.cloud), ("openai", world.openai)):
        (entry,) = await upstream.log()
        sent = {key.lower(): value for key, value in entry.headers}
        seen[name] = sent.get("authorization")
        assert "app-secret" not in str(sent)
        assert not {"cookie", "x-user-email"} & set(sent)
        assert sent["traceparent"].startswith("00-")
    assert seen == {"local": None, "cloud": "Bearer cloud-key", "openai": "Bearer openai-key"}


async def test_the_callers_trace_goes_on(world: World) -> None:
    sidecar = await world.sidecar()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {**CRITICAL, "traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "v=1"}
    response = await sidecar.http.post(CHAT, json=chat(), headers=headers)
    assert response.headers["x-sidecar-trace-id"] == trace
    sent = {name.lower(): value for name, value in (await world.openai.log())[0].headers}
    assert sent["traceparent"].startswith(f"00-{trace}-")
    assert not sent["traceparent"].startswith(f"00-{trace}-00f067aa0ba902b7")
    assert sent["tracestate"] == "v=1"


async def test_tiers_without_a_key_are_off_and_calls_go_on(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"api_key": ""}, "ollama_cloud": {"api_key": ""}}})
    response = await sidecar.http.post(CHAT, json=chat(), headers=CRITICAL)
    assert response.headers["x-sidecar-tier"] == "local_ollama"
    rejected = {tier.tier: tier.reason for tier in (await sidecar.record()).decision.rejected}
    assert rejected == {"openai": "tier_off", "ollama_cloud": "tier_off"}
    tiers = {tier["name"]: tier for tier in (await sidecar.admin("GET", "/tiers"))["tiers"]}
    assert [tiers[name]["on"] for name in ("local_ollama", "ollama_cloud", "openai")] == [True, False, False]
    assert "api_key" in tiers["openai"]["why"]


async def test_sessions_stick_to_their_arm(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 50}})
    arms: dict[str, set[str]] = {}
    for _ in range(3):
        for number in range(12):
            headers = {"x-sidecar-session": f"s{number}"}
            response = await sidecar.http.post(
                "/api/chat", json=chat(stream=False, model="x"), headers=headers
            )
            arms.setdefault(f"s{number}", set()).add(response.headers["x-sidecar-arm"])
    assert all(len(seen) == 1 for seen in arms.values())
    assert set.union(*arms.values()) == {Arm.LEGACY, Arm.ROUTED}


async def test_a_recorded_decision_replays(world: World) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 50}})
    for headers in (PUBLIC, CRITICAL, HIGH, {}):
        for _ in range(4):
            await sidecar.http.post(CHAT, json=chat(), headers=headers)
    for record in await sidecar.records():
        assert await sidecar.sidecar.services.search.replay(record.request_id) == record.decision
