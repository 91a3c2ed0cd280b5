"""Encodes metrics as OTLP takes them (``metrics.proto``): cumulative, from the start of the process on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sidecar.telemetry.instruments import Distribution, Exemplar, Family, FamilyKind, Labels
from sidecar.telemetry.protobuf import (
    attribute,
    double,
    fixed64,
    join,
    message,
    number,
    packed_double,
    packed_fixed64,
    text,
)

_CUMULATIVE: Final = 2


def export_request(
    resource_field: bytes, scope_field: bytes, families: Sequence[Family], start_ns: int, now_ns: int
) -> bytes:
    """An ``ExportMetricsServiceRequest``."""
    metrics = join(message(2, _metric(family, start_ns, now_ns)) for family in families if family.series)
    return message(1, resource_field + message(2, scope_field + metrics))


def _metric(family: Family, start_ns: int, now_ns: int) -> bytes:
    head = text(1, family.name) + text(2, family.help) + text(3, family.unit)
    times = fixed64(2, start_ns) + fixed64(3, now_ns)
    points = join(message(1, times + _point(family, labels, value)) for labels, value in family.series)
    if family.kind is FamilyKind.HISTOGRAM:
        return head + message(9, points + number(2, _CUMULATIVE))
    if family.kind is FamilyKind.COUNTER:
        return head + message(7, points + number(2, _CUMULATIVE) + number(3, True))
    return head + message(5, points)


def _point(family: Family, labels: Labels, value: float | Distribution) -> bytes:
    pairs = [(name, told) for name, told in zip(family.labels, labels, strict=True) if told]
    if not isinstance(value, Distribution):
        return double(4, value) + join(attribute(7, name, told) for name, told in pairs)
    return join(
        (
            fixed64(4, sum(value.counts)),
            double(5, value.total),
            packed_fixed64(6, value.counts),
            packed_double(7, family.bounds),
            *(message(8, _exemplar(exemplar)) for exemplar in value.exemplars if exemplar is not None),
            *(attribute(9, name, told) for name, told in pairs),
        )
    )


def _exemplar(exemplar: Exemplar) -> bytes:
    return join(
        (
            fixed64(2, int(exemplar.at_s * 1e9)),
            double(3, exemplar.value),
            message(4, bytes.fromhex(exemplar.span_id)),
            message(5, bytes.fromhex(exemplar.trace_id)),
        )
    )
