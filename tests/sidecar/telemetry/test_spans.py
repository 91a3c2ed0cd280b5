"""The traces of whole calls, as a collector gets them, against golden span trees."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.core.vocabulary import Outcome
from tests.rig.otlp import OtlpReceiver, ReceivedSpan
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, World, chat
from tests.sidecar.telemetry.span_trees import check_golden

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."
OLLAMA_CHAT = "/api/chat"


async def trace_of(receiver: OtlpReceiver, response: httpx.Response) -> list[ReceivedSpan]:
    spans = await receiver.trace(response.headers["x-sidecar-trace-id"])
    check_times(spans)
    return spans


def check_times(spans: list[ReceivedSpan]) -> None:
    """Each span lies within its parent, and each event within its span."""
    by_id = {span.span_id: span for span in spans}
    assert len(by_id) == len(spans), "two spans have one id"
    for span in spans:
        parent = by_id.get(span.parent_id)
        if parent is not None:
            assert parent.start_ns <= span.start_ns <= span.end_ns <= parent.end_ns
        assert all(span.start_ns <= event.at_ns <= span.end_ns for event in span.events)


#: name: (path, body, headers, changes of the configuration)
CALLS: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "plain_relay": (CHAT, chat(max_tokens=8), CRITICAL, {}),
    "plain_any_llm": (CHAT, chat(max_tokens=8), PUBLIC, {}),
    "streamed_relay": (CHAT, chat(max_tokens=8, stream=True), CRITICAL, {}),
    "streamed_any_llm": (CHAT, chat(max_tokens=8, stream=True), PUBLIC, {}),
    "ollama_dialect": (OLLAMA_CHAT, chat(stream=False), PUBLIC, {}),
    "sensitive": (CHAT, chat(PERSONAL, max_tokens=8), {"x-sidecar-quality": "critical"}, {}),
    "legacy": (CHAT, chat(model="scripted-small", max_tokens=8), PUBLIC, {"rollout": {"percent": 0}}),
    "budget_exhausted": (
        CHAT,
        chat(max_tokens=8),
        CRITICAL,
        {"budgets": {"caps": [{"name": "all-day", "tier": "*", "period": "day", "usd": 0}]}},
    ),
    "embeddings": ("/v1/embeddings", {"model": "auto", "input": ["a", "b"]}, PUBLIC, {}),
}


@pytest.fixture(params=["receiver", "grpc_receiver"], ids=["http", "grpc"])
def collector(request: pytest.FixtureRequest) -> OtlpReceiver:
    """A collector on either of OTLP's transports."""
    receiver: OtlpReceiver = request.getfixturevalue(request.param)
    return receiver


class Way(msgspec.Struct, frozen=True):
    """Calls that go first to the upstream ``first`` on one lane, and the end of their golden files' names."""

    headers: dict[str, str]
    first: str
    golden: str

    def upstream(self, world: World) -> ScriptedUpstream:
        return world.openai if self.first == "openai" else world.cloud


RELAY, ANY_LLM = Way(CRITICAL, "openai", ""), Way(HIGH, "cloud", "_any_llm")
on_both_lanes = pytest.mark.parametrize("way", [RELAY, ANY_LLM], ids=["relay", "any-llm"])


@pytest.mark.parametrize("name", CALLS)
async def test_the_trace_of_a_call(world: World, collector: OtlpReceiver, name: str) -> None:
    path, body, headers, changes = CALLS[name]
    sidecar = await world.sidecar(changes)
    response = await sidecar.http.post(path, json=body, headers=headers)
    assert response.status_code == 200, response.text
    check_golden(await trace_of(collector, response), name)


@on_both_lanes
async def test_a_tier_that_rests_is_named_with_its_reason(
    world: World, collector: OtlpReceiver, way: Way
) -> None:
    await way.upstream(world).fault(status=401)
    sidecar = await world.sidecar()
    for _ in range(2):
        response = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=way.headers)
    check_golden(await trace_of(collector, response), f"breaker_open{way.golden}")


@on_both_lanes
async def test_a_fallback_has_a_client_span_for_each_attempt(
    world: World, collector: OtlpReceiver, way: Way
) -> None:
    await way.upstream(world).fault(status=503)
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=way.headers)
    check_golden(await trace_of(collector, response), f"fallback{way.golden}")


