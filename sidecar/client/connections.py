"""Keeps the HTTP connections: one pool for blocking calls, and one for each event loop."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import urlsplit

import httpx

from sidecar import __version__

#: Less than the 75 s after which the sidecar closes an idle connection, so that none is used as it closes.
_IDLE_S = 60


class Connections:
    """HTTP clients on one base URL.

    No redirects and no proxies of the environment: a prompt goes to the sidecar and nowhere else.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        connect_timeout_s: float,
        connect_retries: int,
        max_connections: int,
        headers: Mapping[str, str],
    ) -> None:
        self._base_url = base_url
        self._headers = {"user-agent": f"aegis-sidecar-client/{__version__}", **headers}
        # Who waits for a free connection of its own pool is no sign of a silent sidecar.
        self._timeout = httpx.Timeout(timeout_s, connect=connect_timeout_s, pool=None)
        self._limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=None, keepalive_expiry=_IDLE_S
        )
        self._retries = connect_retries
        # Reading the certificates takes longer than a call, and http:// needs none.
        self._verify = urlsplit(base_url).scheme == "https"
        self._lock = threading.Lock()
        self._blocking: httpx.Client | None = None
        self._by_loop: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None]]] = {}

    def blocking(self) -> httpx.Client:
        """The client for blocking calls; it may be used by many threads at once."""
        with self._lock:
            if self._blocking is None:
                self._blocking = httpx.Client(
                    base_url=self._base_url,
                    headers=self._headers,
                    timeout=self._timeout,
                    trust_env=False,
                    transport=httpx.HTTPTransport(
                        verify=self._verify, limits=self._limits, retries=self._retries, trust_env=False
                    ),
                )
                weakref.finalize(self, self._blocking.close)
            return self._blocking

    async def here(self) -> httpx.AsyncClient:
        """The client of the running event loop: connections cannot be used by another."""
        loop = asyncio.get_running_loop()
        kept = self._by_loop.get(loop)
        if kept is None:
            for other in [other for other in self._by_loop if other.is_closed()]:
                self._by_loop.pop(other, None)
            client = httpx.AsyncClient(
                base_url=self._base_url,
                headers=self._headers,
                timeout=self._timeout,
                trust_env=False,
                transport=httpx.AsyncHTTPTransport(
                    verify=self._verify, limits=self._limits, retries=self._retries, trust_env=False
                ),
            )
            kept = self._by_loop[loop] = client, _open_until_the_loop_ends(client)
            await anext(kept[1])
        return kept[0]

    def close(self) -> None:
        """Close the connections of blocking calls; the next call opens others."""
        with self._lock:
            client, self._blocking = self._blocking, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; the next call opens others."""
        kept = self._by_loop.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept[1].aclose()


async def _open_until_the_loop_ends(client: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Close ``client`` when the loop ends: ``asyncio.run`` ends what it finds of asynchronous generators.

    So a script need not close what ``get_aegis_llm_proxy`` gave it.
    """
    try:
        yield
    finally:
        await client.aclose()
