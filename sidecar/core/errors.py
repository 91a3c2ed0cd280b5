"""What can go wrong, by whose fault it is.

::

    SidecarError
    +-- CallerError      the call is not well formed; the caller mends it
    |   +-- InvalidHint
    |   +-- RequestTooLarge
    |   +-- CrossSiteRequest
    |   +-- MethodNotAllowed
    +-- PolicyRefusal    the call is fine, but nothing that may answer it can
    |   +-- NoTierAvailable
    |   +-- SensitiveAndLocalDown
    |   +-- CapabilityMissing
    |   +-- Overloaded
    |   +-- ShuttingDown
    +-- UpstreamFault    an upstream refused, stalled, lied or broke

Each carries the HTTP status it deserves, a stable code, words for the caller, and words for the
operator. Neither ever holds prompt text, keys, or a URL with credentials.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class SidecarError(Exception):
    """Base of all errors that end a call."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, operator: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.operator = operator or message
        self.param = param


class CallerError(SidecarError):
    """The call is not well formed: 400 unless a subclass says otherwise."""

    status = 400
    code = "invalid_request"


class InvalidHint(CallerError):
    """A hint header or metadata value is not one of the good ones."""

    code = "invalid_hint"


class RequestTooLarge(CallerError):
    """The body is over the limit."""

    status = 413
    code = "request_too_large"


class CrossSiteRequest(CallerError):
    """A browser on another site's behalf; a web page must not spend the operator's money."""

    status = 403
    code = "cross_site_request"


class MethodNotAllowed(CallerError):
    """The path takes another HTTP method."""

    status = 405
    code = "method_not_allowed"


class PolicyRefusal(SidecarError):
    """Nothing that may answer this call can answer it now."""

    status = 503
    code = "no_tier_available"

    def __init__(self, message: str, *, retry_after_s: int | None = None, operator: str = "") -> None:
        super().__init__(message, operator=operator)
        self.retry_after_s = retry_after_s


class NoTierAvailable(PolicyRefusal):
    """Every tier of the plan was rejected or failed."""


class SensitiveAndLocalDown(PolicyRefusal):
    """The call may not leave this machine, and no tier on it can answer."""

    code = "sensitive_and_local_down"


class CapabilityMissing(PolicyRefusal):
    """No tier that may take the call can do what it asks for; the caller can change that, waiting cannot."""

    status = 400
    code = "capability_missing"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Overloaded(PolicyRefusal):
    """So many calls are under way that no more are taken."""

    code = "overloaded"


class ShuttingDown(PolicyRefusal):
    """The sidecar is being stopped."""

    code = "shutting_down"


class Fault(StrEnum):
    """How an upstream failed, as far as can be told."""

    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    TIMEOUT = "timeout"
    CUT = "cut"
    THROTTLED = "throttled"
    SERVER_ERROR = "server_error"
    AUTH = "auth"
    REJECTED = "rejected"
    TOO_LONG = "too_long"
    REDIRECT = "redirect"
    GARBAGE = "garbage"
    EMPTY = "empty"
    UNSUPPORTED = "unsupported"


#: Faults after which the upstream cannot have billed: nothing was accepted for processing.
UNBILLED_FAULTS = frozenset(
    {
        Fault.REFUSED,
        Fault.DNS,
        Fault.TLS,
        Fault.THROTTLED,
        Fault.AUTH,
        Fault.REJECTED,
        Fault.TOO_LONG,
        Fault.REDIRECT,
        Fault.UNSUPPORTED,
    }
)


class UpstreamFault(SidecarError):
    """An attempt failed before a byte of the answer went to the caller.

    ``message`` is always ours, and fit for records, pages and other callers. ``words``, ``body`` and
    ``content_type`` are the upstream's own, which may quote the call: for the caller alone, whose fault it
    may be. ``http_status`` is what the upstream answered, if it did; ``retry_after_s`` what it asked for.
    ``told`` says that the caller has been given its words already, as the error event of a stream.
    """

    status = 502
    code = "upstream_failed"

    def __init__(
        self,
        fault: Fault,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        body: bytes = b"",
        content_type: str = "application/json",
        words: str = "",
        told: bool = False,
    ) -> None:
        super().__init__(message)
        self.words = words
        self.told = told
        self.fault = fault
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.body = body
        self.content_type = content_type

    @property
    def in_our_words(self) -> str:
        """What happened, without the upstream's own words, which may quote the call: fit for anybody."""
        if self.http_status is not None:
            return f"{self.fault} (answered {self.http_status})"
        return self.fault.value if self.told or self.body else f"{self.fault} ({self.message[:100]})"

    @property
    def try_next(self) -> bool:
        """Whether another tier may do better; a request the upstream rejected would fail there too."""
        return self.fault is not Fault.REJECTED
