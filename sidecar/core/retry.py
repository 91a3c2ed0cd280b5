"""Says whether a failed attempt is made once more at the same tier, and after how long."""

from __future__ import annotations

from typing import Annotated

import msgspec

from sidecar.core.errors import Fault, UpstreamFault

#: Faults that may be gone a moment later. A slow tier, a refused key or a prompt that is too long are not.
_PASSING = frozenset(
    {Fault.REFUSED, Fault.DNS, Fault.CUT, Fault.THROTTLED, Fault.SERVER_ERROR, Fault.EMPTY, Fault.GARBAGE}
)


class RetryLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a tier is tried again before the next one is, and from which wait in seconds on."""

    max: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    wait_s: Annotated[float, msgspec.Meta(gt=0)] = 0.25


def wait_before_retry_s(limits: RetryLimits, made: int, fault: UpstreamFault, dice: float) -> float | None:
    """Seconds until the tier that failed with ``fault`` is tried again; None: it is not.

    ``made`` counts the retries so far. The wait doubles with each; ``dice``, in [0, 1), takes up to half of
    it away, so that calls that failed together do not come back together. An upstream that says for how
    long it wants to be left alone is left alone.
    """
    if made >= limits.max or fault.fault not in _PASSING or fault.retry_after_s:
        return None
    return float(limits.wait_s * 2**made * (1 - dice / 2))
