"""A collector that others wrote understands what is exported, and hands on the same."""

from __future__ import annotations

import platform
import socket

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, CRITICAL, World, chat
from tests.sidecar.telemetry.span_trees import check_golden

if platform.machine() not in ("x86_64", "AMD64"):
    pytest.skip("oteltap is made for x86-64 only", allow_module_level=True)

from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings


async def test_oteltap_reads_it_and_hands_it_on_unchanged(
    world: World, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = OtelTapHttpProtobufReceiverSettings(
        http_port=port, reemit_traces_to_url=f"{receiver.endpoint}/v1/traces"
    )
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "100")
    async with OtelTapHttpProtobufReceiver(settings) as tap:

        def is_server(span: Span) -> bool:
            return span.kind == Span.SPAN_KIND_SERVER

        def is_count(metric: Metric) -> bool:
            return metric.name == "sidecar.calls" and bool(metric.sum.data_points)

        span, count = tap.await_trace(is_server, timeout=20), tap.await_metric(is_count, timeout=20)
        await world.openai.fault(status=503)
        sidecar = await world.sidecar()
        response = await sidecar.http.post(CHAT, json=chat(max_tokens=8), headers=CRITICAL)
        assert (await span).trace_id.hex() == response.headers["x-sidecar-trace-id"]
        assert [point.as_double for point in (await count).sum.data_points] == [1]
        check_golden(await receiver.trace(response.headers["x-sidecar-trace-id"]), "fallback")
