"""Decides which caps are in force when the configuration and the operator both have a say.

The newest change wins. The configuration is a seed: it sets a cap when it first names it, and again when
what it says of that cap changes. In between, what an operator set, added or removed live stays, over
restarts and reloads. A cap that leaves the configuration goes, whoever set it last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from sidecar.core.budget import Cap


class SetBy(StrEnum):
    """Whose word a cap's present value is."""

    CONFIG = "config"
    OPERATOR = "operator"


class StoredCap(msgspec.Struct, frozen=True):
    """A cap as it is kept. ``seed`` is what the configuration last said of it; empty: nothing."""

    cap: Cap
    set_by: SetBy
    seed: str = ""
    removed: bool = False


def seed_of(cap: Cap) -> str:
    """What tells one version of a configured cap from another."""
    return f"{cap.tier} {cap.period} {cap.limit_nano_usd}"


def changes(stored: Mapping[str, StoredCap], configured: Iterable[Cap]) -> list[StoredCap]:
    """What must be written so that ``stored`` follows the configuration; empty when nothing changed."""
    seeds = {cap.name: cap for cap in configured}
    changed = [
        StoredCap(cap, SetBy.CONFIG, seed_of(cap))
        for name, cap in seeds.items()
        if name not in stored or stored[name].seed != seed_of(cap)
    ]
    gone = [
        StoredCap(kept.cap, SetBy.CONFIG, removed=True)
        for name, kept in stored.items()
        if kept.seed and name not in seeds
    ]
    return changed + gone
