"""Not one byte of a sensitive call leaves the machine: every door, arm, shape and fault."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.core.ports import OutboundCall
from sidecar.core.privacy.gate import MayLeave
from sidecar.core.vocabulary import OPENAI_CHAT, Arm, Verdict, VerdictState
from tests.rig.world import CRITICAL, HIGH, RunningSidecar, World

CALLS = 2_000
#: Stands in every sensitive call, so that it can be looked for everywhere afterwards.
MARKER = "zyqxmarker"

#: Values are put together here so that no scanner of repositories takes them for real ones.
SECRETS = (
    f"mail {MARKER}.miller" + "@gmail.com please",
    f"{MARKER} IBAN DE89 3704 0044 " + "0532 0130 00",
    f"{MARKER} card 4539 5787 " + "6362 1486",
    f"{MARKER} call me at +49 170 " + "4567890",
    f"{MARKER} key sk-proj-" + "a8Fk29dLq0ZmX7bT4vRw1yHs6NcJ3pQe",
    f"My name is Anna Schneider and I was diagnosed with diabetes, {MARKER}",
    f"password: hunter2{MARKER}",
    f"Patient Anna Schneider, born 12.03.1984, {MARKER}, takes metformin",
    f"{MARKER} SSN 536-22-" + "8726",
)


def bodies(secret: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The secret in every place of every door."""
    user = {"role": "user", "content": "Summarise this."}
    tool = {"type": "function", "function": {"name": "f", "description": secret, "parameters": {}}}
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    half = len(secret) // 2
    chats: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": secret}]},
        {"messages": [{"role": "system", "content": secret}, user]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": secret}]}]},
        {"messages": [user, {"role": "assistant", "content": None, "tool_calls": [called]},
                      {"role": "tool", "tool_call_id": "c1", "content": secret}]},
        {"messages": [user], "tools": [tool]},
        {"messages": [user], "user": secret},
        {"messages": [user], "x_future": {"deep": [{"note": secret}]}},
        {"messages": [{"role": "user", "content": [
            {"type": "text", "text": secret[:half]}, {"type": "text", "text": secret[half:]}]}]},
    ]  # fmt: skip
    for chat in chats:
        for model in ("auto", "openai/gpt-4o", "ollama_cloud/gpt-oss:120b"):
            yield "/v1/chat/completions", {"model": model, **chat}
            yield "/v1/chat/completions", {"model": model, "stream": True, **chat}
    for chat in chats[:2]:
        yield "/api/chat", {"model": "auto", **chat}
        yield "/api/chat", {"model": "auto", "stream": False, **chat}
    yield "/api/generate", {"model": "auto", "prompt": secret}
    yield "/api/generate", {"model": "auto", "prompt": "Go on.", "system": secret, "stream": False}
    for model in ("auto", "openai/gpt-3.5-turbo-instruct"):
        yield "/v1/completions", {"model": model, "prompt": secret}
        yield "/v1/completions", {"model": model, "prompt": ["fine", secret], "stream": True}
        yield "/v1/completions", {"model": model, "prompt": "fine", "suffix": secret}
    item = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": secret}
    inputs: list[dict[str, Any]] = [
        {"input": secret},
        {"input": "fine", "instructions": secret},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": secret}]}]},
        {"input": [user, item, output]},
        {"input": [user, {**item, "arguments": secret}, {**output, "output": "fine"}]},
        {"input": "fine", "tools": [{"type": "function", "name": "f", "description": secret}]},
        {"input": "fine", "text": {"format": {"type": "json_schema", "name": "s", "description": secret}}},
    ]
    for given in inputs:
        for model in ("auto", "openai/gpt-4o"):
            yield "/v1/responses", {"model": model, **given}
            yield "/v1/responses", {"model": model, "stream": True, **given}
    block = {"type": "text", "text": secret}
    called = {"type": "tool_use", "id": "t1", "name": "f", "input": {"note": secret}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [block]}
    messages: list[dict[str, Any]] = [
        {"messages": [{"role": "user", "content": secret}]},
        {"messages": [user], "system": [block]},
        {
            "messages": [
                user,
                {"role": "assistant", "content": [called]},
                {"role": "user", "content": [result]},
            ]
        },
        {"messages": [user], "tools": [{"name": "f", "description": secret, "input_schema": {}}]},
        {"messages": [user], "metadata": {"user_id": secret}},
    ]
    for message in messages:
        for model in ("auto", "openai/gpt-4o"):
            yield "/v1/messages", {"model": model, "max_tokens": 30, "stream": True, **message}
            yield "/v1/messages/count_tokens", {"model": model, **message}
    yield "/v1/embeddings", {"model": "openai/text-embedding-3-small", "input": [secret, "other"]}
    yield "/api/embed", {"model": "auto", "input": secret}
    yield "/api/embeddings", {"model": "auto", "prompt": secret}


HEADERS: tuple[dict[str, str], ...] = (
    {},
    CRITICAL,
    HIGH,
    {"x-sidecar-data-classification": "internal", "x-sidecar-batch-size": "50"},
    {"x-sidecar-data-classification": "pii"},
)
FAULTS: tuple[dict[str, Any], ...] = (
    {},
    {"status": 500, "share": 0.5},
    {"status": 429, "retry_after": 1, "share": 0.5},
    {"close": True, "share": 0.5},
    {"cut_after": 2, "share": 0.5},
    {"body": "garbage", "share": 0.5},
)


