"""Decodes a call as far as the sidecar needs to: model, stream, hints, texts, size; the bytes stay."""

from __future__ import annotations

from typing import Any

import msgspec

from sidecar.core.errors import CallerError
from sidecar.core.vocabulary import Dialect, Door, Operation
from sidecar.wire.asked_by import asks_to_think
from sidecar.wire.call_text import CallText, count_strings
from sidecar.wire.readers import reader_of

_ANY_OBJECT = msgspec.json.Decoder(dict[str, Any])


class DecodedCall(msgspec.Struct, frozen=True):
    """What the sidecar knows of a call's body.

    ``parts`` are (role, text) in order, for the complexity estimate. ``texts`` are all strings that would
    be sent, for the privacy gate. ``needs`` are the capabilities a model must have: ``vision``,
    ``tools``, ``schema``, ``thinking``. ``output_limit`` is what the caller set, if it did.
    """

    fields: dict[str, Any]
    model: str
    stream: bool
    metadata: dict[str, Any]
    parts: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    unreadable: tuple[str, ...]
    tools: int
    schema: bool
    needs: frozenset[str]
    batch_size: int
    output_limit: int | None

    @property
    def chars(self) -> int:
        """How long all texts are together, in characters."""
        return sum(map(len, self.texts))


def decode(door: Door, body: bytes) -> DecodedCall:
    """Decode ``body`` as a call through ``door``. Raises ``CallerError`` with words for the caller."""
    fields = decode_object(body)
    model = fields.get("model")
    if model is None:
        raise CallerError("you must provide a model parameter", param="model")
    model = check_model(model)
    stream = fields.get("stream")
    if stream is None:
        stream = door.dialect is Dialect.OLLAMA and door.operation is not Operation.EMBEDDINGS
    elif not isinstance(stream, bool):
        raise CallerError("stream must be true or false", param="stream")
    stream = stream and door.operation is not Operation.COUNT_TOKENS
    metadata = fields.get("metadata")
    text = CallText()
    text.take({key: fields[key] for key in sorted(fields, key=_place_in_reading)})
    if text.strings != count_strings(body):
        raise CallerError("a key stands twice in one object; send each key once")
    if len({name.casefold() for name in fields}) < len(fields):
        # Servers in Go take whichever comes last for the field.
        raise CallerError("a key stands twice, but for upper and lower case; send each key once")
    parts, batch_size = reader_of(door)(fields, text)
    tools = fields.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise CallerError("tools must be a list", param="tools")
    schema = _wants_schema(fields)
    needs = set()
    if "image" in text.unreadable:
        needs.add("vision")
    if tools:
        needs.add("tools")
    if schema:
        needs.add("schema")
    if asks_to_think(fields):
        needs.add("thinking")
    return DecodedCall(
        fields=fields,
        model=model,
        stream=stream,
        metadata=metadata if isinstance(metadata, dict) else {},
        parts=tuple(parts),
        texts=text.texts,
        unreadable=tuple(text.unreadable),
        tools=len(tools) if tools else 0,
        schema=schema,
        needs=frozenset(needs),
        batch_size=batch_size,
        output_limit=_output_limit(door, fields),
    )


def _place_in_reading(key: str) -> int:
    """Models read instructions before, and a suffix behind the rest, in whatever order they are sent."""
    return 0 if key in ("system", "instructions") else 2 if key == "suffix" else 1


def check_model(model: object) -> str:
    """The model's name. Raises ``CallerError`` when it is none."""
    if not isinstance(model, str) or not model.strip():
        what = "must not be empty" if isinstance(model, str) else "must be a string"
        raise CallerError(f"model {what}", param="model")
    return model


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises ``CallerError`` with words for the caller."""
    try:
        return _ANY_OBJECT.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if isinstance(error, msgspec.ValidationError) and not body.lstrip().startswith(b"{"):
            raise CallerError("the body must be a JSON object") from None
        raise CallerError(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise CallerError("the body is nested too deeply") from None


def _wants_schema(fields: dict[str, Any]) -> bool:
    holders = (fields, fields.get("text"), fields.get("output_config"))
    for name in ("response_format", "output_format", "format"):
        for holder in holders:
            wanted = holder.get(name) if isinstance(holder, dict) else None
            if isinstance(wanted, dict) and wanted.get("type") in ("text", "json_schema", "json_object"):
                return bool(wanted["type"] != "text")
    return bool(fields.get("format"))


def _output_limit(door: Door, fields: dict[str, Any]) -> int | None:
    if door.dialect is Dialect.OLLAMA:
        options = fields.get("options")
        if options is not None and not isinstance(options, dict):
            raise CallerError("options must be an object", param="options")
        limit = (options or {}).get("num_predict")
    elif door.dialect is Dialect.ANTHROPIC:
        limit = fields.get("max_tokens")
        if limit is None and door.operation is Operation.CHAT:
            raise CallerError("max_tokens: Field required", param="max_tokens")
    else:
        limit = fields.get("max_output_tokens", fields.get("max_completion_tokens", fields.get("max_tokens")))
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise CallerError("max_tokens: the output limit must be a whole number of tokens", param="max_tokens")
    if door.dialect is Dialect.OLLAMA:
        return limit if limit > 0 else None
    if limit == 0 and door.dialect is Dialect.ANTHROPIC:
        # Fills Anthropic's prompt cache and generates nothing.
        return limit
    if limit < 1:
        raise CallerError("max_tokens: the output limit must be at least 1", param="max_tokens")
    return limit
