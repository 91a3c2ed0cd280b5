"""Scripted upstreams for tests: real servers in their own processes, and a port where there is none."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
import msgspec
import pytest

from sidecar.demo.child import Child
from sidecar.demo.scripted.faults import Fault, Match, Rule
from sidecar.demo.scripted.request_log import Entry
from tests.rig.process import uncovered


class Totals(msgspec.Struct, frozen=True):
    """What was asked and billed since the last reset."""

    requests: int
    input_tokens: int
    output_tokens: int
    clients_left: int


class _Log(msgspec.Struct):
    totals: Totals
    open: int
    entries: list[Entry]


class ScriptedUpstream:
    """One scripted upstream; an async context manager. ``port`` other than 0 asks for that very port."""

    def __init__(
        self,
        *,
        name: str = "openai",
        models: str = "*",
        style: str = "echo",
        require_key: str = "",
        header_faults: bool = False,
        log_file: Path | None = None,
        port: int = 0,
        covered: bool = True,
    ) -> None:
        arguments = ["--exit-with-parent", f"--port={port}", f"--name={name}", f"--models={models}"]
        arguments += [f"--answer-style={style}", f"--require-key={require_key}"]
        arguments += ["--header-faults"] if header_faults else []
        arguments += [f"--log={log_file}"] if log_file else []
        self._child = Child(
            "sidecar.demo.scripted_upstream", *arguments, environ=None if covered else uncovered()
        )

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._child.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        return self._child.port

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def url(self) -> str:
        """The base URL as Ollama's clients want it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """The base URL as OpenAI's clients want it."""
        return f"{self.url}/v1"

    async def log(self) -> list[Entry]:
        """Every request since the last reset, once none is under way."""
        return (await self._read_log()).entries

    async def arrived(self) -> int:
        """How many requests have come since the last reset, those under way included."""
        body = await self._control("GET", "/_rig/log")
        log = msgspec.json.decode(body, type=_Log)
        return log.open + len(log.entries)

    async def totals(self) -> Totals:
        """What was billed since the last reset, once no request is under way."""
        return (await self._read_log()).totals

    async def _read_log(self) -> _Log:
        body = await self._control("GET", "/_rig/log?quiet_within_s=10")
        log = msgspec.json.decode(body, type=_Log)
        assert not log.open, f"{log.open} requests still under way after 10 s"
        return log

    async def reset(self) -> None:
        """Forget requests and faults."""
        await self._control("POST", "/_rig/reset")

    async def fault(
        self,
        *,
        path: str | None = None,
        model: str | None = None,
        contains: str | None = None,
        stream: bool | None = None,
        times: int | None = None,
        share: float = 1.0,
        **fault: Any,
    ) -> None:
        """Add a rule: the fault's fields are those of ``scripted.faults.Fault``."""
        rule = Rule(Fault(**fault), Match(path, model, contains, stream), times, share)
        await self._control("POST", "/_rig/faults", msgspec.json.encode([rule]))

    async def heal(self) -> None:
        """No more faults; the log stays."""
        await self._control("DELETE", "/_rig/faults")

    async def stop(self) -> None:
        """End it in good order."""
        await asyncio.to_thread(self._child.stop)

    async def kill(self) -> None:
        """End it as a crash would."""
        await asyncio.to_thread(self._child.kill)

    async def _control(self, method: str, path: str, body: bytes = b"") -> bytes:
        async with aiohttp.request(method, self.url + path, data=body) as response:
            answer = await response.read()
            assert response.status == 200, answer
            return answer


class StartUpstream(Protocol):
    """What the fixture ``scripted_upstream`` is; the arguments are those of ``ScriptedUpstream``."""

    async def __call__(self, **options: Any) -> ScriptedUpstream: ...


@pytest.fixture
async def scripted_upstream() -> AsyncIterator[StartUpstream]:
    """Starts scripted upstreams, which end with the test."""
    started: list[ScriptedUpstream] = []

    async def start(**options: Any) -> ScriptedUpstream:
        upstream = await ScriptedUpstream(**options).__aenter__()
        started.append(upstream)
        return upstream

    yield start
    for upstream in started:
        await upstream.stop()


class RefusedPort:
    """A loopback port that refuses connections, and that nobody else can get while this is open."""

    def __init__(self) -> None:
        # Bound but not listening: the kernel refuses, and keeps the port from everyone else.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


@pytest.fixture
def refused_port() -> Iterator[RefusedPort]:
    """A port on which nothing listens."""
    with RefusedPort() as port:
        yield port
