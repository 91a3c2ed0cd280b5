"""Plays the rollout's gates against made-up traffic: how often they are wrong, how soon they are right.

Run with ``python -m benchmarks.rollout_gates``; it prints the tables of ``docs/rollout.md``. Every run is
looked at after every call, as the worst case of looking often. numpy plays all runs of a case at once; that
it plays what the sidecar plays is tested call by call.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from sidecar.core.call_class import CallClass
from sidecar.core.evidence import SLOW_SHARE, Evidence, GateLimits
from sidecar.core.gates import GateState, Spend, judge
from sidecar.core.sequential import WORSE, gains, remaining
from sidecar.core.vocabulary import Arm

Chance = Callable[[int], float]
Hits = NDArray[np.bool_]
Whole = NDArray[np.int64]
Shares = NDArray[np.float64]


class ManyShareTests:
    """``ShareTest`` for many runs at once."""

    def __init__(self, limit: float, runs: int) -> None:
        self._gains = np.array(gains(limit))
        self._shares = np.array([share for _, share in WORSE])
        self._sums = np.zeros((len(WORSE), runs))
        self._looks = 0
        self._spell = np.zeros(runs)
        self.spell_calls = np.zeros(runs, dtype=np.int64)

    def look(self, hits: Hits) -> None:
        """One call in each run."""
        weight = remaining(self._looks) - remaining(self._looks + 1)
        self._looks += 1
        logs = np.where(hits[None, :], self._gains[:, :1], self._gains[:, 1:])
        self._sums = np.minimum((self._sums + weight) * np.exp(logs), 1e300)
        self._spell = np.maximum(self._spell + logs[0], 0.0)
        self.spell_calls = np.where(self._spell > 0, self.spell_calls + 1, 0)

    @property
    def evidence(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = remaining(self._looks) + self._shares @ self._sums
        return found


def first_breach(
    chance: Chance, limit: float, needed: float, runs: int, calls: int, dice: np.random.Generator
) -> NDArray[np.int64]:
    """After how many calls each run breached; ``calls + 1`` where it never did."""
    tests = ManyShareTests(limit, runs)
    first = np.full(runs, calls + 1)
    for call in range(calls):
        tests.look(dice.random(runs) < chance(call))
        sure = (tests.evidence >= needed) & (tests.spell_calls >= GateLimits().min_samples_to_roll_back)
        first[sure & (first > calls)] = call + 1
        if (first <= calls).all():
            break
    return first


def false_rollbacks(limits: GateLimits, runs: int, calls: int, dice: np.random.Generator) -> float:
    """The share of runs that breach although both limits are just kept: the hardest case there is."""
    needed = 1 / limits.alpha_each
    errors = first_breach(steady(limits.error_rate_max), limits.error_rate_max, needed, runs, calls, dice)
    slow = first_breach(steady(SLOW_SHARE), SLOW_SHARE, needed, runs, calls, dice)
    return float(((errors <= calls) | (slow <= calls)).mean())


def steady(share: float) -> Chance:
    """The same chance for every call."""
    return lambda _: share


def late(good: int, share: float) -> Chance:
    """Nearly no hits in the first ``good`` calls, then ``share`` of them."""
    return lambda call: 0.005 if call < good else share


def slow_share(factor: float, sigma: float) -> float:
    """The share above a p95 limit when a log-normal latency has its p95 at ``factor`` times the limit."""
    normal = NormalDist()
    return 1 - normal.cdf(normal.inv_cdf(1 - SLOW_SHARE) - math.log(factor) / sigma)


def false_relative(runs: int, calls: int, look_every: int, seed: int) -> float:
    """The share of A/A runs in which any gate breaches, all relative ones in force without any margin."""
    limits = GateLimits(
        error_rate_max=0.5, p95_ms_max=1e6, warn_p95_ms=1e6,
        error_rate_vs_legacy=0.0, p95_vs_legacy=1.0, feedback_vs_legacy=0.0,
    )  # fmt: skip
    wrong = 0
    for run in range(runs):
        dice = np.random.default_rng([seed, run])
        failed, times = dice.random(calls) < 0.05, dice.lognormal(6.0, 0.8, calls)
        routed, rated = dice.random(calls) < 0.5, dice.random(calls) < 0.5
        scores = dice.random(calls) < 0.7
        evidence = Evidence.begin(50.0, limits)
        for call in range(calls):
            arm = Arm.ROUTED if routed[call] else Arm.LEGACY
            counts_as = CallClass.FAILED if failed[call] else CallClass.ANSWERED
            evidence.count(arm, call % 10_000, counts_as, float(times[call]))
            if rated[call]:
                evidence.rate(arm, float(scores[call]))
            if call % look_every == look_every - 1 and any(
                reading.state is GateState.BREACHED for reading in judge(evidence, Spend())
            ):
                wrong += 1
                break
    return wrong / runs


def told_apart(
    shares: tuple[float, float], runs: int, calls: int, alpha: float, dice: np.random.Generator
) -> float:
    """The share of runs in which ``error_rate_vs_legacy`` breaches without margin, looked at at each call.

    ``shares`` of the legacy and routed calls fail; each arm gets every other call at random. ``alpha``
    is the gate's own. Only runs whose arms differ by twice what is usual are looked at closely.
    """
    enough = math.log(2 / alpha)
    half = np.array([math.lgamma(count + 0.5) for count in range(calls + 1)])
    whole = np.array([math.lgamma(count + 1) for count in range(calls + 1)])

    def log_evidence(cases: Whole, hits: Whole, at: Shares) -> Shares:
        misses = cases - hits
        mixture = half[hits] + half[misses] - whole[cases] - math.log(math.pi)
        evidence: Shares = mixture - hits * np.log(at) - misses * np.log1p(-at)
        return evidence

    cases, hits = np.zeros((2, runs), dtype=np.int64), np.zeros((2, runs), dtype=np.int64)
    wrong = np.zeros(runs, dtype=bool)
    places, chances = np.arange(runs), np.array(shares)
    for _ in range(calls):
        arm = dice.integers(0, 2, runs)
        cases[arm, places] += 1
        hits[arm, places] += dice.random(runs) < chances[arm]
        pooled = (hits.sum(0) + 0.5) / (cases.sum(0) + 1)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(cases[0], 1) + 1 / np.maximum(cases[1], 1)))
        legacy, routed = hits / np.maximum(cases, 1)
        near = np.flatnonzero((routed - legacy > 2 * spread) & ~wrong & (cases.min(0) >= 20))
        low, high = legacy[near], routed[near].copy()
        for _ in range(40):
            middle = np.clip((low + high) / 2, 1e-12, 1 - 1e-12)
            inside = log_evidence(cases[0, near], hits[0, near], middle) < enough
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        sure = log_evidence(cases[1, near], hits[1, near], np.clip(high, 1e-12, 1 - 1e-12)) >= enough
        wrong[near[sure & (high < routed[near])]] = True
    return float(wrong.mean())


def power_rows(
    cases: list[tuple[str, Chance]],
    needed: float,
    runs: int,
    calls: int,
    after: int,
    dice: np.random.Generator,
) -> Iterator[str]:
    """A row of a Markdown table for each case; calls are counted from ``after`` on."""
    for name, chance in cases:
        first = first_breach(chance, SLOW_SHARE, needed, runs, calls + after, dice)
        caught = float((first <= calls + after).mean())
        median, most = (np.quantile(first, level) - after for level in (0.5, 0.9))
        never = f"> {calls}"
        yield (
            f"| {name} | {f'{median:.0f}' if median <= calls else never} | "
            f"{f'{most:.0f}' if most <= calls else never} | {caught:.1%} |"
        )


def main() -> None:
    """Print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=2_000)
    arguments.add_argument("--calls", type=int, default=10_000)
    options = arguments.parse_args()
    runs, calls = options.runs, options.calls
    dice, limits = np.random.default_rng(7), GateLimits()
    needed = 1 / limits.alpha_each
    print(f"{runs} runs of {calls} calls, a look after every call, alpha {limits.alpha}\n")
    print(f"false rollbacks, both limits just kept: {false_rollbacks(limits, runs, calls, dice):.2%}")
    at_one = first_breach(steady(0.01), limits.error_rate_max, needed, runs, calls, dice)
    print(f"false rollbacks, 1 % errors: {(at_one <= calls).mean():.2%}")
    five = GateLimits(error_rate_vs_legacy=0.0, p95_vs_legacy=1.0, feedback_vs_legacy=0.0)
    for share in (0.01, 0.05):
        wrong = told_apart((share, share), runs, calls, five.alpha_each, dice)
        print(f"false rollbacks, A/A at {share:.0%} errors, error_rate_vs_legacy without margin: {wrong:.2%}")
    relative = false_relative(max(runs // 10, 10), 2_000, 20, 7)
    print(f"false rollbacks, A/A with all relative gates, no margin: {relative:.2%}\n")
    head = "| {} | median calls | 9 of 10 runs within | caught within {} |\n|---|---|---|---|"
    print(head.format("errors, limit 5 %", calls))
    rates = (0.06, 0.075, 0.1, 0.15, 0.2, 0.5, 1.0)
    cases: list[tuple[str, Chance]] = [(f"{rate:.1%}", steady(rate)) for rate in rates]
    print("\n".join(power_rows(cases, needed, runs, calls, 0, dice)))
    print("\n" + head.format("p95 against its limit", calls))
    cases = [
        (f"{factor:g} times, sigma {sigma:g}", steady(slow_share(factor, sigma)))
        for sigma in (0.5, 1.0)
        for factor in (1.2, 1.5, 2.0, 3.0)
    ]
    print("\n".join(power_rows(cases, needed, runs, calls, 0, dice)))
    good = calls // 2
    print("\n" + head.format(f"errors after {good} calls with 0.5 %, limit 5 %", calls))
    cases = [(f"{rate:.1%}", late(good, rate)) for rate in (0.1, 0.2, 0.5, 1.0)]
    print("\n".join(power_rows(cases, needed, runs, calls, good, dice)))
    print(f"\n| errors, legacy and routed | caught by error_rate_vs_legacy within {calls} |\n|---|---|")
    for pair in ((0.01, 0.02), (0.01, 0.03), (0.02, 0.04), (0.05, 0.075), (0.05, 0.1)):
        caught = told_apart(pair, runs // 4, calls, five.alpha_each, dice)
        print(f"| {pair[0]:.1%} and {pair[1]:.1%} | {caught:.1%} |")


if __name__ == "__main__":
    main()