@on_both_lanes
async def test_a_stream_that_is_cut_is_an_error(world: World, collector: OtlpReceiver, way: Way) -> None:
    await way.upstream(world).fault(cut_after=2)
    sidecar = await world.sidecar()
    response = await sidecar.http.post(CHAT, json=chat(max_tokens=20, stream=True), headers=way.headers)
    check_golden(await trace_of(collector, response), f"cut{way.golden}")


@pytest.mark.parametrize(
    ("door", "golden"),
    [(CHAT, "nothing_left"), (OLLAMA_CHAT, "nothing_left_relay")],
    ids=["any-llm", "relay"],
)
async def test_when_nothing_can_answer(world: World, collector: OtlpReceiver, door: str, golden: str) -> None:
    await world.local.fault(status=500)
    sidecar = await world.sidecar()
    response = await sidecar.http.post(door, json=chat(PERSONAL))
    assert response.status_code == 503
    check_golden(await trace_of(collector, response), golden)


@on_both_lanes
async def test_a_client_that_leaves(world: World, collector: OtlpReceiver, way: Way) -> None:
    await way.upstream(world).fault(drip_s=0.2)
    sidecar = await world.sidecar()
    body = chat(max_tokens=200, stream=True)
    async with sidecar.http.stream("POST", CHAT, json=body, headers=way.headers) as response:
        async for _ in response.aiter_bytes():
            break
    spans = await trace_of(collector, response)
    assert spans[0].attributes["sidecar.outcome"] == Outcome.CLIENT_LEFT
    assert spans[0].attributes["http.response.status_code"] == 499
    check_golden(spans, f"client_left{way.golden}")


async def test_the_upstream_is_told_of_the_client_span_and_the_caller_is_the_parent(
    world: World, receiver: OtlpReceiver
) -> None:
    sidecar = await world.sidecar()
    trace_id, caller = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace_id}-{caller}-01", "tracestate": "vendor=1"}
    for hint, upstream in ((CRITICAL, world.openai), (HIGH, world.cloud), (PUBLIC, world.local)):
        receiver.spans.clear()
        response = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers={**hint, **headers})
        assert response.headers["x-sidecar-trace-id"] == trace_id
        spans = await trace_of(receiver, response)
        server, client = spans[0], spans[-1]
        assert (server.kind, server.parent_id) == ("SERVER", caller)
        assert (client.kind, client.parent_id) == ("CLIENT", server.span_id)
        sent = {name.lower(): value for name, value in (await upstream.log())[-1].headers}
        assert sent["traceparent"] == f"00-{trace_id}-{client.span_id}-01"
        assert sent["tracestate"] == "vendor=1"
        assert {span.trace_state for span in spans} == {"vendor=1"}
        # sampled, and of the parent it is known whether it is another process's
        assert [span.flags for span in spans] == [0x301] + [0x101] * (len(spans) - 1)


async def test_many_calls_at_once_have_a_trace_each(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar()
    calls = [sidecar.http.post(CHAT, json=chat(f"call {n}", max_tokens=4), headers=PUBLIC) for n in range(30)]
    for response in await asyncio.gather(*calls):
        spans = await trace_of(receiver, response)
        kinds = sorted(span.kind for span in spans)
        assert kinds == ["CLIENT", "INTERNAL", "INTERNAL", "SERVER"]
    assert len({span.span_id for span in receiver.spans}) == len(receiver.spans)


async def test_no_word_of_a_prompt_or_answer_and_no_key_is_exported(
    world: World, receiver: OtlpReceiver
) -> None:
    marker = "zyzzyva-marker"
    await world.cloud.fault(status=400)
    await world.openai.fault(error_after=1, times=1)
    sidecar = await world.sidecar()
    for body in (chat(marker), chat(f"{marker} {PERSONAL}"), chat(marker, stream=True)):
        for headers in (CRITICAL, HIGH, PUBLIC, {"x-sidecar-session": marker}):
            response = await sidecar.http.post(CHAT, json=body, headers=headers)
            await receiver.trace(response.headers["x-sidecar-trace-id"])
    exported = b"".join(receiver.bodies)
    for secret in (marker, "erika", "openai-key", "cloud-key"):
        assert secret.encode() not in exported
