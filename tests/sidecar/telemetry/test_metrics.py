"""What the metrics say after calls, as Prometheus and as a collector read it."""

from __future__ import annotations

import asyncio
import re
import time
from decimal import Decimal

import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.rig.otlp import OtlpReceiver
from tests.rig.promtool import Promtool
from tests.rig.world import CHAT, CRITICAL, HIGH, PUBLIC, RunningSidecar, World, chat

PERSONAL = "Write to Erika at erika.musterfrau@web.de about her diabetes."
CAPS = {"budgets": {"caps": [{"name": "all-day", "tier": "*", "period": "day", "usd": 2}]}}


async def call(
    sidecar: RunningSidecar, headers: dict[str, str], text: str = "hi", **fields: object
) -> httpx.Response:
    return await sidecar.http.post(CHAT, json=chat(text, max_tokens=4, **fields), headers=headers)


async def scraped(sidecar: RunningSidecar, accept: str = "") -> str:
    """What a scraper gets, once the calls that have ended are counted."""
    await sidecar.sidecar.telemetry.intake.drain()
    response = await sidecar.http.get("/metrics", headers={"accept": accept} if accept else {})
    assert response.status_code == 200
    return response.text


def value(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of ``name`` that have ``labels``."""
    total, found = 0.0, False
    for line in text.splitlines():
        sample = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if sample is None or sample[1] != name:
            continue
        has = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2] or ""))
        if labels.items() <= has.items():
            total, found = total + float(sample[3]), True
    assert found, f"no {name} with {labels}"
    return total


async def test_calls_money_and_time_are_counted(world: World, promtool: Promtool) -> None:
    sidecar = await world.sidecar(CAPS)
    await world.openai.fault(status=503, times=1, bill=False)
    answers = [
        await call(sidecar, CRITICAL),
        await call(sidecar, CRITICAL),
        await call(sidecar, HIGH, stream=True),
    ]
    await call(sidecar, {}, PERSONAL)
    text = await scraped(sidecar)
    promtool("check", "metrics", stdin=text)
    assert value(text, "sidecar_calls_total") == 4
    assert (
        value(text, "sidecar_calls_total", tier="openai", reason="critical_quality", outcome="complete") == 1
    )
    assert value(text, "sidecar_calls_total", verdict="SENSITIVE", tier="local_ollama", arm="routed") == 1
    assert value(text, "sidecar_tiers_passed_over_total", tier="openai", reason="attempt_failed") == 1
    assert value(text, "sidecar_attempts_failed_total", tier="openai", fault="server_error") == 1
    assert value(text, "gen_ai_client_operation_duration_seconds_count") == 5
    assert value(text, "gen_ai_client_operation_duration_seconds_count", error_type="server_error") == 1
    assert (
        value(text, "gen_ai_client_operation_time_to_first_chunk_seconds_count", sidecar_tier="ollama_cloud")
        == 1
    )
    tokens = value(text, "gen_ai_client_token_usage_sum", sidecar_tier="openai")
    usage = answers[1].json()["usage"]
    assert tokens == usage["prompt_tokens"] + usage["completion_tokens"]
    assert value(text, "sidecar_ledger_holds_total", result="taken") == 4
    # What is spent is the same in the caps, in the counter and in the records.
    records = await sidecar.records()
    spent = sum(record.cost_nano_usd for record in records) / 1e9
    assert value(text, "sidecar_spend_usd_total") == pytest.approx(spent, abs=1e-12)
    assert value(text, "sidecar_cap_posted_usd", cap="all-day") == pytest.approx(spent, abs=1e-12)
    assert value(text, "sidecar_cap_remaining_usd", cap="all-day") == pytest.approx(2 - spent, abs=1e-12)
    assert Decimal(answers[1].headers["x-sidecar-cost-usd"]) > 0
    assert value(text, "sidecar_holds_open") == 0
    assert value(text, "sidecar_breaker_state", tier="openai", state="closed") == 1
    assert value(text, "sidecar_rollout_percent") == 100
    assert value(text, "process_resident_memory_bytes") > 1e6


async def test_what_waits_and_what_is_late_is_shown(world: World) -> None:
    sidecar = await world.sidecar({"tiers": {"openai": {"max_concurrency": 1}}} | CAPS)
    await world.openai.fault(delay_s=30.0)
    calls = [asyncio.create_task(call(sidecar, CRITICAL)) for _ in range(3)]
    tier = sidecar.sidecar.current.upstreams["openai"]
    async with asyncio.timeout(20):
        while tier.places.waiting < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # Longer than the quarter of a second between two measurements, so that one of them is late.
    time.sleep(0.6)  # noqa: ASYNC251
    async with asyncio.timeout(20):
        while value(text := await scraped(sidecar), "sidecar_event_loop_lag_seconds_count") < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert value(text, "sidecar_tier_queue", tier="openai") == 2
    assert value(text, "sidecar_tier_in_flight", tier="openai") == 1
    assert value(text, "sidecar_tier_in_flight", tier="local_ollama") == 0
    assert value(text, "sidecar_calls_in_flight") == 3
    assert value(text, "sidecar_holds_open") == 1
    assert value(text, "sidecar_event_loop_lag_seconds_sum") >= 0.3
    # The one hold had to be durable before its call went out.
    commits = value(text, "sidecar_ledger_commit_duration_seconds_count")
    assert commits >= 1
    assert 0 < value(text, "sidecar_ledger_commit_duration_seconds_sum") < 10 * commits
    for one in calls:
        one.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_histograms_lead_to_traces(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar()
    response = await call(sidecar, PUBLIC)
    spans = await receiver.trace(response.headers["x-sidecar-trace-id"])
    text = await scraped(sidecar, "application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert text.endswith("# EOF\n")
    exemplars = re.findall(
        r'^(\w+)\{.*\} \d+ # \{trace_id="(\w{32})",span_id="(\w{16})"\} \S+ \d+\.\d+$', text, re.M
    )
    assert set(exemplars) == {
        ("sidecar_call_duration_seconds_bucket", spans[0].trace_id, spans[0].span_id),
        ("gen_ai_client_operation_duration_seconds_bucket", spans[0].trace_id, spans[-1].span_id),
    }
    assert "# TYPE sidecar_calls counter\n" in text
    assert "# UNIT sidecar_spend_usd usd\n" in text
    assert " # {" not in await scraped(sidecar), "the plain format knows no exemplars"


def points(metrics: list[Metric]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The values of a push, histograms by their count; names as Prometheus has them."""
    found = {}
    for metric in metrics:
        data = getattr(metric, metric.WhichOneof("data") or "gauge")
        for point in data.data_points:
            labels = tuple(sorted((pair.key, pair.value.string_value) for pair in point.attributes))
            number = point.count if metric.HasField("histogram") else point.as_double
            found[metric.name, labels] = float(number)
    return found


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics are pushed at once."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")


