"""An OTLP receiver for tests: a real HTTP server that decodes what it is sent, and misbehaves on command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import grpc
import msgspec
import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1 import trace_pb2

Plain = str | bool | int | float | list[str]


class Event(msgspec.Struct, frozen=True):
    """A decoded span event."""

    at_ns: int
    name: str
    attributes: dict[str, Plain]


class ReceivedSpan(msgspec.Struct, frozen=True):
    """A decoded span; ids in hexadecimal. ``links`` are the traces that it is linked to."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start_ns: int
    end_ns: int
    flags: int
    trace_state: str
    attributes: dict[str, Plain]
    events: list[Event]
    failed: bool
    message: str
    resource: dict[str, Plain]
    links: list[str]


class OtlpReceiver:
    """Takes traces and metrics at ``endpoint``; an async context manager.

    ``status`` is what it answers; with ``hang`` it answers nothing at all. ``bodies`` are the exports as
    they came, whatever was answered.
    """

    def __init__(self) -> None:
        self.status = 200
        self.hang = False
        self.spans: list[ReceivedSpan] = []
        self.metrics: list[Metric] = []
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self._came = asyncio.Condition()
        self._ending = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/traces", self._traces)
        app.router.add_post("/v1/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._ending.set()
        await self._runner.cleanup()

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until what has come is ``enough``; an export is what it waits for."""
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(enough)

    async def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """The spans of a trace, once its SERVER span is there."""

        def there() -> bool:
            return any(span.trace_id == trace_id and span.kind == "SERVER" for span in self.spans)

        await self.until(there)
        return [span for span in self.spans if span.trace_id == trace_id]

    async def _traces(self, request: web.Request) -> web.Response:
        body = await self._receive(request)
        if self.status == 200:
            self.take_spans(body)
        return await self._answer()

    async def _metrics(self, request: web.Request) -> web.Response:
        body = await self._receive(request)
        if self.status == 200:
            self.take_metrics(body)
        return await self._answer()

    def take_spans(self, body: bytes) -> None:
        """Decode an export of spans."""
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _plain(of_resource.resource.attributes)
            for of_scope in of_resource.scope_spans:
                assert of_scope.scope.name == "sidecar"
                self.spans += [_span(span, resource) for span in of_scope.spans]

    def take_metrics(self, body: bytes) -> None:
        """Decode an export of metrics; it stands in for the one before."""
        self.metrics = [
            metric
            for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        ]

    async def _receive(self, request: web.Request) -> bytes:
        assert request.content_type == "application/x-protobuf"
        body = await request.read()
        await self.note(body, {name.lower(): value for name, value in request.headers.items()})
        return body

    async def note(self, body: bytes, headers: dict[str, str]) -> None:
        """An export has come; who is to hang does so here."""
        self.bodies.append(body)
        self.headers.append(headers)
        await self.tell()
        if self.hang:
            await self._ending.wait()

    async def tell(self) -> None:
        """Something has changed that ``until`` may wait for."""
        async with self._came:
            self._came.notify_all()

    async def _answer(self) -> web.Response:
        await self.tell()
        return web.Response(status=self.status, content_type="application/x-protobuf")


def _span(span: trace_pb2.Span, resource: dict[str, Plain]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        flags=span.flags,
        trace_state=span.trace_state,
        attributes=_plain(span.attributes),
        events=[Event(event.time_unix_nano, event.name, _plain(event.attributes)) for event in span.events],
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        message=span.status.message,
        resource=resource,
        links=[link.trace_id.hex() for link in span.links],
    )


def _plain(attributes: object) -> dict[str, Plain]:
    return {pair.key: _value(pair.value) for pair in _pairs(attributes)}


def _pairs(attributes: object) -> list[KeyValue]:
    return list(attributes)  # type: ignore[call-overload, no-any-return]


def _value(value: AnyValue) -> Plain:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [item.string_value for item in value.array_value.values]
    plain: Plain = getattr(value, which or "string_value")
    return plain


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    """A receiver to which every sidecar of the test exports, without delay."""
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield receiver


@pytest.fixture
async def grpc_receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    """As ``receiver``, over gRPC."""
    async with OtlpReceiver() as receiver:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_grpc_handlers(receiver),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield receiver
        await server.stop(grace=0)


def _grpc_handlers(receiver: OtlpReceiver) -> Any:
    """The two services of OTLP, on bytes: what is decoded is decoded by ``receiver``."""
    services = "/opentelemetry.proto.collector"
    takers = {
        f"{services}.trace.v1.TraceService/Export": receiver.take_spans,
        f"{services}.metrics.v1.MetricsService/Export": receiver.take_metrics,
    }

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            take = takers.get(details.method)

            async def export(body: bytes, context: Any) -> bytes:
                assert take is not None
                await receiver.note(body, dict(context.invocation_metadata()))
                if receiver.status != 200:
                    await context.abort(grpc.StatusCode.UNAVAILABLE)
                take(body)
                await receiver.tell()
                return b""

            return grpc.unary_unary_rpc_method_handler(export) if take is not None else None

    return Handlers()
