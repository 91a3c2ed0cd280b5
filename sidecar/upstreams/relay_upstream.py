"""The relay lane: the caller's bytes go to the upstream, its bytes come back, usage is read on the side."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from collections.abc import AsyncIterator, Mapping

import aiohttp
from yarl import URL

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.ports import OutboundCall
from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Arm, Dialect, Lane
from sidecar.upstreams.faults import fault_of_status, is_odd_type, plain_type, retry_after_s
from sidecar.upstreams.patience import Patience
from sidecar.wire.error_body import upstream_message, without_key
from sidecar.wire.fold import Fold, fold_for
from sidecar.wire.outbound import asked_for_usage, relay_body

_ERROR_BODY_MAX = 256 * 1024
_ANSWER_BODY_MAX = 256 * 1024 * 1024
#: What may come before the first token (roles, comments, keep-alives) and is held back with it.
_PRELUDE_MAX = 1024 * 1024
#: As much as this is only found unread when the upstream is faster than the client, or the sidecar: at twice
#: as much aiohttp stops reading, and what the upstream would send stays with it.
_PILED_UP = 64 * 1024
#: llama.cpp's server closes idle connections after 5 s; staying below it avoids writing into a closed one.
_KEEPALIVE_S = 4.0

#: Response headers that belong to one hop or are made anew for the caller.
_NOT_RELAYED = frozenset(
    {
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class RelayLane:
    """Relays calls to one tier over pooled connections, without retries, redirects or cookies."""

    def __init__(self, tier: TierSpec, ssl_context: ssl.SSLContext) -> None:
        self._tier = tier
        self._ssl_context = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._limit_field = "max_completion_tokens" if tier.provider == "openai" else "max_tokens"

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            proxy, proxy_auth = _proxy_of(self._tier)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ssl=self._ssl_context, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=60
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                proxy=proxy,
                proxy_auth=proxy_auth,
                # The environment is read once, above; aiohttp would go to threads for it on every call.
                trust_env=False,
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._tier.timeouts.connect_s,
                    connect=self._tier.timeouts.connect_s,
                ),
            )
        return self._session

    async def aclose(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, call: OutboundCall) -> RelayedAnswer:
        """One attempt; see ``UpstreamLane``. In the legacy arm whatever the upstream answers is an answer."""
        legacy = call.arm is Arm.LEGACY
        priced = self._tier.price is not None
        ask_usage = priced or not legacy
        body = relay_body(call, limit_field=self._limit_field, ask_usage=ask_usage)
        fold = fold_for(call.door, stream=call.stream, drop_usage=ask_usage and not asked_for_usage(call))
        timeouts = self._tier.timeouts
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(min(timeouts.first_byte_s, timeouts.total_s)):
                response = await self._post(call, body)
                answer = RelayedAnswer(response, fold, self._tier, lenient=legacy)
                await answer.start(call.stream)
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, UpstreamFault):
                raise
            fault = fault_of_exception(error, self._tier)
            if fault is None:
                raise
            raise fault from error
        return answer

    async def ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body of a request that generates nothing. Raises ``UpstreamFault`` when unreachable."""
        timeouts = self._tier.timeouts
        try:
            async with (
                asyncio.timeout(min(timeouts.first_byte_s, 10.0)),
                self._open().request(
                    method,
                    upstream_url(self._tier, path),
                    data=body,
                    headers=self._headers({}),
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise fault_of_exception(error, self._tier) or error from error

    def _headers(self, callers: Mapping[str, str]) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **callers}
        if self._tier.api_key and self._tier.dialect is Dialect.ANTHROPIC:
            headers["x-api-key"] = self._tier.api_key
        elif self._tier.api_key:
            headers["Authorization"] = f"Bearer {self._tier.api_key}"
        return headers

    async def _post(self, call: OutboundCall, body: bytes) -> aiohttp.ClientResponse:
        headers = self._headers(dict(call.headers))
        session, url = self._open(), upstream_url(self._tier, call.door.path)
        try:
            return await session.post(url, data=body, headers=headers, allow_redirects=False)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # A pooled connection can be closed by the other side just as it is used again. Nothing came
            # back, and a free tier bills nothing, so one more try is safe there; a priced one fails over.
            if self._tier.price is not None or isinstance(error, aiohttp.ClientConnectorError):
                raise
            return await session.post(url, data=body, headers=headers, allow_redirects=False)


def _proxy_of(tier: TierSpec) -> tuple[URL | None, aiohttp.BasicAuth | None]:
    """The proxy that the environment names for the tier, and what it says to be let through.

    Proxy variables must never carry a local call off the machine.
    """
    if not tier.off_box:
        return None, None
    base = URL(tier.base_url)
    proxies = urllib.request.getproxies()
    found = proxies.get(base.scheme) or proxies.get("all")
    if not found or urllib.request.proxy_bypass(base.host or ""):
        return None, None
    proxy = URL(found)
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return proxy.with_user(None), auth


class RelayedAnswer:
    """An upstream's answer on its way to the caller; see ``Answer``."""

    lane = Lane.RELAY

    def __init__(
        self, response: aiohttp.ClientResponse, fold: Fold, tier: TierSpec, *, lenient: bool
    ) -> None:
        self._response = response
        self._fold = fold
        self._tier = tier
        self._lenient = lenient
        self._patience = Patience()
        self._first = b""
        self._ended = False
        self._whole = True
        self._closed = False
        self.tally = fold.tally
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "application/json")
        # One that holds the tier's key would hand it to the app.
        self.headers = tuple(
            (name, value)
            for name, value in response.headers.items()
            if name.lower() not in _NOT_RELAYED and not (tier.api_key and tier.api_key in value)
        )

    async def start(self, stream: bool) -> None:
        """Read up to the first token of a stream, or the whole of anything else."""
        if self.status >= 300:
            await self._start_refused()
        elif not self._lenient and is_odd_type(self._response.headers.get("Content-Type"), stream=stream):
            raise UpstreamFault(Fault.GARBAGE, f"answered 200 with {plain_type(self._response.content_type)}")
        elif not stream:
            await self._start_whole()
        else:
            self._whole = False
            await self._start_stream()

    async def _start_refused(self) -> None:
        self._first = without_key(await self._read_whole(_ERROR_BODY_MAX), self._tier.api_key)
        if not self._lenient:
            raise UpstreamFault(
                fault_of_status(self.status, self._first),
                f"answered {self.status}",
                http_status=self.status,
                words=upstream_message(self._first),
                retry_after_s=retry_after_s(self._response.headers.get("Retry-After")),
                body=self._first,
                content_type=self.content_type,
            )

    async def _start_whole(self) -> None:
        body = await self._read_whole(_ANSWER_BODY_MAX)
        self._first = self._fold.feed(body)
        if self._fold.error:
            self._first = without_key(self._first, self._tier.api_key)
        if self._lenient:
            return
        if not body.strip():
            raise UpstreamFault(Fault.EMPTY, "answered 200 with nothing")
        if self._fold.error:
            raise self._told_error(http_status=self.status)
        if self._fold.garbage:
            raise UpstreamFault(Fault.GARBAGE, "answered 200 with something that is no answer")

    async def _read_whole(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await self._response.content.readany():
            size += len(piece)
            if size > limit:
                raise UpstreamFault(Fault.GARBAGE, f"answered with more than {limit} bytes")
            pieces.append(piece)
        self._ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _start_stream(self) -> None:
        held: list[bytes] = []
        size = 0
        tally = self.tally
        while not tally.begun():
            chunk = await self._read()
            out = self._fold.feed(chunk) if chunk else self._fold.finish()
            held.append(out)
            size += len(out)
            if self._lenient and (not chunk or self._fold.error or self._fold.garbage):
                self._ended = not chunk
                break
            if self._fold.error:
                raise self._told_error(http_status=self.status)
            if self._fold.garbage or size > _PRELUDE_MAX:
                raise UpstreamFault(Fault.GARBAGE, "answered 200 with something that is no stream")
            if not chunk:
                if tally.begun():
                    self._ended = True
                    break
                raise UpstreamFault(
                    Fault.CUT if size else Fault.EMPTY, "the stream ended before its first token"
                )
        self._first = b"".join(held)
        if self._fold.error:
            self._first = without_key(self._first, self._tier.api_key)

    def _told_error(self, *, http_status: int | None = None, told: bool = False) -> UpstreamFault:
        words = without_key(self._fold.error.encode(errors="replace"), self._tier.api_key).decode()
        return UpstreamFault(
            Fault.SERVER_ERROR,
            "answered 200 with an error" if http_status is not None else "the upstream reported an error",
            http_status=http_status,
            words=words,
            told=told,
        )

    async def chunks(self) -> AsyncIterator[bytes]:
        """The answer's bytes; raises ``UpstreamFault`` when it breaks off."""
        if self._first:
            yield self._first
        if self._whole:
            return
        idle_s = self._tier.timeouts.idle_s
        while not self._ended:
            try:
                chunk = await self._patience.wait(self._read(), idle_s)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if self.tally.finished:
                    break
                raise fault_of_exception(error, self._tier) or error from error
            out = self._fold.feed(chunk) if chunk else self._fold.finish()
            self._ended = not chunk
            if self._fold.error:
                out = without_key(out, self._tier.api_key)
            if out:
                yield out
            if self._fold.error:
                raise self._told_error(told=True)
        # What the legacy arm's upstream speaks need not be known here, so neither need its end.
        if not self.tally.finished and not (self._lenient and self._fold.garbage):
            raise UpstreamFault(Fault.CUT, "the answer broke off before its end")

    async def _read(self) -> bytes:
        chunk = await self._response.content.readany()
        if len(chunk) >= _PILED_UP:
            self.tally.behind = True
        return chunk

    def _count_unread(self) -> None:
        """Tally what has come and goes nowhere any more: it was generated all the same."""
        try:
            unread = self._response.content.read_nowait()
        except (aiohttp.ClientError, OSError, RuntimeError):
            self.tally.behind = True
            return
        if len(unread) >= _PILED_UP:
            self.tally.behind = True
        self._fold.feed(unread)
        self._fold.finish()

    async def aclose(self) -> None:
        """Give the connection back when the answer was read to its end, else close it at once."""
        self._patience.stop()
        if self._ended:
            self._response.release()
            return
        if not (self._whole or self._closed):
            self._count_unread()
        self._closed = True
        self._response.close()


def upstream_url(tier: TierSpec, path: str) -> str:
    """Where ``path`` of a front door is found at a tier.

    An OpenAI-dialect base URL ends where the SDKs expect it to, mostly in ``/v1``; Ollama's and Anthropic's
    are the root.
    """
    base = tier.base_url.rstrip("/")
    if tier.dialect is Dialect.OLLAMA:
        return base + path
    if tier.dialect is Dialect.ANTHROPIC:
        return base.removesuffix("/v1") + path
    if path.startswith("/v1/"):
        return base + path.removeprefix("/v1")
    return base.removesuffix("/v1") + path


def fault_of_exception(error: BaseException, tier: TierSpec) -> UpstreamFault | None:
    """The fault that an exception of the HTTP client stands for; None when it is not one of those."""
    timeouts = tier.timeouts
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return UpstreamFault(Fault.TLS, "the TLS connection was not accepted")
        case aiohttp.ClientConnectorDNSError():
            return UpstreamFault(Fault.DNS, "the host name was not found")
        case aiohttp.ConnectionTimeoutError():
            return UpstreamFault(Fault.REFUSED, f"no connection within {timeouts.connect_s:g} s")
        case aiohttp.ClientConnectorError():
            return UpstreamFault(Fault.REFUSED, "the connection was refused")
        case TimeoutError():
            return UpstreamFault(Fault.TIMEOUT, "no answer in time")
        case aiohttp.ClientError() | OSError():
            return UpstreamFault(Fault.CUT, "the connection broke off")
    return None
