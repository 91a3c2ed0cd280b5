"""Reads OpenTelemetry's standard variables into what the exporters need.

https://opentelemetry.io/docs/specs/otel/protocol/exporter/ says what they mean. A variable for one signal
(``OTEL_EXPORTER_OTLP_TRACES_...``) goes before that for all; ``telemetry.otlp_endpoint`` of the
configuration stands for ``OTEL_EXPORTER_OTLP_ENDPOINT``, which is its default.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from sidecar import __version__
from sidecar.telemetry.protobuf import Value
from sidecar.telemetry.refusal import TelemetryRefused

_TIMEOUT_S: Final = 10.0
_SERVICE_NAME: Final = "aegis-sidecar"


class Signal(StrEnum):
    """What is exported; the value is its place in the variables."""

    TRACES = "TRACES"
    METRICS = "METRICS"


class Protocol(StrEnum):
    """How it is sent."""

    HTTP = "http/protobuf"
    GRPC = "grpc"


class OtlpTarget(msgspec.Struct, frozen=True):
    """Where one signal goes. ``url`` is complete for HTTP, and host and port for gRPC."""

    protocol: Protocol
    url: str
    headers: tuple[tuple[str, str], ...]
    timeout_s: float
    secure: bool


def disabled(environ: Mapping[str, str]) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` switches all of it off."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def target_of(signal: Signal, endpoint: str, environ: Mapping[str, str]) -> OtlpTarget | None:
    """Where ``signal`` goes; None: nowhere. ``endpoint`` is the configuration's.

    Raises ``TelemetryRefused``.
    """
    if disabled(environ) or environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return None
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
    base = own or endpoint.strip()
    if not base:
        return None
    name, told = _first(signal, "PROTOCOL", environ, Protocol.HTTP)
    try:
        protocol = Protocol(told.lower())
    except ValueError:
        raise TelemetryRefused(f"{name} is {told!r}; write {Protocol.HTTP} or {Protocol.GRPC}") from None
    url = urlsplit(base if "://" in base else f"http://{base}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise TelemetryRefused(f"the OTLP endpoint {base!r} is no address; write http://host:4318")
    if protocol is Protocol.GRPC:
        where = url.netloc
    else:
        where = url.geturl() if own else f"{url.geturl().rstrip('/')}/v1/{signal.lower()}"
    return OtlpTarget(
        protocol, where, _headers(signal, environ), _timeout_s(signal, environ), url.scheme == "https"
    )


def resource_of(environ: Mapping[str, str]) -> dict[str, Value]:
    """The attributes of this process: who it is among the services."""
    given: dict[str, Value] = {}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals and key.strip():
            given[key.strip()] = unquote(value.strip())
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or given.get("service.name") or _SERVICE_NAME
    return {
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "telemetry.sdk.language": "python",
        **given,
        "service.name": name,
    }


def milliseconds(name: str, environ: Mapping[str, str], default_s: float) -> float:
    """A duration that ``name`` gives in milliseconds, in seconds. Raises ``TelemetryRefused``."""
    told = environ.get(name, "").strip()
    if not told:
        return default_s
    if not told.isdigit() or not int(told):
        raise TelemetryRefused(f"{name} is {told!r}; write a number of milliseconds")
    return int(told) / 1000


def _first(signal: Signal, what: str, environ: Mapping[str, str], default: str) -> tuple[str, str]:
    """The variable that counts and what it says."""
    for name in (f"OTEL_EXPORTER_OTLP_{signal}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        if told := environ.get(name, "").strip():
            return name, told
    return what, default


def _headers(signal: Signal, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    name, told = _first(signal, "HEADERS", environ, "")
    headers = []
    for pair in told.split(","):
        if not pair.strip():
            continue
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            # The text is not shown: it is where keys stand.
            raise TelemetryRefused(f"{name} is not a list of name=value, separated by commas")
        headers.append((unquote(key.strip()).lower(), unquote(value.strip())))
    return tuple(headers)


def _timeout_s(signal: Signal, environ: Mapping[str, str]) -> float:
    name, _ = _first(signal, "TIMEOUT", environ, "")
    return milliseconds(name, environ, _TIMEOUT_S)
