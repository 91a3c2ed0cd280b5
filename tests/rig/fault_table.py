"""What can go wrong with an upstream and what the app then gets: the one table behind test and page.

``python -m tests.rig.fault_table > docs/faults.md`` writes the page anew.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Any

import msgspec


class Ending(StrEnum):
    """What the app gets."""

    NEXT = "next"  # the next tier's answer
    CALLER = "caller"  # the upstream's words, as the error that they are
    BROKEN = "broken"  # a stream that ends with an error event


class Row(msgspec.Struct, frozen=True):
    """One thing that goes wrong at the first tier of a plan.

    ``plain`` and ``stream`` are the scripted upstream's faults (``scripted.faults.Fault``) for calls of
    either kind; None: it cannot happen to such a call. ``address`` stands for a place where no such
    upstream is. ``fault`` is what the attempt is recorded with, ``settlement`` what becomes of the hold.
    """

    what: str
    ending: Ending
    fault: str
    settlement: str
    plain: dict[str, Any] | None = None
    stream: dict[str, Any] | None = None
    address: str = ""
    status: int = 200


def _next(what: str, fault: str, settlement: str, **both: Any) -> Row:
    return Row(what, Ending.NEXT, fault, settlement, plain=both, stream=both)


def _nowhere(what: str, fault: str) -> Row:
    return Row(what, Ending.NEXT, fault, "released", plain={}, stream={}, address=fault)


def _callers(status: int) -> Row:
    both = {"status": status}
    return Row(f"answers {status}", Ending.CALLER, "rejected", "released", both, both, status=status)


def _broken(what: str, fault: str, **stream: Any) -> Row:
    return Row(what, Ending.BROKEN, fault, "unknown", stream=stream)


ROWS = (
    _nowhere("refuses the connection", "refused"),
    _nowhere("has a name that is not found", "dns"),
    _nowhere("speaks no TLS, or with a certificate that does not hold", "tls"),
    _next("says nothing within `first_byte_s`", "timeout", "unknown", delay_s=30.0),
    _next("closes the connection without a byte", "cut", "unknown", close=True),
    _next("answers 429", "throttled", "released", status=429),
    _next("answers 429 with `Retry-After`", "throttled", "released", status=429, retry_after=7),
    _next("answers 500", "server_error", "unknown", status=500),
    _next("answers 503", "server_error", "unknown", status=503),
    _next("answers 401", "auth", "released", status=401),
    _next("answers 403", "auth", "released", status=403),
    _next("redirects", "redirect", "released", redirect="http://127.0.0.1:9/elsewhere"),
    _next("says that the prompt is too long", "too_long", "released", code="context_length_exceeded"),
    _next("answers 200 with nothing", "empty", "unknown", body="empty"),
    _next("answers 200 with a page of HTML", "garbage", "unknown", body="html"),
    _next("answers 200 with half a JSON object", "garbage", "unknown", body="garbage"),
    _next("answers 200 with another content type", "garbage", "unknown", content_type="text/plain"),
    Row("breaks off inside its answer", Ending.NEXT, "cut", "unknown", plain={"truncate": True}),
    Row("breaks off before its first token", Ending.NEXT, "cut", "unknown", stream={"cut_after": 0}),
    _callers(400),
    _callers(404),
    _callers(413),
    _callers(422),
    _broken("breaks off after some tokens, by a TCP reset", "cut", cut_after=5, cut="reset"),
    _broken("breaks off after some tokens, inside the HTTP body", "cut", cut_after=5, cut="fin"),
    _broken("ends after some tokens without its dialect's end", "cut", cut_after=5, cut="end"),
    _broken("reports an error after some tokens", "server_error", error_after=3, drip_s=0.15),
)

_HEAD = """\
# What goes wrong upstream, and what the app gets

This page is written from the table that the tests go through, row by row, on both lanes (relay, any-llm),
at both doors (OpenAI, Ollama), for plain and for streamed calls: `tests/rig/fault_table.py`.

Every call ends in one record. *Held money*: `released` posts nothing, because the upstream cannot have
billed; `unknown` posts the whole hold until an operator reconciles it with the bill.

