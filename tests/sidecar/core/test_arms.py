"""Two arms side by side: a verdict only where the intervals do not touch."""

from __future__ import annotations

import pytest

from sidecar.core.arms import ArmSums, Figure, Measured, Standing, compare, mix_standing, standing
from sidecar.core.sequential import Interval

PLENTY = 1_000


def figures(legacy: ArmSums, routed: ArmSums) -> dict[str, Figure]:
    return {figure.name: figure for figure in compare(legacy, routed)}


def measured(low: float, high: float, cases: int = PLENTY) -> Measured:
    return Measured(cases, Interval(low, (low + high) / 2, high))


@pytest.mark.parametrize(
    ("legacy", "routed", "less_is_better"),
    [
        (measured(1, 2), measured(3, 4), Standing.WORSE),
        (measured(3, 4), measured(1, 2), Standing.BETTER),
        (measured(1, 3), measured(2, 4), Standing.NO_DIFFERENCE),
        (measured(1, 2), measured(2, 4), Standing.NO_DIFFERENCE),
        (measured(1, 2, 29), measured(3, 4), Standing.NOT_ENOUGH),
        (Measured(PLENTY, None), measured(3, 4), Standing.NOT_ENOUGH),
    ],
)
def test_the_verdict_in_a_word(legacy: Measured, routed: Measured, less_is_better: Standing) -> None:
    assert standing(legacy, routed, -1) is less_is_better
    turned = {Standing.WORSE: Standing.BETTER, Standing.BETTER: Standing.WORSE}
    assert standing(legacy, routed, +1) is turned.get(less_is_better, less_is_better)


def test_no_calls_no_verdict() -> None:
    found = figures(ArmSums(), ArmSums())
    assert {figure.standing for figure in found.values()} == {Standing.NOT_ENOUGH}
    assert found["error_rate"].legacy.interval is None


def test_figures_that_differ_and_figures_that_do_not() -> None:
    legacy = ArmSums(calls=2_000, proving=1_900, failed=20, tokens=2_000, ratings=300, score_sum=150)
    routed = ArmSums(
        calls=2_000,
        proving=1_900,
        failed=200,
        tokens=4_000,
        cost_usd=4.0,
        cost_deviation=0.001,
        ratings=300,
        score_sum=270,
    )
    found = figures(legacy, routed)
    assert found["error_rate"].standing is Standing.WORSE
    assert found["feedback"].standing is Standing.BETTER
    assert found["fallback_share"].standing is Standing.NO_DIFFERENCE
    assert found["tokens_per_call"].standing is Standing.NOT_ENOUGH, "how they spread is not known"
    interval = found["tokens_per_call"].routed.interval
    assert interval == Interval(2.0, 2.0, 2.0)
    assert found["cost_per_call"].standing is Standing.NOT_ENOUGH
    assert found["cost_per_call"].routed.interval is not None


def test_free_against_priced_is_worse() -> None:
    free = ArmSums(calls=500, proving=500, cost_deviation=0.0)
    priced = ArmSums(calls=500, proving=500, cost_usd=1.0, cost_deviation=0.001)
    assert figures(free, priced)["cost_per_call"].standing is Standing.WORSE


def test_tokens_have_an_interval_and_are_neither_better_nor_worse() -> None:
    few = ArmSums(calls=500, tokens=500 * 900, token_deviation=100.0)
    many = ArmSums(calls=500, tokens=500 * 1_200, token_deviation=100.0)
    more = figures(few, many)["tokens_per_call"]
    assert more.standing is Standing.MORE
    assert more.routed.interval is not None
    assert more.routed.interval.low < 1_200 < more.routed.interval.high
    assert figures(many, few)["tokens_per_call"].standing is Standing.FEWER
    assert figures(few, few)["tokens_per_call"].standing is Standing.NO_DIFFERENCE


def test_falling_back_more_often_is_worse() -> None:
    legacy, routed = ArmSums(calls=500), ArmSums(calls=500, fallbacks=100)
    assert figures(legacy, routed)["fallback_share"].standing is Standing.WORSE


def test_the_tier_mix() -> None:
    before = {"local_ollama": 400}
    assert mix_standing(before, {"local_ollama": 20}) is Standing.NOT_ENOUGH
    assert mix_standing(before, {"local_ollama": 399, "openai": 1}) is Standing.NO_DIFFERENCE
    assert mix_standing(before, {"local_ollama": 280, "openai": 120}) is Standing.ANOTHER
    assert mix_standing({}, {}) is Standing.NOT_ENOUGH
