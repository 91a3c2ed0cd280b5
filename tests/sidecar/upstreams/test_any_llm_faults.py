"""Every way in which an upstream can fail, told apart, through both of the SDKs that any-llm uses most."""

from __future__ import annotations

import asyncio
import socket
import traceback
from typing import Any

import httpx
import msgspec
import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.tiers import Timeouts
from sidecar.core.vocabulary import OLLAMA_CHAT, OPENAI_CHAT, Door
from sidecar.upstreams.any_llm_faults import fault_of
from sidecar.upstreams.any_llm_http import HttpNote
from sidecar.upstreams.any_llm_upstream import AnyLLMLane
from tests.rig.upstream import RefusedPort, ScriptedUpstream
from tests.sidecar.upstreams.conftest import OpenLane
from tests.sidecar.upstreams.lanes import HELLO, outbound

both_lanes = pytest.mark.parametrize(("name", "door"), [("ollama", OPENAI_CHAT), ("openai", OLLAMA_CHAT)])
plain_and_streamed = pytest.mark.parametrize("stream", [False, True])


async def fails(lane: AnyLLMLane, door: Door, *, stream: bool) -> UpstreamFault:
    """The fault of a call that fails before its first token."""
    with pytest.raises(UpstreamFault) as failed:
        await lane.send(outbound(door, messages=HELLO, stream=stream))
    return without_the_prompt(failed.value)


def without_the_prompt(fault: UpstreamFault) -> UpstreamFault:
    """``fault``, after a look at what a log would show of it."""
    assert HELLO[0]["content"] not in "".join(traceback.format_exception(fault))
    assert fault.__cause__ is None
    assert fault.__context__ is None or fault.__suppress_context__
    return fault


@both_lanes
@plain_and_streamed
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, Fault.REJECTED),
        (401, Fault.AUTH),
        (403, Fault.AUTH),
        (404, Fault.REJECTED),
        (413, Fault.REJECTED),
        (422, Fault.REJECTED),
        (429, Fault.THROTTLED),
        (500, Fault.SERVER_ERROR),
        (503, Fault.SERVER_ERROR),
    ],
)
async def test_refusals(
    lanes: dict[str, AnyLLMLane],
    upstream: ScriptedUpstream,
    name: str,
    door: Door,
    stream: bool,
    status: int,
    expected: Fault,
) -> None:
    await upstream.fault(status=status, retry_after=7 if status == 429 else None)
    fault = await fails(lanes[name], door, stream=stream)

    assert (fault.fault, fault.http_status) == (expected, status)
    assert fault.retry_after_s == (7.0 if status == 429 else None)
    (entry,) = await upstream.log()
    assert fault.body.decode() == entry.answer
    assert fault.content_type == entry.content_type
    told = msgspec.json.decode(entry.answer)["error"]
    assert fault.words == (told if name == "ollama" else told["message"])


@both_lanes
@plain_and_streamed
@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({"redirect": "http://127.0.0.1:9/"}, Fault.REDIRECT),
        ({"close": True}, Fault.CUT),
        ({"body": "garbage"}, Fault.GARBAGE),
        ({"body": "html"}, Fault.GARBAGE),
        ({"body": "empty"}, Fault.EMPTY),
    ],
)
async def test_answers_that_are_none(
    lanes: dict[str, AnyLLMLane],
    upstream: ScriptedUpstream,
    name: str,
    door: Door,
    stream: bool,
    broken: dict[str, Any],
    expected: Fault,
) -> None:
    await upstream.fault(**broken)
    fault = await fails(lanes[name], door, stream=stream)
    assert fault.fault is expected
    assert (await upstream.totals()).requests == 1, "one attempt is one request"


