"""What can be made to go wrong, and for which requests.

A ``Fault`` is a set of independent switches; those that are set combine (a delay and then a 429, a slow
drip that is cut). A ``Rule`` says which requests have it, how many of them, and what share.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sidecar.demo.scripted.reply import Refusal


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a rule is for; what is left out matches all. ``contains`` is a part of the body."""

    path: str | None = None
    model: str | None = None
    contains: str | None = None
    stream: bool | None = None


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What goes wrong with one answer.

    Time: ``delay_s`` before the first byte, ``drip_s`` before each further chunk of a stream.
    Refusals: ``status``, worded by the dialect; ``code`` as OpenAI's error code
    (``context_length_exceeded`` brings its own words), ``retry_after`` as the header, ``redirect`` to a
    URL with 307.
    Transport: ``close`` the connection without a byte, ``truncate`` to half of the announced length,
    ``cut_after`` that many chunks of a stream by ``cut``: a TCP ``reset``, a ``fin`` inside the HTTP body,
    or an HTTP body that ``end``\\ s well without the dialect's own end.
    Content: another ``body`` or ``content_type``, a ``usage`` that lies, a stream that is ``endless``, an
    error event after ``error_after`` chunks.
    ``bill`` says whether the service bills the whole answer nevertheless. Left out, it bills what it
    generated: nothing for refusals, everything for an answer that was lost on the way.
    """

    delay_s: float = 0.0
    drip_s: float = 0.0
    status: int | None = None
    code: str | None = None
    retry_after: int | str | None = None
    redirect: str | None = None
    close: bool = False
    truncate: bool = False
    cut_after: int | None = None
    cut: Literal["reset", "fin", "end"] = "reset"
    body: Literal["garbage", "html", "empty"] | None = None
    content_type: str | None = None
    usage: Literal["negative", "absurd", "missing"] | None = None
    endless: bool = False
    error_after: int | None = None
    bill: bool | None = None

    @property
    def refusal(self) -> Refusal | None:
        """The refusal it stands for, if it is one."""
        if self.redirect is not None:
            return Refusal(307, "Temporary Redirect")
        if self.code == "context_length_exceeded":
            return Refusal(
                self.status or 400,
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 "
                "tokens. Please reduce the length of the messages.",
                code=self.code,
                param="messages",
            )
        if self.status is None:
            return None
        kind, code, message = _WORDS.get(
            self.status, ("invalid_request_error", None, "The request was refused.")
        )
        return Refusal(self.status, message, kind=kind, code=self.code or code)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault for the requests that match: at most ``times`` of them, and of each hundred ``share`` * 100.

    The share is dealt out evenly and always alike: at 0.25 every fourth matching request has the fault.
    """

    fault: Fault
    match: Match = Match()
    times: int | None = None
    share: float = 1.0


#: What a proxy asks of itself, so that it must not use up what is meant for an app's requests.
_ASKED_APART = ("/api/show",)


class FaultBook:
    """The rules in force. The first that matches and is not used up applies."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._seen: list[int] = []
        self._used: list[int] = []

    def add(self, rules: list[Rule]) -> None:
        """Put ``rules`` behind those that are there."""
        self._rules += rules
        self._seen += [0] * len(rules)
        self._used += [0] * len(rules)

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._rules, self._seen, self._used = [], [], []

    def draw(self, path: str, body: bytes) -> Fault | None:
        """The fault for this request, which counts as one more request seen."""
        for index, rule in enumerate(self._rules):
            if not _matches(rule.match, path, body) or (path in _ASKED_APART and rule.match.path is None):
                continue
            seen = self._seen[index] = self._seen[index] + 1
            due = int(seen * rule.share) > int((seen - 1) * rule.share)
            if due and (rule.times is None or self._used[index] < rule.times):
                self._used[index] += 1
                return rule.fault
        return None


class _Asked(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None


def _matches(match: Match, path: str, body: bytes) -> bool:
    if match.path is not None and match.path != path:
        return False
    if match.contains is not None and match.contains.encode() not in body:
        return False
    if match.model is None and match.stream is None:
        return True
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except msgspec.DecodeError:
        return False
    if match.model is not None and match.model != asked.model:
        return False
    return match.stream is None or match.stream == streams(path, asked.stream)


def streams(path: str, asked: bool | None) -> bool:
    """Whether a request streams: Ollama's chat and generate do unless told not to."""
    return path in ("/api/chat", "/api/generate") if asked is None else asked


_WORDS: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was refused."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("insufficient_permissions", None, "You are not allowed to use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    413: ("invalid_request_error", None, "The request body is too large."),
    422: ("invalid_request_error", None, "The request could not be processed."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached. Please try again later."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
