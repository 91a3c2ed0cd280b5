"""Tasks are sent with their hints, and answers say who gave them, why and at what cost."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from sidecar.client import (
    AegisLLMProxy,
    Complexity,
    DataClassification,
    EmbeddingResponse,
    LLMResponse,
    LLMTask,
    QualityRequirement,
    TaskType,
    get_aegis_llm_proxy,
)
from sidecar.core.vocabulary import Outcome
from tests.clients.ways import echo
from tests.rig.upstream import StartUpstream
from tests.rig.world import RunningSidecar, World

QUESTION = "What is RAG?"
SIMPLE = LLMTask(task_type=TaskType.GENERATION, prompt=QUESTION)
CRITICAL = LLMTask(prompt=QUESTION, quality="critical", data_classification="public", max_tokens=40)

#: Does a task in one of the four manners and gives the response.
Ask = Callable[[AegisLLMProxy, LLMTask], Awaitable[LLMResponse]]


async def whole(proxy: AegisLLMProxy, task: LLMTask) -> LLMResponse:
    return await proxy.generate(task)


async def whole_sync(proxy: AegisLLMProxy, task: LLMTask) -> LLMResponse:
    return await asyncio.to_thread(proxy.generate_sync, task)


async def streamed(proxy: AegisLLMProxy, task: LLMTask) -> LLMResponse:
    async with proxy.generate_stream(task) as stream:
        pieces = [piece async for piece in stream]
    assert "".join(pieces) == stream.response.content
    return stream.response


async def streamed_sync(proxy: AegisLLMProxy, task: LLMTask) -> LLMResponse:
    def read() -> LLMResponse:
        with proxy.generate_stream_sync(task) as stream:
            assert "".join(stream) == stream.response.content
        return stream.response

    return await asyncio.to_thread(read)


manners = pytest.mark.parametrize("ask", [whole, whole_sync, streamed, streamed_sync])


@manners
async def test_a_simple_task_is_done_at_home_for_nothing(
    sidecar: RunningSidecar, proxy: AegisLLMProxy, ask: Ask
) -> None:
    response = await ask(proxy, SIMPLE)
    record = await sidecar.record()
    assert (response.provider, response.model) == ("local_ollama", "llama3.2")
    assert (response.content, response.finish_reason) == (echo(QUESTION), "stop")
    assert (response.cost_usd, str(response.cost_usd)) == (Decimal(0), "0.0")
    assert (response.routing_reason, response.arm) == ("default_local", "routed")
    assert (response.fallback_used, response.fallback_tiers) == (False, ())
    assert (response.request_id, response.trace_id) == (record.request_id, record.trace_id)
    assert record.usage is not None
    assert (response.input_tokens, response.output_tokens) == (
        record.usage.input_tokens,
        record.usage.output_tokens,
    )
    assert response.total_tokens == response.input_tokens + response.output_tokens > 10
    assert response.latency_ms > 0
    assert record.app == "tests"


async def test_the_quick_start_works_before_anything_is_rolled_out(
    world: World, scripted_upstream: StartUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The legacy arm, in which a fresh installation has nine of ten calls; its Ollama knows one model."""
    ollama = await scripted_upstream(name="ollama", models="llama3.2")
    sidecar = await world.sidecar(
        {"tiers": {"local_ollama": {"base_url": ollama.url}}, "rollout": {"percent": 0}}
    )
    monkeypatch.setenv("AEGIS_SIDECAR_URL", sidecar.base)
    proxy = get_aegis_llm_proxy()
    response = await proxy.generate(LLMTask(task_type=TaskType.GENERATION, prompt=QUESTION))
    await proxy.aclose()
    assert (response.provider, response.model, response.arm) == ("local_ollama", "llama3.2", "legacy")
    assert (response.content, str(response.cost_usd)) == (echo(QUESTION), "0.0")


@manners
async def test_a_paid_answer_tells_its_exact_cost_and_who_was_tried_before(
    world: World, sidecar: RunningSidecar, proxy: AegisLLMProxy, ask: Ask
) -> None:
    response = await ask(proxy, CRITICAL)
    assert (response.provider, response.routing_reason) == ("openai", "critical_quality")
    assert response.cost_usd == Decimal(response.total_tokens) * Decimal("0.000015") > 0
    assert not response.fallback_used
    await world.openai.fault(status=500)
    second = await ask(proxy, CRITICAL)
    assert (second.provider, second.routing_reason) == ("ollama_cloud", "critical_quality")
    assert (second.fallback_used, second.fallback_tiers) == (True, ("openai",))
    costs = [Decimal(record.cost_nano_usd).scaleb(-9) for record in await sidecar.records()]
    assert [response.cost_usd, second.cost_usd] == costs


async def test_every_hint_arrives(sidecar: RunningSidecar, proxy: AegisLLMProxy) -> None:
    task = LLMTask(
        task_type=TaskType.SUMMARIZATION,
        prompt=QUESTION,
        data_classification=DataClassification.INTERNAL,
        quality_requirement=QualityRequirement.HIGH,
        complexity=Complexity.VERY_HIGH,
        batch_size=7,
        session="user-42",
        app="support-bot",
    )
    await proxy.generate(task)
    hints = (await sidecar.record()).features.hints
    assert (hints.task_type, hints.data_classification) == ("summarization", "internal")
    assert (hints.quality, hints.complexity, hints.batch_size) == ("high", "very_high", 7)
    assert (hints.session, hints.app) == ("user-42", "support-bot")
    assert set(hints.sources.values()) == {"header"}


