"""Puts a relayed call into the shape its upstream must get, changing only what must change."""

from __future__ import annotations

import msgspec

from sidecar.core.ports import OutboundCall
from sidecar.core.vocabulary import OPENAI_CHAT, OPENAI_RESPONSES, Dialect, Operation
from sidecar.wire.json_splice import splice, splice_nested

_TRUE_USAGE = b'{"include_usage":true}'


def asked_for_usage(call: OutboundCall) -> bool:
    """Whether the caller itself asked for the usage chunk of an OpenAI stream."""
    options = call.fields.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def relay_body(call: OutboundCall, *, limit_field: str, ask_usage: bool) -> bytes:
    """The caller's bytes with model, output limit, usage request and our metadata put right.

    ``limit_field`` is the field of an OpenAI chat by which its upstream knows the limit
    (``max_completion_tokens`` or ``max_tokens``). ``ask_usage`` asks a stream for its usage chunk.
    """
    changes: dict[str, bytes | None] = {}
    if call.model != call.fields.get("model"):
        changes["model"] = msgspec.json.encode(call.model)
    if call.strip_metadata:
        changes["metadata"] = _metadata_without(call)
    if call.output_limit is not None and call.door.operation is not Operation.EMBEDDINGS:
        changes.update(_limit_changes(call, limit_field))
    if (
        ask_usage
        and call.stream
        and call.door.dialect is Dialect.OPENAI
        and call.door.operation is not Operation.EMBEDDINGS
        and call.door != OPENAI_RESPONSES
        and not asked_for_usage(call)
    ):
        has_options = isinstance(call.fields.get("stream_options"), dict)
        changes["stream_options"] = (
            splice_nested(call.body, "stream_options", {"include_usage": b"true"})
            if has_options
            else _TRUE_USAGE
        )
    return splice(call.body, changes) if changes else call.body


def _metadata_without(call: OutboundCall) -> bytes | None:
    if len(call.strip_metadata) >= len(call.fields["metadata"]):
        return None
    return splice_nested(call.body, "metadata", dict.fromkeys(call.strip_metadata))


def _limit_changes(call: OutboundCall, limit_field: str) -> dict[str, bytes | None]:
    limit = call.output_limit
    assert limit is not None
    if call.door.dialect is Dialect.OLLAMA:
        current = (call.fields.get("options") or {}).get("num_predict")
        # To Ollama nought is no limit, as all below it.
        if isinstance(current, int) and 0 < current <= limit:
            return {}
        return {"options": splice_nested(call.body, "options", {"num_predict": b"%d" % limit})}
    names: tuple[str, ...] = ("max_completion_tokens", "max_tokens")
    if call.door == OPENAI_RESPONSES:
        limit_field, names = "max_output_tokens", ("max_output_tokens",)
    elif call.door != OPENAI_CHAT:
        limit_field = "max_tokens"
    named = [name for name in names if call.fields.get(name) is not None]
    if named == ["max_completion_tokens"] and limit_field == "max_tokens":
        # Servers of the dialect pass over the newer name without a word, Ollama's and llama.cpp's among
        # them, and then know no limit.
        limit = min(limit, int(call.fields["max_completion_tokens"]))
        return {"max_completion_tokens": None, "max_tokens": b"%d" % limit}
    too_high = [name for name in named if call.fields[name] > limit]
    return dict.fromkeys(too_high if named else [limit_field], b"%d" % limit)
