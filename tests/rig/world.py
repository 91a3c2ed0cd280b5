"""A whole world for one test: three scripted upstreams and a sidecar between them, on real sockets."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import msgspec
import pytest
import yaml

from sidecar.app import Sidecar
from sidecar.core.vocabulary import DecisionRecord
from sidecar.server import Server, bind
from sidecar.settings.watch import SettingsSource
from tests.rig.upstream import ScriptedUpstream

CHAT = "/v1/chat/completions"
PUBLIC = {"x-sidecar-data-classification": "public"}
CRITICAL = {**PUBLIC, "x-sidecar-quality": "critical"}
HIGH = {**PUBLIC, "x-sidecar-quality": "high", "x-sidecar-complexity": "high"}


def chat(text: str = "hello there", **fields: Any) -> dict[str, Any]:
    """An OpenAI chat body."""
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **fields}


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``changes``, mappings merged key by key; a value of None removes the key."""
    out = dict(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


class RunningSidecar:
    """A sidecar in this process, on its own port; an async context manager."""

    def __init__(self, config: dict[str, Any], directory: Path, *, hours_per_s: float = 0.0) -> None:
        """``hours_per_s`` lets the clock of the rollout's schedule run that much faster than the world's."""
        self.config = config
        self.path = directory / "sidecar.yaml"
        self._pace = hours_per_s * 3_600 or 1.0

    async def __aenter__(self) -> Self:
        self.write(self.config)
        self._stack = AsyncExitStack()
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def _start(self) -> None:
        self.sidecar = await Sidecar.open(
            SettingsSource(self.path, os.environ, clock=time.time_ns),
            clock_s=lambda: time.monotonic() * self._pace,
        )
        self._stack.push_async_callback(self.sidecar.close)
        listener = self._stack.enter_context(bind("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.base = f"http://127.0.0.1:{self.port}"
        ready = asyncio.Event()
        self.server = Server(self.sidecar, ready.set)
        serving = asyncio.create_task(self.server.serve(sockets=[listener]))
        await ready.wait()

        async def stop() -> None:
            self.server.stop()
            await serving

        self._stack.push_async_callback(stop)
        self.http = await self._stack.enter_async_context(
            # Reading certificates that nobody asks for costs more than most tests.
            httpx.AsyncClient(base_url=self.base, timeout=30, trust_env=False, verify=False)
        )

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def restart(self) -> None:
        """Stop it in good order, and start it anew on the same data."""
        await self._stack.aclose()
        await self.__aenter__()

    def write(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration file, as an editor does."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        fresh.replace(self.path)

    async def reload(self, changes: Mapping[str, Any]) -> None:
        """Change the configuration file and have it looked at."""
        self.config = merged(self.config, changes)
        self.write(self.config)
        await self.sidecar.services.settings.look()
        await self.sidecar.services.settings.look()

    async def warm(self) -> None:
        """Until nothing is imported any more, which makes a busy machine's event loop late."""
        for upstream in self.sidecar.current.upstreams.values():
            await upstream.warm()

    async def admin(self, method: str, path: str, json: Any = None) -> Any:
        """A request to the admin API with the token; asserts success."""
        response = await self.http.request(method, f"/admin{path}", json=json, headers=self.bearer)
        assert response.is_success, response.text
        return response.json()

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.sidecar.services.admin_token}"}

    async def records(self) -> list[DecisionRecord]:
        """Every decision record so far, oldest first."""
        services = self.sidecar.services
        await services.log.flush()
        page = await services.search.page(limit=1000)
        found = [await services.search.get(line.request_id) for line in reversed(page.decisions)]
        return [record for record in found if record is not None]

    async def record(self, response: httpx.Response | None = None) -> DecisionRecord:
        """The record of ``response``'s call, or of the only call there was."""
        records = await self.records()
        if response is None:
            assert len(records) == 1, [record.request_id for record in records]
            return records[0]
        wanted = response.headers["x-sidecar-request-id"]
        return next(record for record in records if record.request_id == wanted)


#: A busy machine may take its time to accept a connection.
_PATIENT = {"connect_s": 10}


class World:
    """Three upstreams, and sidecars started on demand; they end with the test."""

    def __init__(
        self, local: ScriptedUpstream, cloud: ScriptedUpstream, openai: ScriptedUpstream, directory: Path
    ) -> None:
        self.local = local
        self.cloud = cloud
        self.openai = openai
        self.directory = directory
        self._stack = AsyncExitStack()
        self._count = 0

    def config(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A configuration like the sample's, with these upstreams, everything routed and nothing limited."""
        self._count += 1
        base: dict[str, Any] = {
            "listen": {"host": "127.0.0.1", "port": 0},
            "data_dir": str(self.directory / f"data-{self._count}"),
            "tiers": {
                "local_ollama": {
                    "provider": "ollama",
                    "base_url": self.local.url,
                    "off_box": False,
                    "models": {"default": "llama3.2", "embedding": "nomic-embed-text"},
                    "timeouts": _PATIENT,
                },
                "ollama_cloud": {
                    "provider": "ollama",
                    "base_url": self.cloud.url,
                    "api_key": "cloud-key",
                    "off_box": True,
                    "price": {"usd_per_1k_tokens": 0.001},
                    "models": {"default": "gpt-oss:120b"},
                    "timeouts": _PATIENT,
                },
                "openai": {
                    "provider": "openai",
                    "base_url": self.openai.openai_url,
                    "api_key": "openai-key",
                    "off_box": True,
                    "price": {"usd_per_1k_tokens": 0.015},
                    "models": {"default": "gpt-4o"},
                    "timeouts": _PATIENT,
                },
            },
            "routing": {
                "rules": [
                    {"name": "critical_quality", "when": {"quality": "critical"}, "tier": "openai"},
                    {
                        "name": "high_quality",
                        "when": {"quality": ">=high", "complexity": ">=medium"},
                        "tier": "ollama_cloud",
                    },
                    {"name": "batch_processing", "when": {"batch_size": ">10"}, "tier": "ollama_cloud"},
                ],
            },
            # Tests that make calls fail, or run on a busy machine, do not mean the rollout to go back.
            "rollout": {"percent": 100, "gates": {"error_rate_max": 1.0, "p95_ms_max": 3_600_000}},
        }
        return merged(base, changes or {})

    async def sidecar(
        self, changes: Mapping[str, Any] | None = None, *, hours_per_s: float = 0.0
    ) -> RunningSidecar:
        """Start a sidecar; ``hours_per_s`` as of ``RunningSidecar``."""
        config = self.config(changes)
        directory = self.directory / f"config-{self._count}"
        directory.mkdir()
        running = RunningSidecar(config, directory, hours_per_s=hours_per_s)
        await self._stack.enter_async_context(running)
        await running.warm()
        return running

    async def aclose(self) -> None:
        await self._stack.aclose()


@pytest.fixture(scope="session")
def upstream_processes() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream]]:
    """The three scripted upstreams, started once."""
    local = ScriptedUpstream(name="ollama", covered=False)
    cloud = ScriptedUpstream(name="ollama", require_key="cloud-key", covered=False)
    openai = ScriptedUpstream(name="openai", require_key="openai-key", covered=False)
    started = []
    try:
        for upstream in (local, cloud, openai):
            asyncio.run(upstream.__aenter__())
            started.append(upstream)
        yield local, cloud, openai
    finally:
        for upstream in started:
            asyncio.run(upstream.stop())


@pytest.fixture
async def world(
    upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream], tmp_path: Path
) -> AsyncIterator[World]:
    """A world with nothing logged and no faults."""
    for upstream in upstream_processes:
        await upstream.reset()
    world = World(*upstream_processes, tmp_path)
    yield world
    await world.aclose()


def decoded(entry_body: bytes) -> Any:
    """A logged request body as JSON."""
    return msgspec.json.decode(entry_body)