| The upstream | plain call | streamed call | recorded fault | held money |
|---|---|---|---|---|
"""

_GETS = {
    Ending.NEXT: "the next tier's answer",
    Ending.CALLER: "{status} with the upstream's words, in the app's dialect",
    Ending.BROKEN: "its tokens, then an error event in the app's dialect",
}

_TAIL = """
The next tier's answer carries `x-sidecar-fallback` with the tiers that were tried before it. When none is
left, the app gets 503: `sensitive_and_local_down` for a call that may not leave the machine, else
`no_tier_available`, each with the reason of every tier and with `Retry-After` where waiting helps. A prompt
that is too long for all of them is a 400, `context_length_exceeded`. Where every tier that may take the call
lacks what it asks for, that is a 400, `capability_missing`, which names the field and the tiers.

Where a row says "the upstream's words", the tier's `api_key` is taken out of them. They go to that app and
nowhere else: an upstream may quote the prompt, so records, pages, logs, spans and the reasons in a 503 have
the sidecar's own words (`answered 429`).

Once a token has gone to the app there is no switch to another tier: the stream ends with an error event and
never as if it were complete.

## What a stream costs whose client left

The upstream's connection is closed at once. If it had come to its end, its usage is posted. Else the input is
posted at its bound, and one token for each byte of text that had come from the upstream, whether or not it
had gone on to the client: no tokenizer makes more. That is `estimated`, and little for who leaves early.

It is so only where nothing was held back. An upstream may go on generating for a client that has stopped
reading, so where its answer had piled up (64 KB of it unread at a time, or on the any-llm lane anything that
waited when the client left), and where a provider's own SDK hides what has come, the whole hold is posted, as
`unknown`: an operator can release what the bill does not show. The same goes for models that may reason
unseen. What an upstream generates before it notices the closed connection nobody here can see; the bound
of the input has more than 1,000 tokens to spare for it.

A usage whose total is more than its parts (some leave reasoning out of the completion) counts the rest as
output. Whatever is reported, at most the hold is posted.

## Other tries, other tiers

Before its turn passes to the next, a tier can be tried again: `retry: {max: 2}`, off unless set. Not after
silence, a refused key or a prompt that is too long, nor when the upstream says how long to wait. Each try has
its own hold.

## How long a tier is left alone

Then it is asked something that generates no token (`GET /api/version`, `GET /v1/models`). While nobody
answers that, it rests on. When somebody does, one call, the probe, tries it: if a first token comes, the tier
takes calls again.

| | |
|---|---|
| 5 failures in a row, or half of 20 or more in 30 s | 5 s, doubled by each failing probe, up to 120 s |
| `Retry-After` | as long as it says, at most 600 s |
| 401, or [403](breaker.md) that is not about one request | until the tier's configuration changes |
| 400, 404, 413, 422, too long; the client left; the call's own time was up | says nothing about the tier |
| silence of a model on this machine that has not answered for 5 min | it is being loaded, up to 10 min |

The figures are those of `breaker` in a tier's configuration.

All attempts of a call share its time, which is the longest `timeouts.total_s` of the tiers in its plan.

## All of it at once

`python -m benchmarks.soak` plays these faults for 60 s, each at 5 % of what reaches an upstream, while 200
calls are under way at a time, half of them streams; some clients leave, some read slowly, and the
configuration changes every 2 s. A run on a small machine with two cores that others were using too, so that
the event loop was late by up to 3 s: 4,893 calls, each of which had its one record, which agreed with what
its client saw; none hung, none was lost, and no task, no place at a tier and no hold was left. Memory was
177 MB after warming up and 183 MB at the end (+3.3 %, 10 % are allowed).
"""


def page() -> str:
    """The page ``docs/faults.md``."""
    return _HEAD + "".join(_line(row) for row in ROWS) + _TAIL


def _line(row: Row) -> str:
    gets = _GETS[row.ending].format(status=row.status)
    plain = gets if row.plain is not None else "-"
    stream = gets if row.stream is not None else "-"
    return f"| {row.what} | {plain} | {stream} | `{row.fault}` | {row.settlement} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
