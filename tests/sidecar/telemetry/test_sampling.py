"""Which calls are traced: a share of them, and always those that tell something."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest

from sidecar.core.trace_context import TraceContext
from sidecar.telemetry.refusal import TelemetryRefused
from sidecar.telemetry.sampling import Sampling, sampler_of
from tests.rig.otlp import OtlpReceiver
from tests.rig.world import CHAT, CRITICAL, PUBLIC, RunningSidecar, World, chat

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
#: The half of an id that a ratio looks at is low in the first and high in the second.
LOW, HIGH = "f" * 16 + "0" * 15 + "1", "0" * 15 + "1" + "f" * 16


def sampled(environ: Mapping[str, str], came: TraceContext | None, share: float = 1.0) -> bool:
    return sampler_of(environ, lambda: Sampling(share)).begin(came).sampled


@pytest.mark.parametrize(
    ("name", "by_itself", "by_a_parent_that_is_not", "by_one_that_is"),
    [
        ("", True, False, True),
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, False, True),
        ("parentbased_always_off", False, False, True),
    ],
)
def test_the_standard_samplers(
    name: str, by_itself: bool, by_a_parent_that_is_not: bool, by_one_that_is: bool
) -> None:
    environ = {"OTEL_TRACES_SAMPLER": name}
    assert sampled(environ, None) is by_itself
    assert sampled(environ, TraceContext(ID, "b" * 16, False)) is by_a_parent_that_is_not
    assert sampled(environ, TraceContext(ID, "b" * 16, True)) is by_one_that_is


def test_a_ratio_goes_by_the_trace_id_as_the_sdks_take_it() -> None:
    ratio = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    by_parent = ratio | {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}
    assert sampled(ratio, TraceContext(LOW, "b" * 16, False))
    assert not sampled(ratio, TraceContext(HIGH, "b" * 16, True))
    assert sampled(by_parent, TraceContext(HIGH, "b" * 16, True))
    assert 350 < sum(sampled(ratio, None) for _ in range(1000)) < 650
    assert not any(sampled(ratio | {"OTEL_TRACES_SAMPLER_ARG": "0"}, None) for _ in range(100))
    assert all(sampled(ratio | {"OTEL_TRACES_SAMPLER_ARG": ""}, None) for _ in range(100))


def test_without_a_sampler_the_configurations_share_counts() -> None:
    assert not any(sampled({}, None, share=0) for _ in range(100))
    assert sampled({}, TraceContext(ID, "b" * 16, True), share=0)
    assert sampled({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, None, share=0)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (
            {"OTEL_TRACES_SAMPLER": "some"},
            "'some'; write one of always_on, always_off, traceidratio, parentbased",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG is '2'; write a number from 0 to 1",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
            "OTEL_TRACES_SAMPLER_ARG is 'half'; write a number from 0 to 1",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused(environ: dict[str, str], words: str) -> None:
    with pytest.raises(TelemetryRefused, match=words):
        sampler_of(environ, Sampling)


async def call(sidecar: RunningSidecar, headers: dict[str, str]) -> httpx.Response:
    return await sidecar.http.post(CHAT, json=chat(max_tokens=4), headers=headers)


async def kept_of(receiver: OtlpReceiver, response: httpx.Response) -> object:
    spans = await receiver.trace(response.headers["x-sidecar-trace-id"])
    assert {span.flags & 1 for span in spans} == {0}
    return spans[0].attributes["sidecar.kept"]


async def test_what_tells_something_is_kept_whatever_the_share(world: World, receiver: OtlpReceiver) -> None:
    sidecar = await world.sidecar({"telemetry": {"sample": 0}, "rollout": {"gates": {"p95_ms_max": 60_000}}})
    plain = await call(sidecar, CRITICAL)
    (sent,) = [
        value for name, value in (await world.openai.log())[-1].headers if name.lower() == "traceparent"
    ]
    assert sent.endswith("-00")
    await world.openai.fault(status=503, times=1)
    assert await kept_of(receiver, await call(sidecar, CRITICAL)) == "fallback"
    await world.local.fault(status=500, times=1)
    assert await kept_of(receiver, await call(sidecar, PUBLIC)) == "failed"
    await sidecar.reload({"rollout": {"gates": {"p95_ms_max": 0.01}}})
    assert await kept_of(receiver, await call(sidecar, PUBLIC)) == "gate"
    await sidecar.reload({"rollout": {"gates": {"p95_ms_max": 60_000}}, "telemetry": {"slow_ms": 0.01}})
    assert await kept_of(receiver, await call(sidecar, PUBLIC)) == "slow"
    assert plain.headers["x-sidecar-trace-id"] not in {span.trace_id for span in receiver.spans}


async def test_always_off_is_final(
    world: World, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    await world.openai.fault(status=503)
    sidecar = await world.sidecar()
    assert (await call(sidecar, CRITICAL)).status_code == 200
    await world.aclose()
    assert receiver.spans == []
