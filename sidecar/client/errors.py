"""What a call through the client can raise, by whose fault it is.

::

    AegisError
    +-- InvalidTask          the task cannot be sent as it is; also a ValueError
    +-- SidecarUnreachable   no sidecar listens there, or the connection broke; also a ConnectionError
    +-- SidecarTimeout       the sidecar was silent for too long; also a TimeoutError
    +-- NotASidecar          something else answered
    +-- BrokenOff            a stream ended before the answer did
    +-- Refused              the sidecar answered with an error
        +-- CallerError      the call is to be mended
        |   +-- InvalidHint, RequestTooLarge, CrossSiteRequest, MethodNotAllowed
        +-- PolicyRefusal    the call is fine, but nothing that may answer it can just now
        |   +-- NoTierAvailable, SensitiveAndLocalDown, CapabilityMissing, Overloaded, ShuttingDown
        +-- UpstreamFault    an upstream refused, stalled, lied or broke

The branches below ``Refused`` are those of ``sidecar.core.errors``, told apart by the code on the wire.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

#: Statuses of an upstream's own that are not the caller's to mend, though they are below 500.
_UPSTREAMS_OWN = frozenset({401, 403, 408, 429})
_WORDS_MAX = 300


class AegisError(Exception):
    """Base of everything that the client raises on purpose."""


class InvalidTask(AegisError, ValueError):
    """The task cannot be sent as it is; nothing was."""


class SidecarUnreachable(AegisError, ConnectionError):
    """No sidecar listens at the URL, or the connection broke before an answer came."""


class SidecarTimeout(AegisError, TimeoutError):
    """The sidecar said nothing for longer than the client waits."""


class NotASidecar(AegisError):
    """What answered at the URL does not say what a sidecar says."""


class BrokenOff(AegisError):
    """A stream ended before its answer did; ``content`` is the text that had come until then."""

    def __init__(self, message: str, *, content: str, code: str = "", request_id: str = "") -> None:
        super().__init__(message)
        self.content = content
        self.code = code
        self.request_id = request_id


class Refused(AegisError):
    """The sidecar answered with an error.

    ``status`` is the HTTP status and ``code`` the stable code beside the words; ``param`` names the field
    or header at fault, if one is. ``retry_after_s`` is when asking again may help, if the sidecar knows.
    ``tried`` are the tiers that were tried before. By ``request_id`` an operator finds the decision.
    """

    codes: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        param: str | None = None,
        retry_after_s: float | None = None,
        tried: tuple[str, ...] = (),
        request_id: str = "",
        trace_id: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.tried = tried
        self.request_id = request_id
        self.trace_id = trace_id


class CallerError(Refused):
    """The call is to be mended: it would be refused again."""


class InvalidHint(CallerError):
    """A hint is not one of the good ones, which the message lists."""

    codes = ("invalid_hint",)


class RequestTooLarge(CallerError):
    """The call is larger than the sidecar takes."""

    codes = ("request_too_large",)


class CrossSiteRequest(CallerError):
    """The call came from a web page of another site."""

    codes = ("cross_site_request",)


class MethodNotAllowed(CallerError):
    """The path takes another HTTP method."""

    codes = ("method_not_allowed",)


class PolicyRefusal(Refused):
    """The call is fine, but nothing that may answer it can just now."""


class NoTierAvailable(PolicyRefusal):
    """Every tier was rejected or failed; the message says which and why."""

    codes = ("no_tier_available",)


class SensitiveAndLocalDown(PolicyRefusal):
    """The call may not leave the machine, and nothing on it can answer."""

    codes = ("sensitive_and_local_down",)


class CapabilityMissing(PolicyRefusal):
    """No tier that may take the call can do what ``param`` asks for; waiting changes nothing."""

    codes = ("capability_missing",)


class Overloaded(PolicyRefusal):
    """The sidecar has as many calls under way as it takes."""

    codes = ("overloaded",)


class ShuttingDown(PolicyRefusal):
    """The sidecar is being stopped."""

    codes = ("shutting_down",)


class UpstreamFault(Refused):
    """An upstream refused, stalled, lied or broke, and no other tier took over."""


_BY_CODE: dict[str, type[Refused]] = {
    code: kind
    for branch in (CallerError, PolicyRefusal)
    for kind in branch.__subclasses__()
    for code in kind.codes
}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refused:
    """The error for an answer of ``status`` 400 or above; ``headers`` are looked up in lower case."""
    message, code, param = _told(body)
    kind = _BY_CODE.get(code)
    if kind is None:
        kind = UpstreamFault if status >= 500 or status in _UPSTREAMS_OWN else CallerError
    tried = headers.get("x-sidecar-fallback", "")
    return kind(
        message or f"the sidecar answered {status}",
        status=status,
        code=code,
        param=param,
        retry_after_s=_seconds(headers.get("retry-after", "")),
        tried=tuple(tried.split(",")) if tried else (),
        request_id=headers.get("x-sidecar-request-id", ""),
        trace_id=headers.get("x-sidecar-trace-id", ""),
    )


def _told(body: bytes) -> tuple[str, str, str | None]:
    """Message, code and param of an error in OpenAI's dialect."""
    try:
        fields: Any = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")[:_WORDS_MAX].strip(), "", None
    error = fields.get("error") if isinstance(fields, dict) else None
    if not isinstance(error, dict):
        return str(error or fields)[:_WORDS_MAX], "", None
    param = error.get("param")
    return (
        str(error.get("message") or ""),
        str(error.get("code") or ""),
        None if param is None else str(param),
    )


def _seconds(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None  # a date: the sidecar itself never sends one