@pytest.mark.usefixtures("often")
async def test_a_collector_is_pushed_the_same(world: World, receiver: OtlpReceiver) -> None:
    await check_pushes(world, receiver)


@pytest.mark.usefixtures("often")
async def test_a_collector_is_pushed_the_same_over_grpc(world: World, grpc_receiver: OtlpReceiver) -> None:
    await check_pushes(world, grpc_receiver)


async def check_pushes(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar(CAPS)
    await call(sidecar, CRITICAL)
    await call(sidecar, PUBLIC)
    text = await scraped(sidecar)

    def pushed() -> bool:
        calls = [number for (name, _), number in points(receiver.metrics).items() if name == "sidecar.calls"]
        return sum(calls) == 2

    await receiver.until(pushed)
    found = points(receiver.metrics)
    for (name, labels), number in found.items():
        if name.startswith(("gen_ai.", "sidecar.calls", "sidecar.cap.", "sidecar.spend", "sidecar.tier.")):
            plain = {key.replace(".", "_"): told for key, told in labels}
            ends = ("_total", "_usd_total", "_usd", "_seconds_count", "_count", "")
            names = {name.replace(".", "_") + end for end in ends}
            there = [it for it in names if re.search(rf"^{it}[ {{]", text, re.M)]
            assert any(value(text, it, **plain) == number for it in there), (name, labels)
    (durations,) = [
        metric for metric in receiver.metrics if metric.name == "gen_ai.client.operation.duration"
    ]
    assert (durations.unit, durations.histogram.aggregation_temporality) == ("s", 2)
    point = durations.histogram.data_points[0]
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert sum(point.bucket_counts) == point.count
    assert point.exemplars[0].trace_id


async def test_models_that_apps_make_up_do_not_become_series_without_end(
    world: World, promtool: Promtool
) -> None:
    sidecar = await world.sidecar({"rollout": {"percent": 0}})
    for number in range(60):
        await call(sidecar, PUBLIC, model=f'model "{number}"\\\n')
    text = await scraped(sidecar)
    promtool("check", "metrics", stdin=text)
    models = set(re.findall(r'gen_ai_request_model="((?:[^"\\]|\\.)*)"', text))
    assert len(models) == 51
    assert r"model \"0\"\\\n" in models
    assert value(text, "gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="other") == 10


async def test_a_page_of_another_site_may_not_read_them(world: World) -> None:
    sidecar = await world.sidecar()
    response = await sidecar.http.get("/metrics", headers={"origin": "https://elsewhere.example"})
    assert response.status_code == 403
