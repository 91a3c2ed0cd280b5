"""What becomes of each feature of each dialect at each kind of upstream: the cases, and the page of them.

``tests/sidecar/test_dialects.py`` sends the cases through a sidecar and writes down what came of them;
``python -m tests.rig.dialect_table > docs/dialects.md`` makes the page of that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

GOLDEN = Path(__file__).parents[1] / "golden" / "dialects"
OUTCOMES = GOLDEN / "outcomes.json"

#: The doors by a short name, and how the page calls them.
DOORS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "completions": "/v1/completions",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
    "generate": "/api/generate",
}
#: The tiers that the cases are pinned to, by the provider that each stands for.
TARGETS = ("openai", "ollama", "anthropic")

QUESTION = "What is on the shelf"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_URL = f"data:image/png;base64,{PIXEL}"
_PARAMETERS = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
_FUNCTION = {"name": "look_up", "description": "Looks a word up.", "parameters": _PARAMETERS}
_TOOL = {"type": "function", "function": _FUNCTION}
_USE = {"type": "tool_use", "id": "call_7", "name": "look_up", "input": {"word": "marker"}}
_CALL = {
    "id": "call_7",
    "type": "function",
    "function": {"name": "look_up", "arguments": '{"word":"marker"}'},
}
_OLLAMA_CALL = {"function": {"name": "look_up", "arguments": {"word": "marker"}}}
_SCHEMA = {"type": "object", "properties": {"marker": {"type": "string"}}, "required": ["marker"]}
_USER = {"role": "user", "content": QUESTION}


def base(door: str) -> dict[str, Any]:
    """The plainest call through ``door``, but for the model."""
    if door == "responses":
        return {"input": QUESTION, "max_output_tokens": 60}
    if door in ("completions", "generate"):
        limit = {"max_tokens": 60} if door == "completions" else {"options": {"num_predict": 60}}
        return {"prompt": QUESTION, **limit}
    limit = {"options": {"num_predict": 60}} if door == "ollama" else {"max_tokens": 60}
    return {"messages": [_USER], **limit}


class Case(msgspec.Struct, frozen=True):
    """One feature. ``asks`` holds for each door what is added to the plainest call, or nothing if the dialect
    cannot say it. ``trace``, a regular expression, is found in the upstream's request when the feature has
    arrived there."""

    name: str
    trace: str
    asks: dict[str, dict[str, Any]]
    streams: bool = False


def _at(doors: Iterable[str], fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return dict.fromkeys(doors, fields)


def _messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": list(messages)}


def _everywhere(**fields: Any) -> dict[str, dict[str, Any]]:
    """A field that OpenAI's doors name, and Ollama's as an option."""
    options = {"options": {"num_predict": 60, **fields}}
    return {"chat": fields, "completions": fields, "ollama": options, "generate": options}


_SAID = {"role": "assistant", "content": "A marker."}
_THINKING = {"type": "thinking", "thinking": "marker", "signature": "c2ln"}
_SOURCE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
CASES = (
    Case("text", QUESTION, _at(DOORS, {}), streams=True),
    Case(
        "system prompt",
        "marker",
        {
            **_at(("chat", "ollama"), _messages({"role": "system", "content": "marker"}, _USER)),
            "responses": {"instructions": "marker"},
            "anthropic": {"system": [{"type": "text", "text": "marker"}]},
            "generate": {"system": "marker"},
        },
    ),
    Case(
        "several turns",
        "A marker",
        {
            **_at(("chat", "ollama", "anthropic"), _messages(_USER, _SAID, _USER)),
            "responses": {"input": [_USER, _SAID, _USER]},
        },
    ),
    Case(
        "tools",
        "look_up",
        {
            "chat": {"tools": [_TOOL]},
            "responses": {"tools": [{"type": "function", **_FUNCTION}]},
            "anthropic": {"tools": [{"name": "look_up", "input_schema": _PARAMETERS}]},
            "ollama": {"tools": [_TOOL]},
        },
        streams=True,
    ),
    Case(
        "a tool that must be called",
        "look_up",
        {
            "chat": {"tools": [_TOOL], "tool_choice": {"type": "function", "function": {"name": "look_up"}}},
            "responses": {
                "tools": [{"type": "function", **_FUNCTION}],
                "tool_choice": {"type": "function", "name": "look_up"},
            },
            "anthropic": {
                "tools": [{"name": "look_up", "input_schema": _PARAMETERS}],
                "tool_choice": {"type": "tool", "name": "look_up"},
            },
        },
    ),
    Case(
        "one tool call at a time",
        "parallel",
        {
            "chat": {"tools": [_TOOL], "parallel_tool_calls": False},
            "responses": {"tools": [{"type": "function", **_FUNCTION}], "parallel_tool_calls": False},
            "anthropic": {
                "tools": [{"name": "look_up", "input_schema": _PARAMETERS}],
                "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            },
        },
    ),
    Case(
        "a tool's result",
        "21 days",
        {
            "chat": _messages(
                _USER,
                {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "call_7", "content": "21 days"},
            ),
            "responses": {
                "input": [
                    _USER,
                    {
                        "type": "function_call",
                        "call_id": "call_7",
                        "name": "look_up",
                        "arguments": '{"word":"marker"}',
                    },
                    {"type": "function_call_output", "call_id": "call_7", "output": "21 days"},
                ]
            },
            "anthropic": _messages(
                _USER,
                {"role": "assistant", "content": [_USE]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "call_7", "content": "21 days"}],
                },
            ),
            "ollama": _messages(
                _USER,
                {"role": "assistant", "content": "", "tool_calls": [_OLLAMA_CALL]},
                {"role": "tool", "tool_name": "look_up", "content": "21 days"},
            ),
        },
    ),
    Case(
        "JSON mode",
        "json(?!_schema)",
        {
            "chat": {"response_format": {"type": "json_object"}},
            "responses": {"text": {"format": {"type": "json_object"}}},
            "ollama": {"format": "json"},
            "generate": {"format": "json"},
        },
    ),
    Case(
        "answer by schema",
        '"marker"',
        {
            "chat": {
                "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": _SCHEMA}}
            },
            "responses": {"text": {"format": {"type": "json_schema", "name": "s", "schema": _SCHEMA}}},
            "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}}},
            "ollama": {"format": _SCHEMA},
            "generate": {"format": _SCHEMA},
        },
    ),
    Case(
        "an image inside the call",
        PIXEL[:40],
        {
            "chat": _messages(
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": QUESTION},
                        {"type": "image_url", "image_url": {"url": _URL}},
                    ],
                }
            ),
            "responses": {
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": QUESTION},
                            {"type": "input_image", "image_url": _URL},
                        ],
                    }
                ]
            },
            "anthropic": _messages(
                {
                    "role": "user",
                    "content": [{"type": "text", "text": QUESTION}, {"type": "image", "source": _SOURCE}],
                }
            ),
            "ollama": _messages({"role": "user", "content": QUESTION, "images": [PIXEL]}),
            "generate": {"images": [PIXEL]},
        },
    ),
    Case(
        "thinking",
        "think|reasoning_effort",
        {
            "chat": {"reasoning_effort": "high", "max_completion_tokens": 4000, "max_tokens": None},
            "responses": {"reasoning": {"effort": "high", "summary": "auto"}, "max_output_tokens": 4000},
            "anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000},
            "ollama": {"think": True, "options": {"num_predict": 4000}},
            "generate": {"think": True, "options": {"num_predict": 4000}},
        },
        streams=True,
    ),
    Case(
        "thinking of earlier turns",
        "marker",
        {
            "anthropic": _messages(
                _USER, {"role": "assistant", "content": [_THINKING, {"type": "text", "text": "x"}]}, _USER
            ),
            "ollama": _messages(_USER, {"role": "assistant", "content": "x", "thinking": "marker"}, _USER),
            "responses": {
                "input": [
                    _USER,
                    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "marker"}]},
                    {"role": "assistant", "content": "x"},
                    _USER,
                ]
            },
        },
    ),
    Case("several answers", '"n":2', {"chat": {"n": 2}, "completions": {"n": 2}}, streams=True),
    Case(
        "temperature and top_p",
        "0.25",
        {
            **_everywhere(temperature=0.25, top_p=0.75),
            "responses": {"temperature": 0.25, "top_p": 0.75},
            "anthropic": {"temperature": 0.25},
        },
    ),
    Case(
        "top_k",
        '"top_k":7',
        {
            **_at(("ollama", "generate"), {"options": {"num_predict": 60, "top_k": 7}}),
            "anthropic": {"top_k": 7},
        },
    ),
    Case("seed", '"seed":7', _everywhere(seed=7)),
    Case("stop", "MARK", {**_everywhere(stop=["MARK"]), "anthropic": {"stop_sequences": ["MARK"]}}),
    Case("penalties", "1.25", _everywhere(presence_penalty=1.25, frequency_penalty=1.25)),
    Case(
        "log probabilities",
        "logprobs",
        {
            "chat": {"logprobs": True, "top_logprobs": 2},
            "completions": {"logprobs": 2},
            "responses": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
            "ollama": {"logprobs": True, "top_logprobs": 2},
        },
    ),
    Case(
        "the end user",
        "marker",
        {
            **_at(("chat", "completions", "responses"), {"user": "marker"}),
            "anthropic": {"metadata": {"user_id": "marker"}},
        },
    ),
    Case("how long a model stays loaded", "9m", _at(("ollama", "generate"), {"keep_alive": "9m"})),
    Case("context size", "num_ctx", _at(("ollama", "generate"), {"options": {"num_ctx": 4096}})),
    Case("text after the gap", "marker", _at(("completions", "generate"), {"suffix": "marker"})),
    Case("several prompts", "marker", {"completions": {"prompt": [QUESTION, "marker"]}}),
    Case(
        "what is kept upstream",
        "resp_marker",
        {"responses": {"previous_response_id": "resp_marker"}},
    ),
    Case(
        "tools that run upstream",
        "web_search",
        {
            "responses": {"tools": [{"type": "web_search"}]},
            "anthropic": {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        },
    ),
    Case("a field of the future", "x_future", _at(DOORS, {"x_future": {"since": 2031}})),
)

#: What any-llm 1.40 should mend, so that the sidecar need not.
UPSTREAM = (
    ("Ollama: an id, and a time, of its own for every chunk", "one id and time for each stream"),
    ("Ollama: ids of tool calls that come from Ollama are replaced", "handed on as any-llm makes them"),
    ("Ollama: tool calls in a stream end with `stop`", "written as `tool_calls`"),
    ("Ollama: `keep_alive`, `truncate` and `shift` go into `options`", "put beside them again"),
    ("Ollama: pydantic drops unknown parts of tool schemas", "the client sends what it is given"),
    ("Ollama: images by address vanish", "refused by name"),
    ("Ollama: `<think>` in a text is moved out of it", "the text is kept as it came"),
    ("Ollama: no time limit per call, `api_key` is ignored", "set on the client, sent by a hook"),
    ("Ollama and others: `n`, `logprobs`, `logit_bias` go unheeded", "refused by name"),
    ("Anthropic: system texts and texts beside tool calls must be strings", "joined before the call"),
    ("Anthropic: `created` is 0, and so is the time of every chunk", "filled in here"),
    ("all: usage of zeros where none was reported", "taken as none"),
    ("all: refusals, timeouts and cuts are one error without a status", "read from the wire"),
    ("all: `Retry-After` is lost", "read from the wire"),
    ("all: environment variables add keys and headers", "taken off again"),
    ("all: OpenAI's legacy completions are not offered", "made of a chat"),
)


def load() -> dict[str, dict[str, str]]:
    """What came of each case: by ``door to target``, then by the case's name."""
    outcomes: dict[str, dict[str, str]] = json.loads(OUTCOMES.read_text())
    return outcomes


