"""OpenTelemetry's standard variables: where exports go, with what, and who they are from."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sidecar import __version__
from sidecar.telemetry.environment import OtlpTarget, Protocol, Signal, resource_of, target_of
from sidecar.telemetry.refusal import TelemetryRefused

TRACES, METRICS = Signal.TRACES, Signal.METRICS


def target(
    environ: Mapping[str, str], endpoint: str = "http://c:4318", signal: Signal = TRACES
) -> OtlpTarget:
    found = target_of(signal, endpoint, environ)
    assert found is not None
    return found


def test_the_configurations_endpoint_is_for_both_signals() -> None:
    assert target({}) == OtlpTarget(Protocol.HTTP, "http://c:4318/v1/traces", (), 10.0, False)
    assert target({}, "https://c/otlp/", METRICS).url == "https://c/otlp/v1/metrics"
    assert target({}, "https://c/otlp/", METRICS).secure


def test_a_variable_for_one_signal_goes_before_the_one_for_all() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own:1/as/it/is",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=1",
        "OTEL_EXPORTER_OTLP_HEADERS": "b=2, X-Key = c%20d ,",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc",
    }
    assert target(environ) == OtlpTarget(Protocol.HTTP, "http://own:1/as/it/is", (("a", "1"),), 2.5, False)
    metrics = target(environ, signal=METRICS)
    assert metrics == OtlpTarget(Protocol.GRPC, "c:4318", (("b", "2"), ("x-key", "c d")), 2.5, False)


def test_grpc_takes_a_host_with_or_without_a_scheme() -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert target(environ, "c:4317").url == target(environ, "http://c:4317").url == "c:4317"
    assert target(environ, "https://c:4317").secure


@pytest.mark.parametrize(
    ("environ", "endpoint"),
    [
        ({}, ""),
        ({"OTEL_SDK_DISABLED": "TRUE"}, "http://c:4318"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "http://c:4318"),
    ],
)
def test_nothing_is_exported_unless_asked_for(environ: dict[str, str], endpoint: str) -> None:
    assert target_of(TRACES, endpoint, environ) is None


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "is 'http/json'; write http/protobuf or grpc"),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "ftp://c"},
            "'ftp://c' is no address; write http://host:4318",
        ),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "TIMEOUT is '10s'; write a number of milliseconds"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "HEADERS is not a list of name=value"),
    ],
)
def test_what_cannot_be_followed_is_refused(environ: dict[str, str], words: str) -> None:
    with pytest.raises(TelemetryRefused, match=words) as refusal:
        target(environ)
    assert "secret" not in str(refusal.value)


def test_who_the_telemetry_is_from() -> None:
    attributes = resource_of({})
    assert attributes["service.name"] == "aegis-sidecar"
    assert attributes["service.version"] == __version__
    given = resource_of(
        {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,deployment.environment.name=pro%64,odd,host.name=h"}
    )
    assert given["service.name"] == "a"
    assert (given["deployment.environment.name"], given["host.name"]) == ("prod", "h")
    assert resource_of({"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a"})[
        "service.name"
    ] == ("b")
