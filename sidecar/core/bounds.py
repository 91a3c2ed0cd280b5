"""Finds the most tokens that a call can be billed for, before it is sent.

Input
-----
A byte-level tokenizer, as OpenAI's and those of the open models behind Ollama Cloud are, never makes more
tokens than there are bytes of UTF-8. So the bytes are the bound, and the question is only what more the
upstream reads than the call's body shows:

- **The body itself** is counted whole, markup and unknown fields included. JSON escapes only make it
  longer than the text they stand for: ``\\u00e9`` is six bytes for a character of two. So its length
  bounds all the text in it, however the lane writes it anew.
- **Roles and separators** around each message: ``MESSAGE_TOKENS``. OpenAI documents 3 to 5.
- **The chat template**, with the system prompt that a model brings along and its words on tools:
  ``TEMPLATE_TOKENS``, once. The longest known are some 700.
- **What a template writes as JSON** (tools, schemas, tool calls, tool results) may come out longer than it
  went in: escaped to ASCII, ``<`` written as ``\\u003c``, indented. This rendering is counted on top.
- **Images** cost by their size, after the upstream has scaled them: ``IMAGE_TOKENS``, the worst case of
  OpenAI's formulas. The bytes of an inline image are taken off the body.

What cannot be bounded refuses the tier, with words: audio, files, images behind a link, server-side tools,
state kept at the upstream, a price class of the caller's choosing, options out of sight, all by the names
that are known to cost (``bound_parts.UNBOUNDED_FIELDS``); unknown fields go on. Some tokenizers (Qwen's,
Command R's) bring text into Unicode's form NFC first, which makes some characters up to three times as
long: ``body_tokens`` counts that. Not covered: those that use the form NFKC (XLM-R, T5), where it is up to
eleven times; none of them chats, and embeddings stay on this machine. Writing to a cache counts twice.

Output
------
The limit that is sent upstream, for each choice. The app's own, or ``default_max_tokens`` where it names
none or asks for no limit (Ollama: ``num_predict`` of zero or less); OpenAI's text completions have a default
of their own, ``COMPLETION_TOKENS``. Reasoning counts inside it.
``STOP_TOKENS`` more are held for each choice: some servers count the token that ends the answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sidecar.core import anthropic_bounds, chat_bounds, responses_bounds
from sidecar.core.bound_parts import (
    STOP_TOKENS,
    UNBOUNDED_FIELDS,
    Unbounded,
    refuse_budget_over,
    refuse_dear_betas,
    refuse_unbounded,
    whole,
)
from sidecar.core.vocabulary import (
    OPENAI_CHAT,
    OPENAI_COMPLETIONS,
    OPENAI_RESPONSES,
    Dialect,
    Door,
    Operation,
)

#: How long OpenAI's legacy text completions are where nobody says it; from its API reference.
COMPLETION_TOKENS = 16
CHOICES_MAX = 128

_OTHER_LIMIT = "an output limit in the words of another server"
_OTHER_LIMITS: Final = dict.fromkeys(("num_predict", "n_predict", "max_new_tokens"), _OTHER_LIMIT)
_ONE_ANSWER: Final = dict.fromkeys(
    ("n", "best_of"), "this dialect gives one answer; an upstream of another dialect gives more"
)
#: What refuses a call, by dialect: an output limit in another's words could win over the one that was held.
_REFUSED: Final = {
    Dialect.OPENAI: {
        **UNBOUNDED_FIELDS,
        **_OTHER_LIMITS,
        "options": "options belong to the Ollama dialect",
        "chat_template": "a template can repeat the prompt",
    },
    Dialect.OLLAMA: {**UNBOUNDED_FIELDS, **_ONE_ANSWER, "template": "a template can repeat the prompt"},
    Dialect.ANTHROPIC: {**UNBOUNDED_FIELDS, **_OTHER_LIMITS, **_ONE_ANSWER},
}
#: The fields that limit the output, by door; the other doors' names are refused.
_LIMITS: Final = {
    OPENAI_RESPONSES: ("max_output_tokens",),
    OPENAI_CHAT: ("max_tokens", "max_completion_tokens"),
}
_LIMIT_NAMES: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_ASCII: Final = bytes(range(0x80))


class Bound(msgspec.Struct, frozen=True):
    """The most that a call can be billed for, in tokens, or why that cannot be said (``refusal``).

    ``output_limit`` is the limit per choice that must be sent upstream; None when the operation makes no
    output. ``output_tokens`` are those of all ``choices`` together.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    output_limit: int | None = None
    choices: int = 1
    refusal: str = ""


