"""Asks the sidecar to do tasks, awaiting or blocking, whole or streamed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx

from sidecar.client.connections import Connections
from sidecar.client.errors import NotASidecar, SidecarTimeout, SidecarUnreachable, refusal
from sidecar.client.requests import Request, chat_request, embedding_request
from sidecar.client.response import EmbeddingResponse, LLMResponse, read_chat, read_embeddings
from sidecar.client.streams import LLMStream, SyncLLMStream
from sidecar.client.task import AUTO, LLMTask
from sidecar.core.hint_words import DataClassification

URL_VARIABLE = "AEGIS_SIDECAR_URL"
DEFAULT_URL = "http://127.0.0.1:4000"


class AegisLLMProxy:
    """A client of one sidecar: it sends tasks and reads answers, and decides nothing.

    Connections are kept and used again. One object serves any number of threads, tasks and event loops at
    once. It is a context manager of either kind, and works as well without: what is open is closed with
    the event loop or with the process.

    Nothing is sent twice: a call that failed may have been answered and paid for. What is raised is listed
    in ``sidecar.client.errors``.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_s: float = 330.0,
        connect_timeout_s: float = 5.0,
        connect_retries: int = 0,
        max_connections: int = 100,
        app: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``base_url`` is the sidecar's, by default ``AEGIS_SIDECAR_URL`` or ``http://127.0.0.1:4000``.

        ``timeout_s`` is the longest silence: as it is, a little longer than the sidecar lets a call take.
        ``connect_retries`` is how often a connection that was refused is tried again; nothing else is.
        ``app`` names the app in tasks that do not; ``headers`` go with every call.
        Raises ``ValueError`` for a ``base_url`` that is no HTTP URL.
        """
        self.base_url = _base_url(base_url or os.environ.get(URL_VARIABLE) or DEFAULT_URL)
        self._app = app
        self._connections = Connections(
            self.base_url,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            connect_retries=connect_retries,
            max_connections=max_connections,
            headers=headers or {},
        )

    def __repr__(self) -> str:
        return f"AegisLLMProxy({self.base_url!r})"

    # awaiting

    async def generate(self, task: LLMTask) -> LLMResponse:
        """The whole answer to ``task``."""
        request = chat_request(task, app=self._app, stream=False)
        return read_chat(*await self._ask(request))

    def generate_stream(self, task: LLMTask) -> LLMStream:
        """The answer to ``task`` piece by piece; the call begins with the first piece asked for."""
        request = chat_request(task, app=self._app, stream=True)

        async def connect() -> httpx.Response:
            client = await self._connections.here()
            with self._failures():
                response = await client.send(_built(client, request), stream=True)
                if not response.is_success:
                    await response.aread()
            try:
                return _checked(response)
            except BaseException:
                await response.aclose()
                raise

        return LLMStream(connect)

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str = AUTO,
        data_classification: DataClassification | None = None,
        session: str | None = None,
        app: str | None = None,
    ) -> EmbeddingResponse:
        """One vector for each of ``texts``, by the local tier; ``auto`` is its embedding model."""
        request = embedding_request(
            [texts] if isinstance(texts, str) else texts,
            model=model,
            data_classification=data_classification,
            session=session,
            app=app or self._app,
        )
        return read_embeddings(*await self._ask(request))

    async def _ask(self, request: Request) -> tuple[httpx.Headers, bytes, float]:
        client = await self._connections.here()
        started_s = time.perf_counter()
        with self._failures():
            response = await client.send(_built(client, request))
        return _checked(response).headers, response.content, _ms_since(started_s)

    # blocking

    def generate_sync(self, task: LLMTask) -> LLMResponse:
        """``generate``, blocking."""
        request = chat_request(task, app=self._app, stream=False)
        return read_chat(*self._ask_sync(request))

    def generate_stream_sync(self, task: LLMTask) -> SyncLLMStream:
        """``generate_stream``, blocking."""
        request = chat_request(task, app=self._app, stream=True)

        def connect() -> httpx.Response:
            client = self._connections.blocking()
            with self._failures():
                response = client.send(_built(client, request), stream=True)
                if not response.is_success:
                    response.read()
            try:
                return _checked(response)
            except BaseException:
                response.close()
                raise

        return SyncLLMStream(connect)

    def embed_sync(
        self,
        texts: str | Sequence[str],
        *,
        model: str = AUTO,
        data_classification: DataClassification | None = None,
        session: str | None = None,
        app: str | None = None,
    ) -> EmbeddingResponse:
        """``embed``, blocking."""
        request = embedding_request(
            [texts] if isinstance(texts, str) else texts,
            model=model,
            data_classification=data_classification,
            session=session,
            app=app or self._app,
        )
        return read_embeddings(*self._ask_sync(request))

    def _ask_sync(self, request: Request) -> tuple[httpx.Headers, bytes, float]:
        client = self._connections.blocking()
        started_s = time.perf_counter()
        with self._failures():
            response = client.send(_built(client, request))
        return _checked(response).headers, response.content, _ms_since(started_s)

    # closing

    def close(self) -> None:
        """Close the connections of blocking calls; a later call opens others."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop and of blocking calls; a later call opens others."""
        await self._connections.aclose()
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what httpx raises into the client's own errors."""
        try:
            yield
        except httpx.ConnectTimeout as error:
            raise SidecarUnreachable(f"no sidecar answers at {self.base_url}: {_cure(error)}") from error
        except httpx.TimeoutException as error:
            raise SidecarTimeout(f"the sidecar at {self.base_url} was silent for too long") from error
        except httpx.ConnectError as error:
            raise SidecarUnreachable(f"no sidecar listens at {self.base_url}: {_cure(error)}") from error
        except httpx.TransportError as error:
            raise SidecarUnreachable(
                f"the connection to the sidecar at {self.base_url} broke: {error}"
            ) from error


def get_aegis_llm_proxy() -> AegisLLMProxy:
    """The process's own client of the sidecar that ``AEGIS_SIDECAR_URL`` names; always the same one."""
    return _proxy_of(os.environ.get(URL_VARIABLE) or DEFAULT_URL, os.getpid())


@cache
def _proxy_of(base_url: str, pid: int) -> AegisLLMProxy:
    """A forked process must not share its parent's connections: ``pid`` gives it a client of its own."""
    return AegisLLMProxy(base_url)


def _base_url(text: str) -> str:
    """``text`` without the paths that other clients want at its end."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is no base URL; write it as {DEFAULT_URL}")
    return text.rstrip("/").removesuffix("/v1").rstrip("/")


def _built(client: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    return client.build_request("POST", request.path, headers=request.headers, content=request.body)


def _checked(response: httpx.Response) -> httpx.Response:
    """``response`` if it is a sidecar's answer. Raises ``Refused`` for its errors, ``NotASidecar``."""
    if "x-sidecar-request-id" not in response.headers:
        raise NotASidecar(f"{response.url} answered {response.status_code}, and not as a sidecar does")
    if not response.is_success:
        raise refusal(response.status_code, response.headers, response.content)
    return response


def _cure(error: Exception) -> str:
    return f"{error or type(error).__name__}; start it with `sidecar serve`, or set {URL_VARIABLE}"


def _ms_since(started_s: float) -> float:
    return round((time.perf_counter() - started_s) * 1000, 3)
