"""The scripted upstream breaks as told, when told, and keeps a true account of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from sidecar.demo.scripted.request_log import Entry
from sidecar.demo.scripted.script import (
    IMAGE_TOKENS,
    MESSAGE_OVERHEAD_TOKENS,
    PRIMING_TOKENS,
    UNLIMITED_TOKENS,
)
from tests.rig.upstream import RefusedPort, ScriptedUpstream, StartUpstream

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "good morning"}]}
STREAM = {**HELLO, "stream": True}
OLLAMA_STREAM = HELLO


@pytest.fixture
async def upstream(scripted_upstream: StartUpstream) -> ScriptedUpstream:
    return await scripted_upstream()


@pytest.fixture
async def http(upstream: ScriptedUpstream) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(upstream.url) as session:
        yield session


async def read_parts(response: aiohttp.ClientResponse) -> tuple[list[bytes], Exception | None]:
    """The events or lines of a stream as far as they came, and how it broke."""
    data = bytearray()
    broken: Exception | None = None
    try:
        async for piece in response.content.iter_any():
            data += piece
    except (aiohttp.ClientError, ConnectionError) as error:
        broken = error
    return [part for part in bytes(data).replace(b"\n\n", b"\n").split(b"\n") if part], broken


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
async def test_a_status_wears_the_dialect_and_bills_nothing(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, status: int
) -> None:
    await upstream.fault(status=status, retry_after=7)

    async with http.post(CHAT, json=HELLO) as response:
        assert response.status == status
        assert response.headers["Retry-After"] == "7"
        assert set((await response.json())["error"]) == {"message", "type", "param", "code"}
    async with http.post("/api/chat", json=HELLO) as response:
        assert response.status == status
        assert set(await response.json()) == {"error"}
    totals = await upstream.totals()
    assert (totals.requests, totals.input_tokens, totals.output_tokens) == (2, 0, 0)


async def test_a_context_too_long_has_its_own_code(upstream: ScriptedUpstream) -> None:
    await upstream.fault(code="context_length_exceeded")
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="x", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="maximum context length") as refused:
            await client.chat.completions.create(**HELLO)
    assert refused.value.code == "context_length_exceeded"


async def test_a_failure_can_be_billed_all_the_same(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(status=500, bill=True, times=1)
    async with http.post(CHAT, json=HELLO):
        pass
    async with http.post(CHAT, json=HELLO):
        pass
    failed, answered = await upstream.log()
    assert (failed.status, answered.status) == (500, 200)
    assert failed.output_tokens == answered.output_tokens > 0


async def test_rules_match_by_path_model_content_and_stream(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(path="/v1/embeddings", status=413)
    await upstream.fault(model="other", status=404)
    await upstream.fault(contains="needle", status=422)
    await upstream.fault(stream=True, status=503)

    async def status(path: str, **fields: Any) -> int:
        async with http.post(path, json={**HELLO, **fields}) as response:
            return response.status

    assert await status("/v1/embeddings", input="x", messages=None) == 400, "the request itself is wrong"
    async with http.post("/v1/embeddings", json={"model": "m", "input": "x"}) as response:
        assert response.status == 413
    assert await status(CHAT, model="other") == 404
    assert await status(CHAT, messages=[{"role": "user", "content": "a needle"}]) == 422
    assert await status(CHAT, stream=True) == 503
    assert await status(CHAT) == 200
    assert await status("/api/chat") == 503, "Ollama's chat streams unless told not to"
    assert await status("/api/chat", stream=False) == 200
    await upstream.heal()
    assert await status(CHAT, stream=True) == 200


async def test_times_and_share_are_dealt_out_alike_every_time(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    async def statuses(count: int) -> list[int]:
        seen = []
        for _ in range(count):
            async with http.post(CHAT, json=HELLO) as response:
                seen.append(response.status)
        return seen

    await upstream.fault(status=503, share=0.25)
    assert await statuses(8) == [200, 200, 200, 503] * 2
    await upstream.reset()
    await upstream.fault(status=503, times=2)
    assert await statuses(4) == [503, 503, 200, 200]


async def test_a_wrong_rule_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.post("/_rig/faults", json=[{"fault": {"statuss": 500}}]) as response:
        assert response.status == 400
        assert "statuss" in await response.text()


async def test_a_header_asks_for_a_fault_only_where_that_is_allowed(
    upstream: ScriptedUpstream, scripted_upstream: StartUpstream
) -> None:
    obeying = await scripted_upstream(header_faults=True)
    for url, expected in ((upstream.url, 200), (obeying.url, 503)):
        headers = {"x-rig-fault": '{"status": 503}'}
        async with aiohttp.request("POST", url + CHAT, json=HELLO, headers=headers) as response:
            assert response.status == expected


async def test_a_delay_comes_before_the_first_byte(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(delay_s=0.3)
    started = time.monotonic()
    async with http.post(CHAT, json=HELLO) as response:
        assert time.monotonic() - started >= 0.3
        assert response.status == 200


async def test_a_slow_drip_lets_time_pass_between_chunks(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(drip_s=0.05)
    arrivals = []
    async with http.post(CHAT, json={**STREAM, "max_tokens": 6}) as response:
        while await response.content.readline():
            arrivals.append(time.monotonic())
    assert arrivals[-1] - arrivals[0] >= 0.15


async def test_a_dropped_connection_has_no_answer_but_a_bill(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(close=True)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(CHAT, json=HELLO)
    (entry,) = await upstream.log()
    assert entry.answer == ""
    assert entry.input_tokens + entry.output_tokens == entry.promised_tokens > 0
    assert not entry.client_left


@pytest.mark.parametrize(("path", "body"), [(CHAT, STREAM), ("/api/chat", OLLAMA_STREAM)])
@pytest.mark.parametrize("cut", ["reset", "fin", "end"])
async def test_a_cut_stream_stops_after_its_chunks_and_bills_them(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, path: str, body: dict[str, Any], cut: str
) -> None:
    await upstream.fault(cut_after=3, cut=cut)
    async with http.post(path, json=body) as response:
        parts, broken = await read_parts(response)

    match cut:
        case "reset":
            assert "reset by peer" in str(broken)
            assert len(parts) <= 3, "a reset overtakes what a slow reader has not read"
        case "fin":
            assert isinstance(broken, aiohttp.ClientPayloadError)
            assert len(parts) == 3
        case "end":
            assert broken is None
            assert len(parts) == 3
    assert not any(b"[DONE]" in part or b'"done":true' in part for part in parts)
    (entry,) = await upstream.log()
    assert entry.chunks_sent == 3
    assert 0 < entry.input_tokens + entry.output_tokens < entry.promised_tokens


async def test_a_truncated_answer_promises_more_than_it_sends(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(truncate=True)
    async with http.post(CHAT, json=HELLO) as response:
        announced = int(response.headers["Content-Length"])
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    (entry,) = await upstream.log()
    assert 0 < len(entry.answer.encode()) < announced


@pytest.mark.parametrize("stream", [False, True])
async def test_other_bodies_and_types(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, stream: bool
) -> None:
    answers: dict[str, tuple[int, str, bytes]] = {}
    for body in ("garbage", "html", "empty"):
        await upstream.reset()
        await upstream.fault(body=body)
        async with http.post(CHAT, json={**HELLO, "stream": stream}) as response:
            answers[body] = response.status, response.content_type, await response.read()

    assert {status for status, _, _ in answers.values()} == {200}
    assert answers["html"][1] == "text/html"
    assert answers["empty"][2] == b""
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(answers["garbage"][2])
    await upstream.reset()
    await upstream.fault(content_type="text/plain")
    async with http.post(CHAT, json=HELLO) as response:
        assert response.content_type == "text/plain"


async def test_a_redirect_points_where_told(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    await upstream.fault(redirect="http://127.0.0.1:9/elsewhere")
    async with http.post(CHAT, json=HELLO, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")


@pytest.mark.parametrize(("lie", "expected"), [("negative", -1), ("absurd", 10**12), ("missing", None)])
async def test_usage_can_lie_while_the_bill_stays_true(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession, lie: str, expected: int | None
) -> None:
    body = {**HELLO, "max_tokens": 1}
    await upstream.fault(usage=lie)
    async with http.post(CHAT, json=body) as response:
        usage = (await response.json()).get("usage")
    assert (usage and usage["completion_tokens"]) == expected
    async with http.post("/api/chat", json={**body, "stream": False}) as response:
        count = (await response.json()).get("eval_count")
    assert (count is None) == (expected is None)
    assert (await upstream.log())[0].output_tokens == 1


async def test_an_error_inside_a_stream_wears_the_dialect(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(error_after=2)
    async with http.post(CHAT, json=STREAM) as response:
        events, _ = await read_parts(response)
    assert len(events) == 3
    assert "message" in msgspec.json.decode(events[-1].removeprefix(b"data: "))["error"]
    async with http.post("/api/chat", json=HELLO) as response:
        lines, _ = await read_parts(response)
    assert len(lines) == 3
    assert set(msgspec.json.decode(lines[-1])) == {"error"}


async def test_an_endless_stream_goes_on_until_the_client_leaves(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(endless=True)
    async with http.post(CHAT, json={**STREAM, "max_tokens": 8}) as response:
        for _ in range(200):
            assert await response.content.readline()
        response.close()
    (entry,) = await upstream.log()
    assert entry.client_left
    assert entry.output_tokens > 8
    assert (await upstream.totals()).clients_left == 1


async def test_a_client_that_leaves_early_is_billed_what_was_generated(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    await upstream.fault(drip_s=0.05)
    async with http.post(CHAT, json=STREAM) as response:
        await response.content.readline()
        response.close()
    (entry,) = await upstream.log()
    assert entry.client_left
    assert entry.input_tokens > 0
    assert entry.input_tokens + entry.output_tokens < entry.promised_tokens


async def test_greedy_answers_are_the_worst_case(scripted_upstream: StartUpstream) -> None:
    upstream = await scripted_upstream(style="greedy")
    text = "grüß gott"
    messages = [{"role": "user", "content": text}]
    async with openai.AsyncOpenAI(base_url=upstream.openai_url, api_key="x", max_retries=0) as client:
        create: Any = client.chat.completions.create
        capped = await create(model="m", messages=messages, max_tokens=100, n=2)
        uncapped = await create(model="m", messages=messages)

    assert capped.usage.prompt_tokens == len(text.encode()) + MESSAGE_OVERHEAD_TOKENS + PRIMING_TOKENS
    assert capped.usage.completion_tokens == 200
    assert [len(choice.message.content) for choice in capped.choices] == [100, 100]
    assert uncapped.usage.completion_tokens == UNLIMITED_TOKENS
    assert (await upstream.totals()).output_tokens == 200 + UNLIMITED_TOKENS


async def test_images_are_billed(upstream: ScriptedUpstream, http: aiohttp.ClientSession) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    for content in ("look", [{"type": "text", "text": "look"}, image]):
        async with http.post(CHAT, json={"model": "m", "messages": [{"role": "user", "content": content}]}):
            pass
    plain, pictured = await upstream.log()
    assert pictured.input_tokens - plain.input_tokens == IMAGE_TOKENS


async def test_the_log_keeps_what_was_sent_to_the_byte(
    upstream: ScriptedUpstream, http: aiohttp.ClientSession
) -> None:
    body = b'{ "model":"m",\n"messages": [{"role":"user","content":"gr\\u00fc\xc3\x9f"}], "x_extra": 1.50 }'
    async with http.post(CHAT, data=body, headers={"X-Custom": "yes"}) as response:
        answer = await response.text()
    (entry,) = await upstream.log()
    assert entry.body.encode() == body
    assert entry.answer == answer
    assert ("X-Custom", "yes") in entry.headers
    assert (entry.method, entry.path, entry.status) == ("POST", CHAT, 200)


async def test_the_log_file_knows_of_a_call_before_it_is_answered(
    scripted_upstream: StartUpstream, tmp_path: Path
) -> None:
    log_file = tmp_path / "upstream.jsonl"
    upstream = await scripted_upstream(log_file=log_file)
    await upstream.fault(drip_s=0.05)
    async with aiohttp.request("POST", upstream.url + CHAT, json=STREAM) as response:
        await response.content.readline()
        await upstream.kill()

    lines = [msgspec.json.decode(line) for line in log_file.read_bytes().splitlines()]
    assert [line["event"] for line in lines] == ["promised"]
    promised = msgspec.convert({k: v for k, v in lines[0].items() if k not in ("event", "at")}, Entry)
    assert promised.promised_tokens > 0
    assert promised.input_tokens > 0
    assert not promised.ended


async def test_five_hundred_calls_at_once_are_answered(upstream: ScriptedUpstream) -> None:
    async def stream(session: aiohttp.ClientSession) -> bytes:
        async with session.post(CHAT, json=STREAM) as response:
            return await response.read()

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(upstream.url, connector=connector) as session:
        answers = await asyncio.gather(*(stream(session) for _ in range(500)))
    assert all(answer.endswith(b"data: [DONE]\n\n") for answer in answers)
    assert (await upstream.totals()).requests == 500


async def test_a_refused_port_refuses(refused_port: RefusedPort) -> None:
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.request("GET", refused_port.url):
            pass