async def storm(sidecar: RunningSidecar, calls: list[tuple[str, dict[str, Any], dict[str, str]]]) -> set[int]:
    statuses: set[int] = set()
    waiting = iter(calls)

    async def work(client: aiohttp.ClientSession) -> None:
        for path, body, headers in waiting:
            async with client.post(sidecar.base + path, json=body, headers=headers) as response:
                answer = await response.text()
                # The legacy arm hands on whatever its upstream answers.
                legacy = response.headers.get("x-sidecar-arm") == "legacy"
                status = response.status
                if status == 200 and body.get("stream", True) and '"error"' in answer:
                    status = 503  # on a busy machine it had been kept alive before it failed
                if not (legacy and status in (429, 500)):
                    statuses.add(status)
                if response.status >= 400:
                    assert MARKER not in answer
                tier = response.headers.get("x-sidecar-tier", "local_ollama")
                assert tier == "local_ollama", (path, body, headers)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(work(client) for _ in range(12)))
    return statuses


@pytest.mark.timeout(300)
async def test_nothing_sensitive_arrives_off_box(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, world.openai.url)
    shapes = [
        (path, body, headers)
        for secret in SECRETS
        for (path, body), headers in itertools.product(bodies(secret), HEADERS)
    ]
    chosen = random.Random(11).sample(shapes, CALLS)
    sidecars = [
        await world.sidecar({"rollout": {"percent": percent, "legacy": {"tier": legacy}}, **routing})
        for percent, legacy, routing in (
            (100, "local_ollama", {}),
            (50, "openai", {"routing": {"escalate_when_local_down": True}}),
            (0, "openai", {"routing": {"escalate_when_local_down": True}}),
            (30, "ollama_cloud", {}),
        )
    ]
    rounds = list(itertools.product(sidecars, FAULTS))
    share = CALLS // len(rounds) + 1
    for number, (sidecar, fault) in enumerate(rounds):
        for upstream in (world.local, world.cloud, world.openai):
            await upstream.heal()
            if fault:
                await upstream.fault(**fault)
        statuses = await storm(sidecar, chosen[number * share : (number + 1) * share])
        assert statuses <= {200, 400, 404, 503}, statuses
    # The local upstream sends callers elsewhere: nobody follows.
    await world.local.heal()
    await world.local.fault(redirect=world.openai.url + "/v1/chat/completions")
    assert {503} <= await storm(sidecars[0], chosen[:60]) <= {400, 503}

    for upstream in (world.cloud, world.openai):
        assert [entry.path for entry in await upstream.log()] == []
    assert MARKER not in caplog.text
    for sidecar in sidecars:
        await sidecar.sidecar.services.log.flush()
        for name in ("sidecar.sqlite", "sidecar.sqlite-wal", "ledger.sqlite", "ledger.sqlite-wal"):
            file = Path(sidecar.config["data_dir"]) / name
            assert not file.exists() or MARKER.encode() not in file.read_bytes(), name


async def test_the_same_harness_sees_calls_that_may_leave(world: World) -> None:
    """What makes the test above mean something: clean calls do arrive off-box, through the same doors."""
    sidecar = await world.sidecar({"rollout": {"percent": 100}})
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is a B-tree?"}]}
    assert (await sidecar.http.post("/v1/chat/completions", json=body, headers=CRITICAL)).status_code == 200
    assert (await sidecar.http.post("/api/chat", json=body, headers=HIGH)).status_code == 200
    assert len(await world.openai.log()) == len(await world.cloud.log()) == 1


async def test_an_off_box_upstream_acts_on_its_own_permit_only(world: World) -> None:
    sidecar = await world.sidecar()
    in_force = sidecar.sidecar.current
    body = {"model": "auto", "messages": [{"role": "user", "content": "What is a B-tree?"}]}
    await sidecar.http.post("/v1/chat/completions", json=body, headers=CRITICAL)
    upstream = in_force.upstreams["openai"]
    foreign = in_force.gate.judge("another call", ["What is a B-tree?"], None).permit
    assert foreign is not None
    call = OutboundCall("this call", OPENAI_CHAT, Arm.ROUTED, b"{}", {}, "gpt-4o", False)
    for permit in (None, object(), Verdict(VerdictState.CLEAN), foreign):
        with pytest.raises(PermissionError):
            await upstream.attempt(call, permit)  # type: ignore[arg-type, call-arg]
    with pytest.raises(PermissionError):
        MayLeave(object(), "this call", Verdict(VerdictState.CLEAN))
    assert len(await world.openai.log()) == 1


async def test_no_free_text_in_a_header_arrives_off_box(world: World) -> None:
    names = ("user-agent", "accept", "openai-beta", "anthropic-beta", "anthropic-version", "referer", "from")
    sidecar = await world.sidecar()
    headers = {
        **CRITICAL,
        **dict.fromkeys(names, f"{MARKER}@gmail.com"),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": f"k={MARKER}@gmail.com",
    }
    for model in ("openai/gpt-4o", "ollama_cloud/gpt-oss:120b"):
        body = {"model": model, "messages": [{"role": "user", "content": "Summarise the plan."}]}
        response = await sidecar.http.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 200
    log = [*await world.openai.log(), *await world.cloud.log()]
    assert len(log) == 2
    assert MARKER not in str([entry.headers for entry in log])
