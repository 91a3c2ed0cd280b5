"""A collector that is away, hangs or refuses: the app notices nothing, and the operator is told."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from sidecar.telemetry.exporter import Exporter
from sidecar.telemetry.pusher import MetricPusher
from sidecar.telemetry.transport import Sent
from tests.rig.otlp import OtlpReceiver
from tests.rig.upstream import RefusedPort
from tests.rig.world import CHAT, PUBLIC, RunningSidecar, World, chat


async def answer(sidecar: RunningSidecar) -> str:
    response = await sidecar.http.post(CHAT, json=chat(max_tokens=4), headers=PUBLIC)
    assert response.status_code == 200
    trace_id: str = response.headers["x-sidecar-trace-id"]
    return trace_id


async def metric(sidecar: RunningSidecar, name: str) -> float:
    """The value of one series of ``/metrics``."""
    text = (await sidecar.http.get("/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.split()[-1])


async def until(sidecar: RunningSidecar, name: str, value: float) -> None:
    async with asyncio.timeout(10):
        while await metric(sidecar, name) != value:  # noqa: ASYNC110 - it is polled from outside
            await asyncio.sleep(0.02)


TAKES = 'sidecar_collector_takes{what="spans"}'
DROPPED = 'sidecar_dropped_total{what="spans"}'


async def test_a_collector_that_hangs_delays_nothing_and_is_told_of(
    world: World, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
    receiver.hang = True
    sidecar = await world.sidecar()
    for _ in range(3):
        await answer(sidecar)
    await receiver.until(lambda: len(receiver.bodies) > 0)
    await until(sidecar, TAKES, 0)
    assert await metric(sidecar, DROPPED) == 0, "what waits is not lost yet"


@pytest.mark.parametrize("status", [400, 307])
async def test_what_is_refused_is_dropped_and_counted_and_said_once(
    world: World, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.status = status
    sidecar = await world.sidecar()
    await answer(sidecar)
    await until(sidecar, DROPPED, 4)
    await answer(sidecar)
    await until(sidecar, DROPPED, 8)
    said = [line.message for line in caplog.records if line.name == "sidecar.telemetry.exporter"]
    assert said == [f"the collector does not take telemetry: answered {status}"]
    receiver.status = 200
    trace_id = await answer(sidecar)
    assert await receiver.trace(trace_id)
    await until(sidecar, TAKES, 1)


async def test_a_collector_that_comes_back_gets_what_was_kept_for_it(
    world: World, receiver: OtlpReceiver
) -> None:
    receiver.status = 503
    sidecar = await world.sidecar()
    early = await answer(sidecar)
    await until(sidecar, TAKES, 0)
    receiver.status = 200
    assert await receiver.trace(early)
    await until(sidecar, TAKES, 1)
    assert await metric(sidecar, DROPPED) == 0


async def test_no_collector_at_all(
    world: World, refused_port: RefusedPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", refused_port.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    sidecar = await world.sidecar()
    for _ in range(2):
        await answer(sidecar)
    await until(sidecar, TAKES, 0)


async def test_what_is_still_queued_is_sent_at_the_end(
    world: World, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")
    sidecar = await world.sidecar()
    trace_id = await answer(sidecar)
    assert receiver.spans == []
    await world.aclose()
    assert await receiver.trace(trace_id)
    assert {metric.name for metric in receiver.metrics} >= {
        "sidecar.calls",
        "gen_ai.client.operation.duration",
    }


async def test_headers_and_resource_attributes_are_sent(
    world: World, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-token")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.namespace=rag")
    sidecar = await world.sidecar()
    spans = await receiver.trace(await answer(sidecar))
    assert receiver.headers[0]["authorization"] == "Bearer collector-token"
    expected = {
        "service.name": "aegis-sidecar",
        "service.namespace": "rag",
        "deployment.environment.name": "test",
        "process.pid": os.getpid(),
    }
    assert expected.items() <= spans[0].resource.items()


async def test_over_grpc_a_refusal_is_tried_again_too(world: World, grpc_receiver: OtlpReceiver) -> None:
    grpc_receiver.status = 503
    sidecar = await world.sidecar()
    early = await answer(sidecar)
    await until(sidecar, TAKES, 0)
    grpc_receiver.status = 200
    assert await grpc_receiver.trace(early)


class Collector:
    """A transport to a collector that answers what it is told to."""

    def __init__(self, answer: Sent) -> None:
        self.answer = answer
        self.trouble = "out of order"
        self.got: list[bytes] = []

    async def send(self, body: bytes) -> Sent:
        self.got.append(body)
        return self.answer

    async def aclose(self) -> None:
        """Nothing is open."""


async def test_the_queue_is_bounded_in_bytes(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector(Sent.AGAIN)
    exporter = Exporter(collector, b"".join, every_s=0.001, queue_bytes_max=100)
    for _ in range(5):
        exporter.offer(b"x" * 40, 3)
    assert exporter.dropped == 9
    await exporter.close()
    assert exporter.dropped == 15
    assert exporter.sent == 0
    assert [line.levelno for line in caplog.records] == [logging.WARNING]


async def test_a_push_that_fails_is_counted_and_not_repeated() -> None:
    collector = Collector(Sent.REFUSED)
    pusher = MetricPusher(collector, lambda: b"all", every_s=0.01)
    async with asyncio.timeout(10):
        while pusher.dropped < 3:  # noqa: ASYNC110 - the pusher tells nobody
            await asyncio.sleep(0.01)
    assert pusher.failing == "out of order"
    collector.answer = Sent.TAKEN
    await pusher.close()
    assert pusher.failing == ""
    assert set(collector.got) == {b"all"}
