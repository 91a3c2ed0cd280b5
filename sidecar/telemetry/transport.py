"""Carries encoded exports to a collector, over HTTP or gRPC."""

from __future__ import annotations

import importlib
from enum import Enum
from typing import Any, Final, Protocol

import aiohttp

from sidecar.telemetry.environment import OtlpTarget, Signal
from sidecar.telemetry.environment import Protocol as OtlpProtocol
from sidecar.telemetry.refusal import TelemetryRefused

#: The statuses after which the same may be sent again, in the two protocols' words
#: (https://opentelemetry.io/docs/specs/otlp/#failures).
_HTTP_AGAIN: Final = frozenset({429, 502, 503, 504})
_GRPC_AGAIN: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_GRPC_METHODS: Final = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.METRICS: "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}


class Sent(Enum):
    """What became of an export."""

    TAKEN = "taken"
    AGAIN = "again"
    REFUSED = "refused"


class Transport(Protocol):
    """One way to one collector. ``send`` never raises; ``trouble`` says why the last one failed."""

    trouble: str

    async def send(self, body: bytes) -> Sent: ...

    async def aclose(self) -> None: ...


class HttpTransport:
    """OTLP over HTTP, in protobuf.

    Redirects and proxy variables are not followed: the collector is where it is said to be.
    """

    def __init__(self, target: OtlpTarget) -> None:
        self._target = target
        self._session: aiohttp.ClientSession | None = None
        self.trouble = ""

    async def send(self, body: bytes) -> Sent:
        """One export; all failures are answers."""
        target = self._target
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={**dict(target.headers), "content-type": "application/x-protobuf"},
                timeout=aiohttp.ClientTimeout(total=target.timeout_s),
                auto_decompress=False,
            )
        try:
            async with self._session.post(target.url, data=body, allow_redirects=False) as response:
                if response.status < 300:
                    self.trouble = ""
                    return Sent.TAKEN
                self.trouble = f"answered {response.status}"
                return Sent.AGAIN if response.status in _HTTP_AGAIN else Sent.REFUSED
        except TimeoutError:
            self.trouble = f"no answer within {target.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its text may hold the URL, and that a user name and a password.
            self.trouble = type(error).__name__
        return Sent.AGAIN

    async def aclose(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()


class GrpcTransport:
    """OTLP over gRPC. The bytes are the same; only the package ``grpcio`` is needed to carry them."""

    def __init__(self, target: OtlpTarget, signal: Signal) -> None:
        self._target = target
        self._method = _GRPC_METHODS[signal]
        self._grpc = _import_grpc()
        self._channel: Any = None
        self.trouble = ""

    async def send(self, body: bytes) -> Sent:
        """One export; all failures are answers."""
        target = self._target
        if self._channel is None:
            aio = self._grpc.aio
            self._channel = (
                aio.secure_channel(target.url, self._grpc.ssl_channel_credentials())
                if target.secure
                else aio.insecure_channel(target.url)
            )
        export = self._channel.unary_unary(self._method)
        try:
            await export(body, timeout=target.timeout_s, metadata=target.headers)
        except self._grpc.RpcError as error:
            self.trouble = f"answered {error.code().name}"
            return Sent.AGAIN if error.code().name in _GRPC_AGAIN else Sent.REFUSED
        self.trouble = ""
        return Sent.TAKEN

    async def aclose(self) -> None:
        """Let go of the connection."""
        if self._channel is not None:
            await self._channel.close()


def transport_to(target: OtlpTarget, signal: Signal) -> Transport:
    """The transport that ``target`` asks for. Raises ``TelemetryRefused`` when it cannot be had."""
    if target.protocol is OtlpProtocol.GRPC:
        return GrpcTransport(target, signal)
    return HttpTransport(target)


def _import_grpc() -> Any:
    """Imported only where it is asked for: it is large, and not one of the sidecar's dependencies."""
    try:
        importlib.import_module("grpc.aio")
        return importlib.import_module("grpc")
    except ImportError:
        raise TelemetryRefused(
            "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and the package grpcio is not installed: install it, "
            "or set the protocol to http/protobuf and the endpoint to the collector's port for it, 4318"
        ) from None
