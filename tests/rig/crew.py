"""A sidecar with several workers as an operator runs it, and the ways to reach all of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.rig.process import Served
from tests.rig.world import CHAT, chat

#: Connections are spread by their port: so many reach both of two workers, but for once in 8 million.
CONNECTIONS = 24

Answer = tuple[int, Mapping[str, str], str]


class Crew(Served):
    """``sidecar serve --workers N`` in processes of its own. Use it as a context manager."""

    def __init__(self, config: Mapping[str, Any], directory: Path, workers: int = 2) -> None:
        super().__init__(config, directory, "--workers", str(workers))
        self.config = dict(config)

    @asynccontextmanager
    async def running(self, *, covered: bool = True) -> AsyncIterator[Crew]:
        await asyncio.to_thread(self.start, covered=covered)
        try:
            yield self
        finally:
            await asyncio.to_thread(self.kill)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """A client whose every request is a connection of its own, so that any worker may get it."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            # Cookies of a bare address too, as browsers do.
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(60),
        ) as client:
            yield client

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """One request over a connection of its own."""
        async with (
            self.client() as client,
            client.request(method, self.base + path, allow_redirects=False, **options) as response,
        ):
            return response.status, response.headers, await response.text()

    async def admin(self, method: str, path: str, json: Any = None) -> Any:
        """A request to the admin API with the token; asserts success."""
        async with (
            self.client() as client,
            client.request(method, f"{self.base}/admin{path}", json=json, headers=self.bearer) as response,
        ):
            assert response.status < 300, await response.text()
            return await response.json()

    async def everywhere(self, headers: Mapping[str, str], **fields: Any) -> list[Answer]:
        """The same call over so many connections that every worker gets some of them."""

        async def call(client: aiohttp.ClientSession, number: int) -> Answer:
            body = chat(f"question {number}", **{"max_tokens": 4, **fields})
            async with client.post(self.base + CHAT, json=body, headers=headers) as response:
                return response.status, response.headers, await response.text()

        async with self.client() as client:
            return await asyncio.gather(*(call(client, number) for number in range(CONNECTIONS)))

    async def workers(self) -> list[dict[str, Any]]:
        """The workers as ``/admin/status`` tells of them."""
        status = await self.admin("GET", "/status")
        return list(status["workers"])

    async def until(self, so: Callable[[list[dict[str, Any]]], bool], within_s: float = 60.0) -> list[Any]:
        """The workers, once they are ``so``."""
        workers: list[dict[str, Any]] = []
        for _ in range(int(within_s / 0.1)):
            workers = await self.workers()
            if so(workers):
                return workers
            await asyncio.sleep(0.1)
        raise AssertionError(f"not so within {within_s:g} s: {workers}\n{self.stderr[-3000:]}")

    async def kill_one(self, number: int) -> int:
        """Kill worker ``number`` as a crash would; returns its process id."""
        pid = next(worker["pid"] for worker in await self.workers() if worker["number"] == number)
        os.kill(pid, signal.SIGKILL)
        return int(pid)

    def write(self, config: Mapping[str, Any]) -> None:
        """Replace the configuration file, as an editor does."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        fresh.replace(self.path)


def all_ready(count: int) -> Callable[[list[dict[str, Any]]], bool]:
    """Whether exactly ``count`` workers are there and ready."""
    return lambda workers: [worker["state"] for worker in workers] == ["ready"] * count
