"""Writes metrics as Prometheus reads them: its own text format, and OpenMetrics with exemplars.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://openmetrics.io. Names are made from
OpenTelemetry's as its specification says: underscores for what Prometheus does not take, the unit at the
end, ``_total`` after counters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from sidecar.telemetry.instruments import Distribution, Exemplar, Family, FamilyKind, Labels

PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS: Final = {"s": "seconds", "By": "bytes", "USD": "usd"}
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def exposition(families: Sequence[Family], accept: str) -> tuple[str, bytes]:
    """The content type and the body for a scraper that accepts ``accept``."""
    open_metrics = "application/openmetrics-text" in accept
    lines = [line for family in families for line in _family(family, open_metrics)]
    if open_metrics:
        lines.append("# EOF")
    body = "\n".join(lines) + "\n"
    return OPENMETRICS if open_metrics else PROMETHEUS, body.encode("utf-8", "replace")


@cache
def metric_name(name: str, unit: str) -> str:
    """The name without the ``_total`` of a counter."""
    plain = _NOT_IN_NAMES.sub("_", name)
    return f"{plain}_{_UNITS[unit]}" if unit in _UNITS else plain


def _family(family: Family, open_metrics: bool) -> Iterator[str]:
    name = metric_name(family.name, family.unit)
    total = f"{name}_total" if family.kind is FamilyKind.COUNTER else name
    told = name if open_metrics else total
    yield f"# HELP {told} {family.help}"
    yield f"# TYPE {told} {family.kind}"
    if open_metrics and family.unit in _UNITS:
        yield f"# UNIT {told} {_UNITS[family.unit]}"
    for labels, value in family.series:
        pairs = _pairs(family.labels, labels)
        if isinstance(value, Distribution):
            yield from _histogram(name, pairs, family.bounds, value, open_metrics)
        else:
            yield f"{total}{_braced(pairs)} {_number(value)}"


def _histogram(
    name: str, pairs: list[str], bounds: Sequence[float], value: Distribution, open_metrics: bool
) -> Iterator[str]:
    seen = 0
    for bound, counted, exemplar in zip((*bounds, None), value.counts, value.exemplars, strict=True):
        seen += counted
        edge = "+Inf" if bound is None else _number(float(bound))
        shown = _exemplar(exemplar) if open_metrics and exemplar is not None else ""
        within = _braced([*pairs, f'le="{edge}"'])
        yield f"{name}_bucket{within} {seen}{shown}"
    yield f"{name}_sum{_braced(pairs)} {_number(value.total)}"
    yield f"{name}_count{_braced(pairs)} {seen}"


def _exemplar(exemplar: Exemplar) -> str:
    return (
        f' # {{trace_id="{exemplar.trace_id}",span_id="{exemplar.span_id}"}} '
        f"{_number(exemplar.value)} {exemplar.at_s:.3f}"
    )


def _pairs(names: Sequence[str], values: Labels) -> list[str]:
    return [
        f'{metric_name(name, "")}="{value.translate(_ESCAPES)}"'
        for name, value in zip(names, values, strict=True)
    ]


def _braced(pairs: Sequence[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)
