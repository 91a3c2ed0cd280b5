"""What one can look for among decisions: the filters, how they read from a URL, and their SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self

import msgspec

from sidecar.core.vocabulary import Arm, Outcome, TaskType, VerdictState
from sidecar.storage.decision_summary import TEXT_MAX

STATUS_CLASSES: Final = {"2xx": (200, 299), "4xx": (400, 499), "5xx": (500, 599)}


class DecisionFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that is set must hold. ``until_ns`` is exclusive, every other bound inclusive.

    Times are those at which calls began.
    """

    request_id: str | None = None
    tier: str | None = None
    arm: Arm | None = None
    reason: str | None = None
    outcome: Outcome | None = None
    verdict: VerdictState | None = None
    fallback: bool | None = None
    app: str | None = None
    session: str | None = None
    model: str | None = None
    task_type: TaskType | None = None
    status_class: str | None = None
    error_code: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    min_cost_nano_usd: int | None = None
    max_cost_nano_usd: int | None = None
    min_latency_ms: float | None = None
    max_latency_ms: float | None = None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """The filter that a URL's query describes; empty values count as not given.

        The keys are this struct's fields, but ``since`` and ``until`` (ISO 8601 with an offset, or Unix
        seconds) and ``min_cost_usd`` and ``max_cost_usd`` (dollars). Raises ``ValueError`` that names the
        key and what was expected.
        """
        fields: dict[str, Any] = {}
        for key, text in query.items():
            if key not in _READERS:
                raise ValueError(f"unknown filter {key[:80]!r}; the filters are {', '.join(_READERS)}")
            if text:
                field, read = _READERS[key]
                try:
                    fields[field] = read(text)
                except ValueError as error:
                    raise ValueError(f"filter {key}: {error}") from None
        return cls(**fields)


class Term(msgspec.Struct, frozen=True):
    """One condition: its SQL, its parameters, and the index that finds its rows, if one does.

    ``scan_sql``, where it differs, is the same condition in a form that keeps SQLite from using the index,
    for walks in order of time.
    """

    sql: str
    parameters: tuple[object, ...]
    index: str = ""
    scan_sql: str = ""


def terms(wanted: DecisionFilter) -> list[Term]:
    """The conditions of a filter, but for the range of time."""
    found: list[Term] = []
    for column, left_out in _EQUALITIES.items():
        value = getattr(wanted, column)
        if value is None:
            continue
        text = str(value) if column == "request_id" else str(value)[:TEXT_MAX]
        if left_out is None:
            found.append(Term(f"{column} = ?", (text,), f"decisions_{column}"))
        elif text == left_out:
            found.append(Term(f"{column} = ?", (text,)))
        else:
            found.append(Term(f"{column} = ? AND {column} <> '{left_out}'", (text,), f"decisions_{column}"))
    if wanted.fallback is not None:
        index = "decisions_fallback" if wanted.fallback else ""
        found.append(Term(f"fallback = {int(wanted.fallback)}", (), index))
    if wanted.status_class is not None:
        found.append(_range("status", *STATUS_CLASSES[wanted.status_class]))
    if wanted.min_cost_nano_usd is not None or wanted.max_cost_nano_usd is not None:
        found.append(_range("cost_nano_usd", wanted.min_cost_nano_usd, wanted.max_cost_nano_usd))
    if wanted.min_latency_ms is not None or wanted.max_latency_ms is not None:
        found.append(_range("duration_ms", wanted.min_latency_ms, wanted.max_latency_ms))
    return found


#: Columns that are looked up by value, and the value that their index leaves out, if any.
_EQUALITIES: Final = {
    "request_id": None,
    "session": "",
    "app": "",
    "error_code": "",
    "model": None,
    "reason": None,
    "task_type": "",
    "outcome": Outcome.COMPLETE.value,
    "verdict": VerdictState.CLEAN.value,
    "tier": None,
    "arm": None,
}


#: Columns that are looked up by range: their index, and from which value on it has rows.
_RANGES: Final = {
    "status": ("decisions_status", 400),
    "cost_nano_usd": ("decisions_cost", 1),
    "duration_ms": ("decisions_duration", 2_000),
}


def _range(column: str, low: float | None, high: float | None) -> Term:
    """The condition that ``column`` lies between the bounds, either of which may be open."""
    index, indexed_from = _RANGES[column]
    bounds = [(sign, bound) for sign, bound in ((">=", low), ("<=", high)) if bound is not None]
    parameters = tuple(bound for _, bound in bounds)
    scan_sql = " AND ".join(f"+{column} {sign} ?" for sign, _ in bounds)
    if low is None or low < indexed_from:
        return Term(scan_sql, parameters)
    sql = " AND ".join(f"{column} {sign} ?" for sign, _ in bounds)
    return Term(f"{sql} AND {column} >= {indexed_from}", parameters, index, scan_sql)


def _one_of(choices: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        for choice in choices:
            if text == choice:
                return choice
        raise ValueError(f"{text[:80]!r} is none of {', '.join(choices)}")

    return read


def _boolean(text: str) -> bool:
    return bool(_one_of(("true", "false"))(text) == "true")


def _time_ns(text: str) -> int:
    try:
        return _nano(_number(text), text)
    except NotANumber:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is neither ISO 8601 nor Unix seconds") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text[:80]!r} has no offset from UTC; write {text[:80]}Z or +hh:mm")
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = Decimal(since_epoch.days * 86_400 + since_epoch.seconds)
    return _nano(seconds + Decimal(since_epoch.microseconds) / 1_000_000, text)


def _nano_usd(text: str) -> int:
    return _nano(_number(text), text)


def _nano(units: Decimal, text: str) -> int:
    """Billionths, as far as the database can count them."""
    if not abs(units) < 9_000_000_000:
        raise ValueError(f"{text[:80]!r} is too far from zero")
    return round(units * 1_000_000_000)


def _milliseconds(text: str) -> float:
    return float(_number(text))


class NotANumber(ValueError):
    """The text does not read as a finite number of a size that can be meant."""


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise NotANumber(f"{text[:80]!r} is not a number") from None
    # Looked at before it is reckoned with: a huge exponent would overflow.
    if not number.is_finite() or number.adjusted() > 12:
        raise NotANumber(f"{text[:80]!r} is not a number that can be meant")
    return number


_READERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "request_id": ("request_id", str),
    "tier": ("tier", str),
    "arm": ("arm", _one_of(list(Arm))),
    "reason": ("reason", str),
    "outcome": ("outcome", _one_of(list(Outcome))),
    "verdict": ("verdict", _one_of(list(VerdictState))),
    "fallback": ("fallback", _boolean),
    "app": ("app", str),
    "session": ("session", str),
    "model": ("model", str),
    "task_type": ("task_type", _one_of(list(TaskType))),
    "status_class": ("status_class", _one_of(list(STATUS_CLASSES))),
    "error_code": ("error_code", str),
    "since": ("since_ns", _time_ns),
    "until": ("until_ns", _time_ns),
    "min_cost_usd": ("min_cost_nano_usd", _nano_usd),
    "max_cost_usd": ("max_cost_nano_usd", _nano_usd),
    "min_latency_ms": ("min_latency_ms", _milliseconds),
    "max_latency_ms": ("max_latency_ms", _milliseconds),
}
