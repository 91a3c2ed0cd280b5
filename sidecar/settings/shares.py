"""Splits what bounds one process over several, so that together they keep to what the file says."""

from __future__ import annotations

import msgspec

from sidecar.settings.problems import Problem
from sidecar.settings.schema import Settings


def share(total: int, index: int, count: int) -> int:
    """The part of ``total`` that falls to number ``index`` of ``count``; all parts together are ``total``."""
    return total // count + (index < total % count)


def share_of(settings: Settings, index: int, count: int) -> Settings:
    """``settings`` as worker ``index`` of ``count`` goes by them: with its part of each bound on calls."""
    if count == 1:
        return settings
    replace = msgspec.structs.replace
    shadow = settings.rollout.shadow
    return replace(
        settings,
        tiers={
            name: replace(
                tier,
                max_concurrency=share(tier.places, index, count),
                queue=replace(tier.queue, max=share(tier.queue.max, index, count)),
            )
            for name, tier in settings.tiers.items()
        },
        limits=replace(settings.limits, max_in_flight=share(settings.limits.max_in_flight, index, count)),
        rollout=replace(
            settings.rollout,
            shadow=replace(shadow, max_concurrency=share(shadow.max_concurrency, index, count)),
        ),
    )


def too_small_to_split(settings: Settings, count: int, file: str) -> list[Problem]:
    """What cannot be split over ``count`` workers because some would get nothing."""
    bounds = {f"tiers.{name}.max_concurrency": tier.places for name, tier in settings.tiers.items()}
    bounds["limits.max_in_flight"] = settings.limits.max_in_flight
    most = min(bounds.values())
    return [
        Problem(
            file,
            0,
            key,
            f"{bound} at a time cannot be split over {count} workers",
            f"at least {count}, or at most --workers {most}",
        )
        for key, bound in bounds.items()
        if bound < count
    ]
