"""A breaker on a time line: a tier fails for a while, calls keep coming, and this is what it gets to see.

``python -m tests.rig.breaker_time_line > docs/breaker.md`` writes the page anew.
"""

from __future__ import annotations

import sys

import msgspec

from sidecar.core.breaker import Breaker, BreakerLimits, Circuit, Event
from sidecar.core.errors import Fault, UpstreamFault

#: Calls come this often, in seconds; the tier fails from the first of these times to the second.
EVERY_S = 0.5
DOWN_S = (10.0, 60.0)
END_S = 100.0


class Moment(msgspec.Struct, frozen=True):
    """What happened; since the moment before ``seen`` calls reached the tier and ``kept`` did not."""

    at_s: float
    what: str
    state: Circuit
    seen: int
    kept: int


def time_line(limits: BreakerLimits = BreakerLimits()) -> list[Moment]:  # noqa: B008 - it is frozen
    """The moments at which something changed, with a call every ``EVERY_S`` seconds."""
    breaker, fault = Breaker(limits), UpstreamFault(Fault.SERVER_ERROR, "the tier failed", http_status=500)
    moments: list[Moment] = []
    seen = kept = 0
    for number in range(int(END_S / EVERY_S) + 1):
        now_s, call = number * EVERY_S, object()
        before = breaker.state
        down = DOWN_S[0] <= now_s < DOWN_S[1]
        if not breaker.admit(call, now_s):
            kept += 1
            continue
        seen += 1
        probe = breaker.state is Circuit.HALF_OPEN
        breaker.tell(call, Event.FAILED if down else Event.SUCCEEDED, now_s, fault if down else None)
        if probe or breaker.state is not before or number == 0:
            wait_s = breaker.wait_s(now_s) or 0.0
            what = _words(probe=probe, down=down, first=number == 0, wait_s=wait_s)
            moments.append(Moment(now_s, what, breaker.state, seen, kept))
            seen = kept = 0
    moments.append(Moment(END_S, "the end", breaker.state, seen, kept))
    return moments


def _words(*, probe: bool, down: bool, first: bool, wait_s: float) -> str:
    if first:
        return "the first call is answered"
    if not down:
        return "a probe is answered: calls go there again"
    rest = f"the tier is left alone for {wait_s:g} s"
    return (
        f"a probe fails: {rest}"
        if probe
        else f"{BreakerLimits().failures_in_a_row} calls have failed: {rest}"
    )


_HEAD = f"""\
# A circuit breaker on a time line

A tier answers, then fails every call from second {DOWN_S[0]:g} to second {DOWN_S[1]:g}, then answers again.
Two calls come every second. With the limits as they are when nothing is configured, this is what happens,
worked out by the breaker itself (`tests/rig/breaker_time_line.py`). Calls that do not reach the tier go to
the next of their plan at once; the counts are since the line before.

| second | what happens | breaker | calls that reached the tier | calls that went past it |
|---:|---|---|---:|---:|
"""


def page() -> str:
    """The page ``docs/breaker.md``."""
    moments = time_line()
    rows = [
        (f"{each.at_s:g}", each.what, each.state.replace("_", " "), each.seen, each.kept) for each in moments
    ]
    lines = ["| " + " | ".join(map(str, row)) + " |\n" for row in rows]
    return _HEAD + "".join(lines) + _TAIL


_TAIL = """
Where nobody answers at all, it is not even a call that finds out: see [what goes wrong](faults.md).

## A key that is refused

A 401 opens the breaker until the tier's configuration changes: no amount of waiting mends a key. A 403 does
the same, unless it may be about one request only, for then one app's model or prompt would close the tier to
all others: its words speak of a model, a prompt, content or a policy, or it has no words in JSON, as the page
of a firewall. Such a 403 counts as one failure among others. In the legacy arm, where the answer is handed on
unread, every 403 does.

Either way operators are told once for each tier and configuration (and once more after a restart, or if a 403
of one request is followed by a refusal of the key itself): an alert of the kind `tier` on the overview, at
`GET /admin/alerts` and by the webhook. As long as it lasts it stands in the banner of every page and as
`key_refused` in `GET /admin/tiers`; a 403 of one model ends with that model's next answer.
"""


if __name__ == "__main__":
    sys.stdout.write(page())