async def test_names_in_any_script_arrive_and_go_no_further(
    world: World, sidecar: RunningSidecar, proxy: AegisLLMProxy
) -> None:
    task = dataclasses.replace(SIMPLE, app="библиотека", session="köln-7", metadata={"page": "12"})
    await proxy.generate(task)
    hints = (await sidecar.record()).features.hints
    assert (hints.app, hints.session) == ("библиотека", "köln-7")
    (entry,) = await world.local.log()
    assert json.loads(entry.body).get("metadata", {}).keys() <= {"page"}


async def test_the_call_says_what_the_task_says(world: World, proxy: AegisLLMProxy) -> None:
    await proxy.generate(
        LLMTask(
            system="Be brief.",
            messages=[{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}],
            model="openai/gpt-4o",
            data_classification="public",
            max_tokens=5,
            temperature=0.25,
            extra_body={"stop": ["\n"]},
        )
    )
    await proxy.generate(
        LLMTask(prompt="three", system="Be brief.", data_classification="public", quality="critical")
    )
    first, second = [json.loads(entry.body) for entry in await world.openai.log()]
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
    ]
    assert (first["max_tokens"], first["temperature"], first["stop"]) == (5, 0.25, ["\n"])
    assert second["messages"][-1] == {"role": "user", "content": "three"}
    assert "temperature" not in second


@manners
async def test_tool_calls_come_whole(proxy: AegisLLMProxy, ask: Ask) -> None:
    parameters = {"type": "object", "properties": {"item": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "loan_days", "parameters": parameters}}
    response = await ask(proxy, LLMTask(prompt=QUESTION, extra_body={"tools": [tool]}))
    (call,) = response.tool_calls
    assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "loan_days",
        {"item": "scripted"},
    )
    assert (call["type"], bool(call["id"])) == ("function", True)
    assert (response.finish_reason, response.content) == ("tool_calls", "")


async def test_embeddings(world: World, sidecar: RunningSidecar, proxy: AegisLLMProxy) -> None:
    def same(response: EmbeddingResponse) -> EmbeddingResponse:
        assert (response.provider, response.routing_reason) == ("local_ollama", "embedding_local_only")
        assert [len(vector) for vector in response.vectors] == [256] * len(response.vectors)
        assert (response.cost_usd, response.output_tokens) == (Decimal(0), 0)
        return response

    many = same(await proxy.embed(["one", "two"], data_classification=DataClassification.PUBLIC))
    one = same(await asyncio.to_thread(proxy.embed_sync, "one", model="bge-m3"))
    assert (many.model, one.model) == ("nomic-embed-text", "bge-m3")
    assert [json.loads(entry.body)["input"] for entry in await world.local.log()] == [["one", "two"], ["one"]]
    assert {record.app for record in await sidecar.records()} == {"tests"}


async def test_a_stream_begins_when_it_is_read_and_may_be_left(
    world: World, sidecar: RunningSidecar, proxy: AegisLLMProxy
) -> None:
    await world.local.fault(drip_s=0.05)
    never_read = proxy.generate_stream(SIMPLE)
    async with proxy.generate_stream(SIMPLE) as stream:
        assert await anext(stream)
        with pytest.raises(RuntimeError, match="has not ended"):
            _ = stream.response
    await never_read.aclose()
    totals = await world.local.totals()
    assert (totals.requests, totals.clients_left) == (1, 1)
    assert (await sidecar.record()).outcome is Outcome.CLIENT_LEFT


async def test_connections_are_used_again(sidecar: RunningSidecar, proxy: AegisLLMProxy) -> None:
    before = len(sidecar.server.server_state.connections)
    for _ in range(3):
        await proxy.generate(SIMPLE)
        await streamed(proxy, SIMPLE)
        await proxy.embed("one")
    assert len(sidecar.server.server_state.connections) == before + 1
    await asyncio.gather(*(proxy.generate(SIMPLE) for _ in range(5)))


async def test_one_proxy_serves_many_loops_and_threads(sidecar: RunningSidecar, proxy: AegisLLMProxy) -> None:
    answers: list[LLMResponse] = []

    def work() -> None:
        answers.extend(asyncio.run(proxy.generate(SIMPLE)) for _ in range(2))
        answers.append(proxy.generate_sync(SIMPLE))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert [answer.content for answer in answers] == [echo(QUESTION)] * 9


async def test_a_closed_proxy_opens_again(proxy: AegisLLMProxy) -> None:
    await proxy.generate(SIMPLE)
    await proxy.aclose()
    assert (await proxy.generate(SIMPLE)).content
    with proxy:
        assert (await asyncio.to_thread(proxy.generate_sync, SIMPLE)).content


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_the_url_may_be_written_as_for_other_clients(sidecar: RunningSidecar, ending: str) -> None:
    async with AegisLLMProxy(sidecar.base + ending) as proxy:
        assert (await proxy.generate(SIMPLE)).content


async def test_the_environment_names_the_sidecar_and_cannot_lead_elsewhere(
    sidecar: RunningSidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEGIS_SIDECAR_URL", sidecar.base)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    proxy = get_aegis_llm_proxy()
    assert proxy is get_aegis_llm_proxy()
    assert (await proxy.generate(SIMPLE)).content
    await proxy.aclose()
    monkeypatch.delenv("AEGIS_SIDECAR_URL")
    assert AegisLLMProxy().base_url == get_aegis_llm_proxy().base_url == "http://127.0.0.1:4000"


async def test_headers_of_the_app_go_along(sidecar: RunningSidecar) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers: dict[str, Any] = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    async with AegisLLMProxy(sidecar.base, headers=headers) as proxy:
        assert (await proxy.generate(SIMPLE)).trace_id == trace
    async with AegisLLMProxy(sidecar.base) as proxy:
        response = await proxy.generate(dataclasses.replace(SIMPLE, extra_headers=headers))
    assert response.trace_id == trace
