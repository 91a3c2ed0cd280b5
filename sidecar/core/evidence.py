"""What is known of both arms since the rollout last moved: counted call by call, judged by the gates; pure.

Counting is cheap, for it stands on the path of every call: a few sums, and one bucket of a histogram. The
sequential tests take in what has been counted whenever somebody looks.

Calls that the client left and calls that were the caller's own fault are counted as excluded and prove
nothing. Everything here can be written down as plain data and read back, so that a restart forgets nothing.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar.core.call_class import CallClass
from sidecar.core.durations import BUCKETS
from sidecar.core.durations import bucket_of as duration_bucket
from sidecar.core.sequential import ShareTest
from sidecar.core.sessions_seen import SessionsSeen
from sidecar.core.vocabulary import Arm

#: The share of answers that may take longer than a p95 limit.
SLOW_SHARE: Final = 0.05


class GateLimits(msgspec.Struct, frozen=True):
    """The limits that a rollout must keep to. Money is nano-dollars; None: there is no such gate.

    The defaults are what the sample configuration says. ``min_samples`` is for passing,
    ``min_samples_to_roll_back`` how many calls a bad spell has to last.
    ``alpha`` is the chance that any of the gates ever breaches although all limits are kept, shared equally
    by those that are tests. ``error_rate_vs_legacy`` is by how much the routed share of failed calls may be
    above the legacy one, ``p95_vs_legacy`` a factor on the legacy p95, ``feedback_vs_legacy`` by how much
    the mean rating may be below the legacy one.
    """

    min_samples: int = 200
    min_samples_to_roll_back: int = 20
    alpha: float = 0.05
    error_rate_max: float = 0.05
    p95_ms_max: float = 1_000.0
    month_nano_usd_max: int = 300 * 10**9
    warn_error_rate: float = 0.01
    warn_p95_ms: float = 600.0
    warn_day_nano_usd: int = 10 * 10**9
    error_rate_vs_legacy: float | None = None
    p95_vs_legacy: float | None = None
    feedback_vs_legacy: float | None = None

    @property
    def tests(self) -> int:
        """How many gates share ``alpha``."""
        relative = (self.error_rate_vs_legacy, self.p95_vs_legacy, self.feedback_vs_legacy)
        return 2 + sum(limit is not None for limit in relative)

    @property
    def alpha_each(self) -> float:
        return self.alpha / self.tests


class ArmTally(msgspec.Struct):
    """One arm's calls. ``latency`` counts answers by duration; ``slow`` are those above the p95 limit."""

    answered: int = 0
    failed: int = 0
    excluded: int = 0
    slow: int = 0
    slow_for_warning: int = 0
    ratings: int = 0
    score_sum: float = 0.0
    latency: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)

    @property
    def calls(self) -> int:
        """The calls that prove something: answered ones and failed ones."""
        return self.answered + self.failed


class Taken(msgspec.Struct):
    """How much of the routed tally the tests have taken in."""

    calls: int = 0
    failed: int = 0
    answered: int = 0
    slow: int = 0
    slow_for_warning: int = 0


class Evidence(msgspec.Struct):
    """Both arms since the rollout went to ``percent``, the tests on the routed one, the sessions seen."""

    percent: float
    limits: GateLimits
    routed: ArmTally
    legacy: ArmTally
    errors: ShareTest
    errors_warn: ShareTest
    slow: ShareTest
    slow_warn: ShareTest
    taken: Taken
    sessions: SessionsSeen = msgspec.field(default_factory=SessionsSeen)

    @classmethod
    def begin(cls, percent: float, limits: GateLimits) -> Evidence:
        """No evidence yet."""
        return cls(
            percent,
            limits,
            ArmTally(),
            ArmTally(),
            ShareTest(limits.error_rate_max),
            ShareTest(limits.warn_error_rate),
            ShareTest(SLOW_SHARE),
            ShareTest(SLOW_SHARE),
            Taken(),
        )

    def count(self, arm: Arm, bucket: int, counts_as: CallClass, duration_ms: float) -> None:
        """One call has ended; ``bucket`` is that of its sticky key."""
        tally = self.routed if arm is Arm.ROUTED else self.legacy
        self.sessions.see(bucket, routed=arm is Arm.ROUTED)
        if counts_as is CallClass.ANSWERED:
            tally.answered += 1
            tally.latency[duration_bucket(duration_ms)] += 1
            tally.slow += duration_ms > self.limits.p95_ms_max
            tally.slow_for_warning += duration_ms > self.limits.warn_p95_ms
        elif counts_as is CallClass.FAILED:
            tally.failed += 1
        else:
            tally.excluded += 1

    def rate(self, arm: Arm, score: float) -> None:
        """One call was rated, 0 to 1, for the first time."""
        tally = self.routed if arm is Arm.ROUTED else self.legacy
        tally.ratings += 1
        tally.score_sum += score

    def look(self) -> None:
        """Have the tests take in what was counted since the last look."""
        routed, taken = self.routed, self.taken
        calls, failed = routed.calls - taken.calls, routed.failed - taken.failed
        answered = routed.answered - taken.answered
        self.errors.look(calls, failed)
        self.errors_warn.look(calls, failed)
        self.slow.look(answered, routed.slow - taken.slow)
        self.slow_warn.look(answered, routed.slow_for_warning - taken.slow_for_warning)
        self.taken = Taken(routed.calls, routed.failed, routed.answered, routed.slow, routed.slow_for_warning)
