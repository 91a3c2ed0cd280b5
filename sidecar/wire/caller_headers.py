"""Chooses which of the caller's headers may go on to a tier, and in what form.

The privacy gate reads bodies. A header is a place for free text too, so off this machine only values go
whose grammar leaves no room for any; on it, a few go as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from sidecar.core.tiers import TierSpec
from sidecar.core.vocabulary import Dialect

#: An app's own key must not reach another provider, so even a local tier gets these only.
_LOCAL: Final = ("accept", "anthropic-beta", "anthropic-version", "openai-beta", "user-agent")
_OWN_AGENT: Final = ("user-agent", "aegis-sidecar")

_VALUE_MAX: Final = 512
_DATE: Final = r"202\d-[01]\d-[0-3]\d"
_FEATURE: Final = rf"[a-z]{{2,20}}(?:-[a-z]{{1,20}}|-\d{{1,3}}[a-z]?){{0,6}}-{_DATE}"
_FEATURE_NUMBERS_MAX: Final = 6
#: By dialect, the headers that name versions and features of it, and what they look like.
_VERSIONS: Final[dict[Dialect, tuple[tuple[str, re.Pattern[str]], ...]]] = {
    Dialect.ANTHROPIC: (
        ("anthropic-beta", re.compile(rf"{_FEATURE}(?:, ?{_FEATURE}){{0,15}}")),
        ("anthropic-version", re.compile(_DATE)),
    ),
    Dialect.OPENAI: (
        (
            "openai-beta",
            re.compile(rf"[a-z_]{{2,32}}=(?:v\d|{_DATE})(?:, ?[a-z_]{{2,32}}=(?:v\d|{_DATE})){{0,7}}"),
        ),
    ),
}
_DIGITS: Final = re.compile(rf"{_DATE}|(\d)")
#: A vendor's name with a count or an id of a span or trace; an id without a letter could be a card's number.
_STATE_MEMBER: Final = re.compile(
    r"[a-z]{1,16}=(?:[0-9a-f]{1,4}|(?=[0-9]*[a-f])(?:[0-9a-f]{32}|[0-9a-f]{16}))"
)
_STATE_MEMBERS_MAX: Final = 8


def headers_for(tier: TierSpec, callers: Mapping[str, str], trace_state: str) -> list[tuple[str, str]]:
    """What goes to ``tier`` of the caller's headers. Values beyond ASCII go nowhere.

    HTTP clients disagree on how to write those, and some refuse to. ``trace_state`` is W3C's, off this
    machine without the members that could be anything.
    """
    if not tier.off_box:
        came = [(name, callers.get(name, "")) for name in _LOCAL]
        kept = [(name, value) for name, value in came if value and value.isascii()]
    else:
        kept = [_OWN_AGENT]
        for name, form in _VERSIONS.get(tier.dialect, ()) if tier.dialect is not None else ():
            value = callers.get(name, "")
            if len(value) <= _VALUE_MAX and form.fullmatch(value) and _says_no_number(value):
                kept.append((name, value))
        trace_state = _plain_members(trace_state)
    if trace_state:
        kept.append(("tracestate", trace_state))
    return kept


def _says_no_number(value: str) -> bool:
    """Whether the digits beside dates are too few for a number that belongs to somebody."""
    return sum(bool(digit) for digit in _DIGITS.findall(value)) <= _FEATURE_NUMBERS_MAX


def _plain_members(trace_state: str) -> str:
    if len(trace_state) > _VALUE_MAX:
        return ""
    members = [member.strip() for member in trace_state.split(",")]
    return ",".join([member for member in members if _STATE_MEMBER.fullmatch(member)][:_STATE_MEMBERS_MAX])