@both_lanes
async def test_a_body_that_ends_too_early(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    await upstream.fault(truncate=True)
    assert (await fails(lanes[name], door, stream=False)).fault is Fault.CUT


@both_lanes
@plain_and_streamed
async def test_nobody_listens(
    open_lane: OpenLane, refused_port: RefusedPort, name: str, door: Door, stream: bool
) -> None:
    lane = open_lane(name, refused_port.url)
    assert (await fails(lane, door, stream=stream)).fault is Fault.REFUSED


@both_lanes
async def test_nobody_has_this_name(open_lane: OpenLane, name: str, door: Door) -> None:
    lane = open_lane(name, "http://no-such-host.invalid:80")
    assert (await fails(lane, door, stream=False)).fault is Fault.DNS


@both_lanes
async def test_no_tls_where_tls_is_demanded(
    open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    lane = open_lane(name, upstream.url.replace("http:", "https:"))
    assert (await fails(lane, door, stream=True)).fault is Fault.TLS


@both_lanes
@plain_and_streamed
async def test_nothing_comes_in_time(
    open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door, stream: bool
) -> None:
    await upstream.fault(delay_s=30)
    timeouts = Timeouts(first_byte_s=0.2, idle_s=30, total_s=30)
    lane = open_lane(name, upstream.url if name == "ollama" else upstream.openai_url, timeouts=timeouts)
    assert (await fails(lane, door, stream=stream)).fault is Fault.TIMEOUT
    assert (await upstream.totals()).clients_left == 1


async def test_a_connection_that_is_never_made_was_not_accepted(open_lane: OpenLane) -> None:
    # A socket whose backlog is full neither refuses nor accepts.
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(waiting, full.getsockname())
        port = full.getsockname()[1]
        lane = open_lane("ollama", f"http://127.0.0.1:{port}", timeouts=Timeouts(connect_s=0.2))
        fault = await fails(lane, OPENAI_CHAT, stream=False)
    assert (fault.fault, fault.message) == (Fault.REFUSED, "no connection within 0.2 s")


async def breaks(lane: AnyLLMLane, door: Door) -> tuple[bytes, UpstreamFault]:
    """What had come of a stream, and the fault that it ended with."""
    answer = await lane.send(outbound(door, messages=HELLO, stream=True))
    came: list[bytes] = []

    async def read_on() -> None:
        async for chunk in answer.chunks():
            came.append(chunk)  # noqa: PERF401 - what came before the fault is kept

    with pytest.raises(UpstreamFault) as broken:
        await read_on()
    assert not answer.tally.finished
    return b"".join(came), without_the_prompt(broken.value)


@both_lanes
@pytest.mark.parametrize("cut", ["reset", "fin", "end"])
async def test_a_stream_that_is_cut(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door, cut: str
) -> None:
    await upstream.fault(cut_after=4, cut=cut)
    came, fault = await breaks(lanes[name], door)
    assert fault.fault is Fault.CUT
    assert b" long" in came
    assert b"[DONE]" not in came
    assert b'"done":true' not in came


@both_lanes
async def test_an_error_inside_a_stream(
    lanes: dict[str, AnyLLMLane], upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    await upstream.fault(error_after=4)
    came, fault = await breaks(lanes[name], door)
    assert (fault.fault, fault.words) == (Fault.SERVER_ERROR, "The server had an error while processing.")
    assert b" long" in came


async def test_a_stream_that_stalls(open_lane: OpenLane, upstream: ScriptedUpstream) -> None:
    await upstream.fault(drip_s=30)
    lane = open_lane("ollama", upstream.url, timeouts=Timeouts(first_byte_s=30, idle_s=0.2, total_s=30))
    _, fault = await breaks(lane, OPENAI_CHAT)
    assert fault.fault is Fault.TIMEOUT
    assert (await upstream.totals()).clients_left == 1


async def test_a_stream_that_stalls_before_its_first_token(
    open_lane: OpenLane, upstream: ScriptedUpstream
) -> None:
    # OpenAI's first chunk says the role, which is no token yet.
    await upstream.fault(drip_s=30)
    lane = open_lane("openai", upstream.openai_url, timeouts=Timeouts(first_byte_s=0.2))
    assert (await fails(lane, OLLAMA_CHAT, stream=True)).fault is Fault.TIMEOUT
    assert (await upstream.totals()).clients_left == 1


@both_lanes
async def test_a_stream_without_end(
    open_lane: OpenLane, upstream: ScriptedUpstream, name: str, door: Door
) -> None:
    await upstream.fault(endless=True, drip_s=0.01)
    timeouts = Timeouts(first_byte_s=30, idle_s=30, total_s=0.5)
    lane = open_lane(name, upstream.url if name == "ollama" else upstream.openai_url, timeouts=timeouts)
    came, fault = await breaks(lane, door)
    assert fault.fault is Fault.TIMEOUT
    assert came
    assert (await upstream.totals()).clients_left == 1


NOTHING_SENT = HttpNote((), watched=True)
UNWATCHED = HttpNote((), watched=False)


class Told(Exception):
    """An SDK's exception with whatever it tells."""

    def __init__(self, **told: Any) -> None:
        super().__init__("secret prompt")
        self.__dict__.update(told)


@pytest.mark.parametrize(
    ("error", "note", "expected"),
    [
        (Told(parameter_name="n", provider_name="x"), NOTHING_SENT, Fault.UNSUPPORTED),
        (NotImplementedError(), UNWATCHED, Fault.UNSUPPORTED),
        (ValueError("secret prompt"), NOTHING_SENT, Fault.UNSUPPORTED),
        (Told(status_code=429, retry_after="3"), UNWATCHED, Fault.THROTTLED),
        (Told(status_code=503), UNWATCHED, Fault.SERVER_ERROR),
        (Told(), UNWATCHED, Fault.SERVER_ERROR),
        (httpx.ReadTimeout("secret prompt"), UNWATCHED, Fault.TIMEOUT),
        (httpx.ProxyError("secret prompt"), UNWATCHED, Fault.REFUSED),
    ],
)
def test_faults_of_providers_that_cannot_be_watched(
    error: Exception, note: HttpNote, expected: Fault
) -> None:
    fault = fault_of(error, note, Timeouts())
    assert fault.fault is expected
    assert fault.retry_after_s == (3.0 if expected is Fault.THROTTLED else None)
    assert "secret" not in fault.message


def test_an_earlier_attempts_failure_is_not_taken_for_this_ones() -> None:
    try:
        try:
            raise httpx.ConnectError("earlier")
        except httpx.ConnectError:
            raise UpstreamFault(Fault.REFUSED, "earlier") from None
    except UpstreamFault:
        try:
            raise Told(status_code=500)
        except Told as error:
            later = error
    assert fault_of(later, UNWATCHED, Timeouts()).fault is Fault.SERVER_ERROR