def body_tokens(body: bytes) -> int:
    """The most tokens that the bytes of a body can become, whichever form a tokenizer brings them into.

    The form NFC makes no character longer than three times its UTF-8 (Unicode Standard Annex 15); nearly all
    text is in that form already. What JSON escapes is at least as long as NFC makes it.
    """
    if body.isascii() or unicodedata.is_normalized("NFC", body.decode(errors="replace")):
        return len(body)
    return len(body) + 2 * len(body.translate(None, _ASCII))


def bound(
    door: Door,
    fields: Mapping[str, Any],
    default_max_tokens: int,
    body_tokens: int,
    *,
    model: str = "",
    betas: str = "",
) -> Bound:
    """Bound a call through ``door`` from its decoded body and what ``body_tokens`` says of its bytes.

    ``model`` is what the upstream will be asked for; knowing it makes the bound of an image tighter.
    ``betas`` is the call's header ``anthropic-beta``.
    Never raises: what is absurd or cannot be bounded comes back as a ``refusal``.
    """
    if door.operation is Operation.COUNT_TOKENS:
        return Bound()
    try:
        refuse_unbounded(fields, _REFUSED[door.dialect])
        refuse_dear_betas(f"{betas} {fields.get('betas')} {fields.get('anthropic_beta')}")
        extra_input, prompts = _extra_input(door, fields, model)
        input_tokens = body_tokens + extra_input
        if door.operation is Operation.EMBEDDINGS:
            return Bound(input_tokens)
        if door.dialect is Dialect.ANTHROPIC and anthropic_bounds.writes_to_the_cache(fields):
            input_tokens *= anthropic_bounds.CACHE_WRITE_FACTOR
        if door == OPENAI_COMPLETIONS:
            default_max_tokens = min(COMPLETION_TOKENS, default_max_tokens)
        limit = _output_limit(door, fields, default_max_tokens)
        refuse_budget_over(fields, limit)
        choices = prompts * _choices(door, fields)
    except Unbounded as why:
        return Bound(refusal=str(why))
    except (RecursionError, ValueError):
        return Bound(refusal="the call is nested too deeply, or holds a number too long, to be bounded")
    # An echoed prompt comes back as output, in front of each choice.
    echoed = input_tokens if fields.get("echo") else 0
    output_tokens = choices * (limit + STOP_TOKENS + echoed)
    return Bound(input_tokens, output_tokens, limit, choices)


def _extra_input(door: Door, fields: Mapping[str, Any], model: str) -> tuple[int, int]:
    """The input tokens beyond the bytes of the body, and the number of prompts in it."""
    if door.dialect is Dialect.ANTHROPIC:
        return anthropic_bounds.extra_input(fields, model), 1
    if door == OPENAI_RESPONSES:
        return responses_bounds.extra_input(fields, model), 1
    return chat_bounds.extra_input(door.operation, door.dialect, fields, model)


def _output_limit(door: Door, fields: Mapping[str, Any], default: int) -> int:
    if door.dialect is Dialect.OLLAMA:
        options = fields.get("options")
        if options is not None and not isinstance(options, Mapping):
            raise Unbounded("options: expected an object")
        limit = whole("num_predict", (options or {}).get("num_predict"))
        return default if limit is None or limit <= 0 else limit
    names = _LIMITS.get(door, ("max_tokens",))
    for name in _LIMIT_NAMES:
        if name not in names and fields.get(name) is not None:
            raise Unbounded(f"{name}: {_OTHER_LIMIT}")
    # Where several are given, none may go above what is held.
    limits = [whole(name, fields.get(name)) for name in names]
    given = [limit for limit in limits if limit is not None]
    if any(limit <= 0 for limit in given):
        raise Unbounded(f"{names[0]}: expected a positive whole number")
    return max(given, default=default)


def _choices(door: Door, fields: Mapping[str, Any]) -> int:
    if door.dialect is Dialect.OLLAMA:
        return 1
    counts = [whole(name, fields.get(name)) for name in ("n", "best_of")]
    choices = max([count for count in counts if count is not None], default=1)
    if any(count is not None and not 1 <= count <= CHOICES_MAX for count in counts):
        raise Unbounded(f"n: expected 1 to {CHOICES_MAX}")
    return choices
