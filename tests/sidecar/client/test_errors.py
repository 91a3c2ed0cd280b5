"""What goes wrong is raised as the error that names it, with what an app needs to act on it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sidecar import client
from sidecar.client import AegisLLMProxy, LLMTask
from sidecar.core import errors as core_errors
from tests.rig.upstream import RefusedPort
from tests.rig.world import RunningSidecar, World
from tests.sidecar.client.test_proxy import (
    CRITICAL,
    SIMPLE,
    Ask,
    manners,
    streamed,
    streamed_sync,
    whole,
    whole_sync,
)


def descendants(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_of_the_sidecar_has_its_like_in_the_client() -> None:
    for kind in descendants(core_errors.SidecarError):
        if not kind.__module__.startswith("sidecar.core."):
            continue
        own = getattr(client, kind.__name__)
        assert issubclass(own, client.Refused)
        if own.codes:
            assert own.codes == (kind.code,)  # type: ignore[attr-defined]
            assert own.__bases__[0].__name__ == kind.__bases__[0].__name__


def test_every_error_is_exported() -> None:
    kinds = {kind.__name__ for kind in descendants(client.AegisError)} | {"AegisError"}
    assert kinds <= set(client.__all__)


@manners
async def test_whose_fault_it_is(world: World, proxy: AegisLLMProxy, ask: Ask) -> None:
    with pytest.raises(client.InvalidHint, match="at most 256 printable") as hint:
        await ask(proxy, LLMTask(prompt="hello", session="x" * 300))
    assert (hint.value.status, hint.value.code, hint.value.param) == (
        400,
        "invalid_hint",
        "x-sidecar-session",
    )
    assert hint.value.request_id
    with pytest.raises(client.RequestTooLarge, match="larger than 1048576 bytes"):
        await ask(proxy, LLMTask(prompt="x" * 2**21))
    await world.openai.fault(status=404)
    with pytest.raises(client.CallerError) as unknown:
        await ask(proxy, LLMTask(prompt="hello", model="openai/gpt-none", data_classification="public"))
    assert (unknown.value.status, unknown.value.code) == (404, "model_not_found")
    await world.local.fault(status=429, retry_after=7)
    with pytest.raises(client.NoTierAvailable, match="local_ollama") as nobody:
        await ask(proxy, SIMPLE)
    assert (nobody.value.status, nobody.value.retry_after_s) == (503, 7)
    assert nobody.value.tried == ("local_ollama",)
    assert nobody.value.trace_id
    with pytest.raises(client.SensitiveAndLocalDown, match="may not leave"):
        await ask(proxy, LLMTask(prompt="hello", data_classification="hipaa", quality="critical"))


@pytest.mark.parametrize("ask", [whole, streamed_sync])
async def test_the_legacy_arms_upstream_speaks_for_itself(world: World, ask: Ask) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0, "legacy": {"tier": "openai"}}})
    await world.openai.fault(status=429, retry_after=7, times=1)
    async with AegisLLMProxy(sidecar.base) as proxy:
        with pytest.raises(client.UpstreamFault) as throttled:
            await ask(proxy, CRITICAL)
    assert (throttled.value.status, throttled.value.code) == (429, "rate_limit_exceeded")
    assert throttled.value.retry_after_s == 7


@pytest.mark.parametrize("cut", ["reset", "end"])
@pytest.mark.parametrize("ask", [streamed, streamed_sync])
async def test_a_broken_stream_keeps_what_had_come(
    world: World, proxy: AegisLLMProxy, ask: Ask, cut: str
) -> None:
    await world.openai.fault(cut_after=6, cut=cut)
    with pytest.raises(client.BrokenOff, match="broke off") as broken:
        await ask(proxy, CRITICAL)
    assert broken.value.content.startswith("What is RAG?")
    assert broken.value.code == "upstream_failed"
    assert broken.value.request_id


@manners
async def test_nobody_is_there(refused_port: RefusedPort, ask: Ask) -> None:
    async with AegisLLMProxy(refused_port.url) as proxy:
        with pytest.raises(client.SidecarUnreachable, match="sidecar serve") as caught:
            await ask(proxy, SIMPLE)
    assert isinstance(caught.value, ConnectionError)
    assert refused_port.url in str(caught.value)


@manners
async def test_somebody_else_is_there(world: World, ask: Ask) -> None:
    async with AegisLLMProxy(world.local.url) as proxy:
        with pytest.raises(client.NotASidecar, match="not as a sidecar does"):
            await ask(proxy, SIMPLE)


async def test_the_sidecar_is_silent(world: World, sidecar: RunningSidecar) -> None:
    await world.local.fault(delay_s=60)
    async with AegisLLMProxy(sidecar.base, timeout_s=0.1) as proxy:
        for ask in (whole, whole_sync, streamed, streamed_sync):
            with pytest.raises(client.SidecarTimeout) as caught:
                await ask(proxy, SIMPLE)
            assert isinstance(caught.value, TimeoutError)


@contextmanager
def saying(headers: dict[str, str], body: bytes, *, length: int | None = None) -> Iterator[str]:
    """A server that answers so to everything; gives its URL."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "body", [b"[]", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":[{"message":{}}]}']
)
async def test_an_answer_that_is_none_is_said_to_be_so(body: bytes) -> None:
    with saying({"x-sidecar-request-id": "1"}, body) as url:
        async with AegisLLMProxy(url) as proxy:
            with pytest.raises(client.NotASidecar):
                await proxy.generate(SIMPLE)
            with pytest.raises(client.NotASidecar):
                await proxy.embed("one")


@pytest.mark.parametrize(
    ("body", "length"),
    [(b"", None), (b"data: [DONE]\n\n", None), (b'data: {"choices":[]}\n\n', None), (b"data: {}", 100)],
)
async def test_a_stream_without_its_end_is_broken(body: bytes, length: int | None) -> None:
    with saying({"x-sidecar-request-id": "1"}, body, length=length) as url:
        async with AegisLLMProxy(url) as proxy:
            with pytest.raises(client.BrokenOff):
                await streamed(proxy, SIMPLE)
            with pytest.raises(client.BrokenOff):
                await asyncio.to_thread(lambda: list(proxy.generate_stream_sync(SIMPLE)))


@pytest.mark.parametrize("url", ["127.0.0.1:4000", "ftp://127.0.0.1", "http://", "localhost"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write it as http://127\.0\.0\.1:4000"):
        AegisLLMProxy(url)
