"""Both arms' figures as rows for people to read; what compares them is ``sidecar.core.arms``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import msgspec

from dashboard.wording import NANO, NONE, count, ms, percent, usd
from sidecar.core.arms import Figure, Measured, Standing
from sidecar.storage.arm_comparison import Comparison

_NAMES: Final = {
    "error_rate": "Errors",
    "p50": "Half answered within",
    "p95": "95 % answered within",
    "p99": "99 % answered within",
    "first_token_p50": "First token, half within",
    "first_token_p95": "First token, 95 % within",
    "cost_per_call": "Cost per call",
    "tokens_per_call": "Tokens per call",
    "fallback_share": "Fell back",
    "feedback": "Rated, 0 to 1",
}
_LEVELS: Final = {
    Standing.BETTER: "good",
    Standing.WORSE: "error",
    Standing.MORE: "plain",
    Standing.FEWER: "plain",
    Standing.ANOTHER: "plain",
    Standing.NO_DIFFERENCE: "plain",
    Standing.NOT_ENOUGH: "plain",
}
_SHORT: Final = {Standing.NO_DIFFERENCE.value: "alike so far", Standing.NOT_ENOUGH.value: "too few"}
#: What a task type is judged by in one row of the table.
_OF_A_TASK: Final = ("error_rate", "p95", "cost_per_call", "feedback")


class Cell(msgspec.Struct, frozen=True):
    """One figure of one arm, and between what it lies; ``bounds`` may be empty."""

    value: str
    bounds: str


class FigureRow(msgspec.Struct, frozen=True):
    """One figure of both arms; ``verdict`` is on the routed one."""

    name: str
    legacy: Cell
    routed: Cell
    level: str
    verdict: str


class TaskRow(msgspec.Struct, frozen=True):
    """One task type: how many calls each arm had, and the routed arm's verdicts on the figures in order."""

    task_type: str
    legacy_calls: int
    routed_calls: int
    verdicts: tuple[tuple[str, str], ...]


def figure_rows(comparison: Comparison) -> tuple[FigureRow, ...]:
    """A row for every figure."""
    return tuple(_rows(comparison))


def _rows(comparison: Comparison) -> Iterator[FigureRow]:
    for figure in comparison.figures:
        level, verdict = _verdict(figure)
        yield FigureRow(
            _NAMES[figure.name],
            _cell(figure.legacy, figure.unit),
            _cell(figure.routed, figure.unit),
            level,
            verdict,
        )


def task_rows(comparisons: tuple[Comparison, ...]) -> tuple[TaskRow, ...]:
    """A row for every task type."""
    return tuple(
        TaskRow(
            comparison.task_type.replace("_", " "),
            comparison.legacy_calls,
            comparison.routed_calls,
            tuple(_short(figure) for figure in comparison.figures if figure.name in _OF_A_TASK),
        )
        for comparison in comparisons
        if comparison.task_type
    )


def _verdict(figure: Figure) -> tuple[str, str]:
    return _LEVELS[figure.standing], figure.standing.value


def _short(figure: Figure) -> tuple[str, str]:
    """The verdict where there is little room."""
    level, verdict = _verdict(figure)
    return level, _SHORT.get(verdict, verdict)


def _cell(measured: Measured, unit: str) -> Cell:
    interval = measured.interval
    if interval is None:
        return Cell(NONE, "")
    value, low, high = (_words(one, unit) for one in (interval.value, interval.low, interval.high))
    if low == high:
        return Cell(value, "")
    return Cell(value, f"{low} or more" if math.isinf(interval.high) else f"{low} to {high}")


def _words(value: float, unit: str) -> str:
    if math.isinf(value):
        return NONE
    match unit:
        case "share":
            return percent(value, 2)
        case "ms":
            return ms(value)
        case "usd":
            return usd(round(max(value, 0.0) * NANO))
        case "tokens":
            return count(value)
    return f"{value:.2f}"
