"""Says why a tier cannot take a call now; the code is for machines, the detail for people."""

from __future__ import annotations

import msgspec

from sidecar.core.vocabulary import Features, RejectedTier, TierState

TIER_OFF = "tier_off"
CIRCUIT_OPEN = "circuit_open"
SATURATED = "saturated"
CAPABILITY_MISSING = "capability_missing"
BUDGET_EXHAUSTED = "budget_exhausted"
NOT_PERMITTED_TO_LEAVE = "not_permitted_to_leave"
ATTEMPT_FAILED = "attempt_failed"

#: Each code as the end of a sentence that begins with the tier's name.
IN_WORDS = {
    TIER_OFF: "is off",
    CIRCUIT_OPEN: "keeps failing and rests",
    SATURATED: "is full",
    CAPABILITY_MISSING: "cannot do what the call needs",
    BUDGET_EXHAUSTED: "has no budget for the call",
    NOT_PERMITTED_TO_LEAVE: "is not on this machine",
    ATTEMPT_FAILED: "was tried and failed",
}


class OutOfService(msgspec.Struct, frozen=True):
    """One tier that takes no new calls, since when (Unix nanoseconds), by whom, and why if that was said."""

    tier: str
    at_ns: int
    actor: str
    reason: str

    @property
    def words(self) -> str:
        """As the end of a sentence that says why the tier is off."""
        return f"taken out of service by {self.actor}" + (f": {self.reason}" if self.reason else "")


def down(state: TierState) -> RejectedTier | None:
    """Off, resting or saturated: true for every call alike."""
    if not state.unavailable:
        return None
    words = IN_WORDS.get(state.unavailable, "is not available")
    return RejectedTier(state.name, state.unavailable, state.detail or f"the tier {words}")


def unfit(state: TierState, features: Features) -> RejectedTier | None:
    """The tier is known to lack something that this call needs."""
    lacking = features.needs & state.missing
    if not lacking:
        return None
    return RejectedTier(state.name, CAPABILITY_MISSING, f"it lacks {' and '.join(sorted(lacking))}")


def exhausted(state: TierState, features: Features, *, priced: bool) -> RejectedTier | None:
    """The worst case of this call is more than the tightest cap leaves.

    A priced tier under a cap whose worst case is not known is refused: nothing could be held for it.
    """
    left = state.remaining_nano_usd
    if not priced or left is None:
        return None
    bound = features.bounds_nano_usd.get(state.name)
    if bound is None:
        detail = "what the call could cost at most is not known"
    elif bound > left or left <= 0:
        detail = f"the call could cost {dollars(bound)}, {dollars(max(left, 0))} is left"
    else:
        return None
    under = f" ({state.budget_detail})" if state.budget_detail else ""
    return RejectedTier(state.name, BUDGET_EXHAUSTED, detail + under)


def dollars(nano_usd: int) -> str:
    """Nano-dollars, none of them lost, as in ``$0.01536``; at least two decimals."""
    whole, fraction = divmod(nano_usd, 1_000_000_000)
    return f"${whole}.{f'{fraction:09d}'.rstrip('0'):0<2}"
