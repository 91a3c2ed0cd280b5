"""Reads usage, text and ending on the side of an answer that is relayed as it is."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from sidecar.core.ports import Tally
from sidecar.core.vocabulary import OPENAI_RESPONSES, Dialect, Door, Operation, Usage
from sidecar.wire.anthropic_fold import MessageStreamFold, read_count, read_message
from sidecar.wire.error_body import error_words
from sidecar.wire.ndjson import LineSplitter
from sidecar.wire.openai_tally import output_tokens
from sidecar.wire.responses_fold import ResponseStreamFold, read_response
from sidecar.wire.sse import EventSplitter, event_data
from sidecar.wire.text_size import utf8_length


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _OpenAIUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Custom(msgspec.Struct):
    name: str | None = None
    input: str | None = None


class _ToolCall(msgspec.Struct):
    function: _Function | None = None
    custom: _Custom | None = None


class _Delta(msgspec.Struct):
    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    reasoning_details: Any = None
    audio: Any = None
    images: Any = None


class _Choice(msgspec.Struct):
    index: int | None = None
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _OpenAIAnswer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _OpenAIUsage | None = None
    error: Any = None


class _OllamaMessage(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Any] | None = None


class _OllamaAnswer(msgspec.Struct):
    message: _OllamaMessage | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    error: Any = None


_OPENAI = msgspec.json.Decoder(_OpenAIAnswer)
_OLLAMA = msgspec.json.Decoder(_OllamaAnswer)


class Fold(Protocol):
    """Takes an answer's chunks in, gives the bytes for the caller out, and keeps the tally.

    ``error`` is the upstream's own words when its answer turned out to be an error, else empty.
    ``garbage`` says that something came that this dialect does not know.
    """

    tally: Tally
    error: str
    garbage: bool

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def _usage(reported: _OpenAIUsage) -> Usage:
    prompt, completion = reported.prompt_tokens_details, reported.completion_tokens_details
    return Usage(
        input_tokens=reported.prompt_tokens,
        output_tokens=output_tokens(
            reported.prompt_tokens, reported.completion_tokens, reported.total_tokens
        ),
        cached_input_tokens=(prompt.cached_tokens if prompt else None) or 0,
        reasoning_tokens=(completion.reasoning_tokens if completion else None) or 0,
    )


def _count_delta(delta: _Delta | None) -> int:
    if delta is None:
        return 0
    content = delta.content
    # Some servers write text and reasoning as a list of parts; its markup counts too, to be safe.
    total = len(msgspec.json.encode(content)) if isinstance(content, list) else utf8_length(content)
    reasoning = utf8_length(delta.reasoning_content) + utf8_length(delta.reasoning)
    if delta.reasoning_details:
        # OpenRouter's; mostly the same again, but what is encrypted stands here alone.
        reasoning = max(reasoning, len(msgspec.json.encode(delta.reasoning_details)))
    total += reasoning + utf8_length(delta.refusal)
    for call in delta.tool_calls or ():
        total += _function_bytes(call.function)
        if call.custom is not None:
            total += utf8_length(call.custom.name) + utf8_length(call.custom.input)
    for made in (delta.audio, delta.images):
        total += len(msgspec.json.encode(made)) if made else 0
    return total + _function_bytes(delta.function_call)


def _function_bytes(function: _Function | None) -> int:
    return utf8_length(function.name) + utf8_length(function.arguments) if function is not None else 0


#: How a line of an event stream begins; a comment has an empty name.
_FIELDS = (b"data", b"event", b"id", b"retry", b":")


class OpenAIStreamFold:
    """Folds an OpenAI SSE stream. ``drop_usage`` removes the usage chunk that the caller did not ask for."""

    def __init__(self, *, drop_usage: bool) -> None:
        self.tally = Tally()
        self.error = ""
        self.garbage = False
        self._drop_usage = drop_usage
        self._events = EventSplitter()

    def feed(self, chunk: bytes) -> bytes:
        out = [event for event in self._events.feed(chunk) if self._keep(event)]
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        rest = self._events.rest()
        if rest.strip() and not rest.startswith(_FIELDS):
            self.garbage = True
        return rest if rest and self._keep(rest) else b""

    def _keep(self, event: bytes) -> bool:
        data = event_data(event)
        if not data:
            return True
        if data == b"[DONE]":
            self.tally.finished = True
            return True
        try:
            answer = _OPENAI.decode(data)
        except msgspec.MsgspecError:
            self.garbage = True
            # It goes to the caller as it is, so it may have been generated and billed.
            self.tally.output_text_bytes += len(data)
            return True
        if answer.error is not None:
            self.error = error_words(answer.error)
            return True
        for choice in answer.choices or ():
            self.tally.output_text_bytes += _count_delta(choice.delta) + utf8_length(choice.text)
            self.tally.take_choice(choice.index or 0, choice.finish_reason)
        if answer.usage is not None:
            self.tally.usage = _usage(answer.usage)
            return not (self._drop_usage and not answer.choices)
        return True


class OllamaStreamFold:
    """Folds an Ollama NDJSON stream."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.error = ""
        self.garbage = False
        self._lines = LineSplitter()

    def feed(self, chunk: bytes) -> bytes:
        lines = self._lines.feed(chunk)
        for line in lines:
            self._read(line)
        return b"".join(lines)

    def finish(self) -> bytes:
        rest = self._lines.rest()
        self._read(rest)
        return rest

    def _read(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            answer = _OLLAMA.decode(line)
        except msgspec.MsgspecError:
            self.garbage = True
            self.tally.output_text_bytes += len(line)
            return
        if answer.error is not None:
            self.error = error_words(answer.error)
        _count_ollama(self.tally, answer)


def _count_ollama(tally: Tally, answer: _OllamaAnswer) -> None:
    tally.output_text_bytes += utf8_length(answer.response) + utf8_length(answer.thinking)
    if answer.message is not None:
        tally.output_text_bytes += utf8_length(answer.message.content) + utf8_length(answer.message.thinking)
        if answer.message.tool_calls:
            tally.output_text_bytes += len(msgspec.json.encode(answer.message.tool_calls))
    if answer.done:
        tally.finished = True
        tally.finish_reason = answer.done_reason or "stop"
        if answer.prompt_eval_count is not None or answer.eval_count is not None:
            tally.usage = Usage(answer.prompt_eval_count or 0, answer.eval_count or 0)


class BodyFold:
    """Folds an answer that comes whole; ``feed`` it once."""

    def __init__(self, door: Door) -> None:
        self.tally = Tally()
        self.error = ""
        self.garbage = False
        self._door = door

    def feed(self, chunk: bytes) -> bytes:
        if self._door.operation is Operation.EMBEDDINGS:
            self._read_embeddings(chunk)
        elif self._door.operation is Operation.COUNT_TOKENS:
            self.error, self.garbage = read_count(chunk, self.tally)
        elif self._door == OPENAI_RESPONSES:
            self.error, self.garbage = read_response(chunk, self.tally)
        elif self._door.dialect is Dialect.ANTHROPIC:
            self.error, self.garbage = read_message(chunk, self.tally)
        elif self._door.dialect is Dialect.OLLAMA:
            self._read_ollama(chunk)
        else:
            self._read_openai(chunk)
        return chunk

    def finish(self) -> bytes:
        return b""

    def _read_openai(self, body: bytes) -> None:
        try:
            answer = _OPENAI.decode(body)
        except msgspec.MsgspecError:
            self.garbage = True
            self.tally.output_text_bytes += len(body)
            return
        if answer.error is not None:
            self.error = error_words(answer.error)
        elif answer.choices is None:
            self.garbage = True
        else:
            self.tally.finished = True
            for choice in answer.choices:
                self.tally.output_text_bytes += _count_delta(choice.message) + utf8_length(choice.text)
                self.tally.finish_reason = choice.finish_reason or self.tally.finish_reason
        if answer.usage is not None:
            self.tally.usage = _usage(answer.usage)

    def _read_ollama(self, body: bytes) -> None:
        try:
            answer = _OLLAMA.decode(body)
        except msgspec.MsgspecError:
            self.garbage = True
            self.tally.output_text_bytes += len(body)
            return
        if answer.error is not None:
            self.error = error_words(answer.error)
        _count_ollama(self.tally, answer)
        self.garbage = not self.error and answer.message is None and answer.response is None

    def _read_embeddings(self, body: bytes) -> None:
        try:
            answer = _EMBEDDINGS.decode(body)
        except msgspec.MsgspecError:
            self.garbage = True
            return
        if answer.error is not None:
            self.error = error_words(answer.error)
        elif not (
            len(memoryview(answer.data))
            or len(memoryview(answer.embeddings))
            or len(memoryview(answer.embedding))
        ):
            self.garbage = True
        else:
            self.tally.finished = True
        if answer.usage is not None:
            self.tally.usage = _usage(answer.usage)
        elif answer.prompt_eval_count is not None:
            self.tally.usage = Usage(answer.prompt_eval_count, 0)


_ABSENT = msgspec.Raw()


class _EmbeddingsAnswer(msgspec.Struct):
    # The vectors are only looked for, never decoded: they are most of the body.
    data: msgspec.Raw = _ABSENT
    embeddings: msgspec.Raw = _ABSENT
    embedding: msgspec.Raw = _ABSENT
    usage: _OpenAIUsage | None = None
    prompt_eval_count: int | None = None
    error: Any = None


_EMBEDDINGS = msgspec.json.Decoder(_EmbeddingsAnswer)


def fold_for(door: Door, *, stream: bool, drop_usage: bool) -> Fold:
    """The fold for an answer through ``door``."""
    if not stream:
        return BodyFold(door)
    if door.dialect is Dialect.OLLAMA:
        return OllamaStreamFold()
    if door.dialect is Dialect.ANTHROPIC:
        return MessageStreamFold()
    if door == OPENAI_RESPONSES:
        return ResponseStreamFold()
    return OpenAIStreamFold(drop_usage=drop_usage)
