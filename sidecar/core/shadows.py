"""What is known of a shadow call, and the shapes through which it is kept and paid for."""

from __future__ import annotations

from typing import Protocol

import msgspec


class ShadowResult(msgspec.Struct, frozen=True):
    """One shadow call beside the legacy call that it followed. ``detail`` says why it failed."""

    at_ns: int
    request_id: str
    shadow_of: str
    task_type: str
    tier: str
    model: str
    reason: str
    failed: bool
    detail: str
    duration_ms: float
    legacy_ms: float
    output_tokens: int
    legacy_tokens: int
    cost_nano_usd: int


class ShadowResults(Protocol):
    """Where results are kept."""

    async def add(self, result: ShadowResult) -> None:
        """Keep one result. Raises ``StorageError``."""
        ...


class ShadowPurse(Protocol):
    """What shadow calls may cost in a day, all of them together."""

    async def take(self, nano_usd: int, cap_nano_usd: int) -> bool:
        """Set ``nano_usd`` aside, if a day's cap leaves them. Raises ``StorageError``."""
        ...

    def give_back(self, nano_usd: int, cost_nano_usd: int) -> None:
        """What was set aside came to ``cost_nano_usd``. Never blocks, never raises."""
        ...
