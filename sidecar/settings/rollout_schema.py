"""What the configuration may say of the rollout: stages, gates, schedule, shadow calls."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from sidecar.core.evidence import GateLimits
from sidecar.core.gates import Gate
from sidecar.core.pricing import nano_usd
from sidecar.core.schedule import OpenHours, Schedule, StageWants, Weekday
from sidecar.core.tiers import Secret

#: Dollars, exact. Whatever is not negative and fits integer nano-dollars.
Dollars = Decimal

_Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Samples = Annotated[int, msgspec.Meta(ge=1)]
_StickyKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|body:[A-Za-z0-9_.-]+|request)$",
        description="header:<name>, body:<field> or request",
    ),
]
_TimeOfDay = Annotated[
    str,
    msgspec.Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", description="a time such as 09:00"),
]


class LegacySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the app did before. Once loaded, ``tier`` is never empty."""

    tier: str = ""


class GateWarnings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the gates begin to warn, before they breach."""

    error_rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01
    p95_ms: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    day_usd: Dollars = Dollars(10)


class GateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits past which a rollout goes back by itself.

    With fewer than ``min_samples`` calls no gate passes; before a bad spell has lasted for
    ``min_samples_to_roll_back`` calls (left out: ``min_samples``) none breaches.
    ``alpha`` is the chance that any breaches although all limits are kept. The last three compare with the
    legacy arm; left out, there is no such gate.
    """

    min_samples: _Samples = 200
    error_rate_max: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    p95_ms_max: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    month_usd_max: Dollars = Dollars(300)
    warn: GateWarnings = GateWarnings()
    min_samples_to_roll_back: _Samples | None = None
    alpha: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    error_rate_vs_legacy: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    p95_vs_legacy: Annotated[float, msgspec.Meta(ge=1)] | None = None
    feedback_vs_legacy: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    @property
    def brakes_from(self) -> int:
        """How many calls a bad spell has to last before a gate breaches."""
        return self.min_samples_to_roll_back or self.min_samples

    def limits(self) -> GateLimits:
        """As the gates judge by them."""
        return GateLimits(
            min_samples=self.min_samples,
            min_samples_to_roll_back=self.brakes_from,
            alpha=self.alpha,
            error_rate_max=self.error_rate_max,
            p95_ms_max=self.p95_ms_max,
            month_nano_usd_max=nano_usd(self.month_usd_max),
            warn_error_rate=self.warn.error_rate,
            warn_p95_ms=self.warn.p95_ms,
            warn_day_nano_usd=nano_usd(self.warn.day_usd),
            error_rate_vs_legacy=self.error_rate_vs_legacy,
            p95_vs_legacy=self.p95_vs_legacy,
            feedback_vs_legacy=self.feedback_vs_legacy,
        )


class WindowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When moves may be made. Without days: on every day. Closing before it opens: on the next day."""

    days: tuple[Weekday, ...] = ()
    opens: _TimeOfDay = "00:00"
    closes: _TimeOfDay = "24:00"


class StageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one stage wants instead of what the schedule wants of all."""

    percent: _Percent
    bake_s: _Seconds | None = None
    min_samples: _Samples | None = None
    gates: tuple[Gate, ...] | None = None


class ScheduleSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the rollout advances by itself. ``gates`` left out: all; ``min_samples``: the gates' own."""

    enabled: bool = False
    bake_s: _Seconds = 86_400.0
    min_samples: _Samples | None = None
    gates: tuple[Gate, ...] = ()
    timezone: str = "UTC"
    windows: tuple[WindowSettings, ...] = ()
    stages: tuple[StageSettings, ...] = ()


class ShadowSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Legacy calls that are sent down the routed plan as well, once the app has its answer.

    ``share`` is how many of them, 0 to 1; ``usd_per_day`` what they may cost together, besides all caps.
    """

    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    max_concurrency: Annotated[int, msgspec.Meta(ge=1)] = 2
    usd_per_day: Dollars = Dollars(1)


class RolloutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the routed arm is brought in. ``percent`` is where it starts.

    ``salt`` is what sessions are placed by; replicas with the same one agree. Empty: one that is made at the
    first start and kept.
    """

    percent: _Percent = 10.0
    salt: Secret = ""
    stages: Annotated[tuple[_Percent, ...], msgspec.Meta(min_length=1)] = (10.0, 30.0, 50.0, 75.0, 100.0)
    sticky_by: Annotated[tuple[_StickyKey, ...], msgspec.Meta(min_length=1)] = (
        "header:x-sidecar-session",
        "body:user",
        "request",
    )
    legacy: LegacySettings = LegacySettings()
    gates: GateSettings = GateSettings()
    on_breach: Literal["previous", "zero"] = "previous"
    schedule: ScheduleSettings = ScheduleSettings()
    shadow: ShadowSettings = ShadowSettings()

    def scheduled(self) -> Schedule:
        """The schedule as the rollout follows it."""
        schedule = self.schedule
        samples = schedule.min_samples or self.gates.min_samples
        return Schedule(
            enabled=schedule.enabled,
            wants=StageWants(schedule.bake_s, samples, schedule.gates),
            by_stage={
                stage.percent: StageWants(
                    schedule.bake_s if stage.bake_s is None else stage.bake_s,
                    stage.min_samples or samples,
                    schedule.gates if stage.gates is None else stage.gates,
                )
                for stage in schedule.stages
            },
            windows=tuple(
                OpenHours(window.days, _minutes(window.opens), _minutes(window.closes))
                for window in schedule.windows
            ),
            zone=ZoneInfo(schedule.timezone),
        )


def _minutes(time_of_day: str) -> int:
    """Minutes since midnight."""
    hours, _, minutes = time_of_day.partition(":")
    return int(hours) * 60 + int(minutes)