def page(outcomes: dict[str, dict[str, str]]) -> str:
    """``docs/dialects.md``."""
    lines = [_HEAD]
    for door, path in DOORS.items():
        asked = [case for case in CASES if door in case.asks]
        lines += [f"## `{path}`", "", "| | " + " | ".join(TARGETS) + " |", "|---" * (len(TARGETS) + 1) + "|"]
        for case in asked:
            cells = [outcomes[f"{door} to {target}"][case.name] for target in TARGETS]
            lines.append(f"| {case.name} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [_MENDED]
    lines += [f"| {what} | {mended} |" for what, mended in UPSTREAM]
    return "\n".join(lines) + "\n"


_HEAD = """\
# What becomes of a call in another dialect

This page is written from what came of sending each of these features, through each door, to an upstream of
each kind: `tests/rig/dialect_table.py` has the cases, `tests/golden/dialects` the requests that arrived and
the answers that were given.

- **kept**: the upstream speaks the door's dialect; the app's bytes are relayed.
- **translated**: put into the upstream's words; the answer comes back in the app's.
- **left out**: it means nothing there, or there is no place for it; this page is where that is said.
- **refused**: the call goes on to a tier that can, and where none can the app gets a 400 with the field.

OpenAI is priced here, so what cannot be bounded is refused even where the dialects agree. `/v1/completions`
is asked of a chat model; models that continue texts get the app's bytes. Any other provider of any-llm takes
the fields that any-llm names, and the rest is refused by name. A stop sequence that ended an answer is told
to Anthropic's callers as `end_turn`: no other dialect says which it was.
"""
_MENDED = """\
## What any-llm upstream should mend

Each of these is mended on this side.

| any-llm 1.40 | here |
|---|---|"""

if __name__ == "__main__":
    sys.stdout.write(page(load()))
