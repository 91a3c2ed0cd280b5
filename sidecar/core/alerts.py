"""What an operator is told of when money, the rollout or a tier needs looking at."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class AlertKind(StrEnum):
    """What an alert is about."""

    LEVEL_CROSSED = "level_crossed"
    USAGE_FLAGGED = "usage_flagged"
    ROLLOUT = "rollout"
    TIER = "tier"


class Alert(msgspec.Struct, frozen=True):
    """Something an operator should know of; written once for each ``key``. ``detail`` is plain data."""

    id: int
    key: str
    at_ns: int
    kind: AlertKind
    text: str
    detail: dict[str, Any]
    attempts: int = 0
