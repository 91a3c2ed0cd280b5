"""What becomes of every request field at each family of upstreams: carried, meaningless there, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.core.ports import OutboundCall
from sidecar.core.vocabulary import (
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    Arm,
    Door,
)
from sidecar.wire.target_fields import Family, Target, chat_arguments, embedding_arguments

HELLO = [{"role": "user", "content": "hello"}]
TOOLS = [{"type": "function", "function": {"name": "desk", "parameters": {}}}]
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {}}}
CHOOSE_LOOK_UP = {"type": "function", "function": {"name": "look_up"}}

OPENAI = Target("openai", Family.OPENAI, 1024)
MOONSHOT = Target("moonshot", Family.OPENAI, 1024)
LLAMA_CPP = Target("llamacpp", Family.OPENAI, 1024)
OLLAMA = Target("ollama", Family.OLLAMA, 1024)
ANTHROPIC = Target("anthropic", Family.ANTHROPIC, 1024)
GEMINI = Target("gemini", Family.OTHER, 1024)
EVERY_TARGET = (OPENAI, MOONSHOT, LLAMA_CPP, OLLAMA, ANTHROPIC, GEMINI)


def call(
    door: Door, *, stream: bool = False, limit: int | None = None, ours: tuple[str, ...] = ()
) -> OutboundCall:
    return OutboundCall(
        request_id="r1",
        door=door,
        arm=Arm.ROUTED,
        body=b"",
        fields={},
        model="m",
        stream=stream,
        output_limit=limit,
        strip_metadata=ours,
    )


def arguments(target: Target, door: Door = OPENAI_CHAT, /, **fields: Any) -> dict[str, Any]:
    """What any-llm is called with for ``fields``, but for the messages."""
    told = chat_arguments(call(door), {"model": "x", "stream": False, "messages": HELLO, **fields}, target)
    assert told.pop("messages") == HELLO
    return told


@pytest.mark.parametrize(
    ("fields", "carried"),
    [
        (
            {"temperature": 0, "top_p": 0.5, "stop": "x", "seed": 3},
            {"temperature": 0, "top_p": 0.5, "stop": "x", "seed": 3},
        ),
        (
            {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
            {"tools": TOOLS, "tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": -100}, "n": 2, "user": "u"},
            {"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": -100}, "n": 2, "user": "u"},
        ),
        (
            {"store": True, "metadata": {"a": "b"}, "x_tomorrow": [1]},
            {"extra_body": {"store": True, "metadata": {"a": "b"}, "x_tomorrow": [1]}},
        ),
        ({"max_tokens": 9}, {"max_completion_tokens": 9}),
        ({"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ({"reasoning_effort": "low", "user": None}, {"reasoning_effort": "low"}),
    ],
)
def test_openai_is_handed_everything(fields: dict[str, Any], carried: dict[str, Any]) -> None:
    assert arguments(OPENAI, **fields) == carried


def test_other_servers_of_openais_dialect_get_the_limit_by_the_name_that_all_of_them_know() -> None:
    assert arguments(MOONSHOT, max_completion_tokens=9) == {"extra_body": {"max_tokens": 9}}
    assert arguments(LLAMA_CPP, OLLAMA_CHAT, max_tokens=9) == {"extra_body": {"max_tokens": 9}}


def test_a_stream_asks_for_usage_and_keeps_the_callers_own_options() -> None:
    fields = {"messages": HELLO, "stream_options": {"include_obfuscation": False}}
    told = chat_arguments(call(OPENAI_CHAT, stream=True), fields, OPENAI)
    assert told["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    assert "stream_options" not in arguments(OPENAI, stream_options={"include_usage": True})


@pytest.mark.parametrize(
    ("fields", "carried"),
    [
        ({"temperature": 0, "top_p": 0.5, "seed": 3}, {"temperature": 0, "top_p": 0.5, "seed": 3}),
        ({"stop": "x"}, {"stop": ["x"]}),
        ({"stop": ["x", "y"]}, {"stop": ["x", "y"]}),
        ({"tools": TOOLS, "tool_choice": "auto"}, {"tools": TOOLS}),
        ({"tools": TOOLS, "tool_choice": "none"}, {}),
        ({"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}, {"tools": TOOLS}),
        ({"tools": [*TOOLS, LOOK_UP], "tool_choice": CHOOSE_LOOK_UP}, {"tools": [LOOK_UP]}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        (
            {"keep_alive": "5m", "think": True, "options": {"num_ctx": 9, "top_k": 1}},
            {"keep_alive": "5m", "think": True, "num_ctx": 9, "top_k": 1},
        ),
        (
            {
                "n": 1,
                "logprobs": False,
                "logit_bias": {},
                "parallel_tool_calls": True,
                "modalities": ["text"],
            },
            {},
        ),
        ({"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "flex", "prediction": {}}, {}),
        ({"prompt_cache_key": "k", "safety_identifier": "s", "stream_options": {}}, {}),
    ],
)
def test_ollama_is_handed_what_it_knows(fields: dict[str, Any], carried: dict[str, Any]) -> None:
    assert arguments(OLLAMA, **fields) == carried


@pytest.mark.parametrize(
    ("fields", "carried"),
    [
        (
            {"max_completion_tokens": 9, "stop": "x", "temperature": 1},
            {"max_tokens": 9, "stop": "x", "temperature": 1},
        ),
        ({}, {"max_tokens": 1024}),
        (
            {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
            {"max_tokens": 1024, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
        ),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "user": "u"}, {"max_tokens": 1024}),
    ],
)
def test_anthropic_is_handed_what_it_knows(fields: dict[str, Any], carried: dict[str, Any]) -> None:
    assert arguments(ANTHROPIC, **fields) == carried


@pytest.mark.parametrize(
    ("target", "field", "value"),
    [
        (OLLAMA, "n", 2),
        (OLLAMA, "logprobs", True),
        (OLLAMA, "logit_bias", {"1": 5}),
        (OLLAMA, "tool_choice", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
        (OLLAMA, "modalities", ["text", "audio"]),
        (OLLAMA, "web_search_options", {}),
        (OLLAMA, "functions", []),
        (OLLAMA, "x_tomorrow", 1),
        (ANTHROPIC, "seed", 1),
        (ANTHROPIC, "n", 2),
        (ANTHROPIC, "presence_penalty", 0.5),
        (ANTHROPIC, "x_tomorrow", 1),
        (GEMINI, "web_search_options", {}),
        (GEMINI, "x_tomorrow", 1),
    ],
)
def test_what_a_target_cannot_honour_is_refused_by_name(target: Target, field: str, value: Any) -> None:
    with pytest.raises(UpstreamFault) as refused:
        arguments(target, **{field: value})
    assert refused.value.fault is Fault.UNSUPPORTED
    assert refused.value.message.startswith(field + ": ")
    assert target.provider in refused.value.message


def test_a_chosen_tool_must_be_among_the_tools() -> None:
    with pytest.raises(ValueError, match="names no tool"):
        arguments(OLLAMA, tools=TOOLS, tool_choice=CHOOSE_LOOK_UP)


@pytest.mark.parametrize("target", [OPENAI, MOONSHOT, ANTHROPIC, GEMINI])
@pytest.mark.parametrize(
    "field", ["template", "suffix", "raw", "context", "mirostat", "repeat_penalty", "width"]
)
def test_what_only_ollama_knows_is_refused_elsewhere(target: Target, field: str) -> None:
    with pytest.raises(UpstreamFault) as refused:
        arguments(target, OLLAMA_CHAT, **{field: 1})
    assert refused.value.message.startswith(field + ": ")


@pytest.mark.parametrize("target", [OPENAI, ANTHROPIC, GEMINI])
def test_how_ollama_runs_its_models_means_nothing_elsewhere(target: Target) -> None:
    running = {"keep_alive": "5m", "num_ctx": 8192, "num_gpu": 1, "num_thread": 4, "use_mmap": True}
    assert arguments(target, OLLAMA_CHAT, **running) == arguments(target, OLLAMA_CHAT)


def test_llama_cpp_samples_by_ollamas_names() -> None:
    assert arguments(LLAMA_CPP, OLLAMA_CHAT, top_k=40, repeat_penalty=1.1) == {
        "extra_body": {"top_k": 40, "repeat_penalty": 1.1}
    }


@pytest.mark.parametrize(
    ("think", "effort"),
    [(True, {"reasoning_effort": "medium"}), ("high", {"reasoning_effort": "high"}), (False, {})],
)
def test_thinking_becomes_effort_elsewhere(think: Any, effort: dict[str, Any]) -> None:
    assert arguments(OPENAI, OLLAMA_CHAT, think=think) == effort
    assert arguments(OLLAMA, OLLAMA_CHAT, think=think) == {"think": think}


def limit_of(told: dict[str, Any]) -> int | None:
    names = ("max_tokens", "max_completion_tokens")
    found = [value for name in names for value in (told.get(name), told.get("extra_body", {}).get(name))]
    limits = [value for value in found if value is not None]
    assert len(limits) <= 1, "the limit must be told once"
    return limits[0] if limits else None


limits = st.none() | st.integers(1, 100_000)


@given(st.sampled_from(EVERY_TARGET), limits, limits, st.integers(1, 100_000))
def test_the_limit_that_was_held_for_is_told_and_never_exceeded(
    target: Target, asked: int | None, asked_anew: int | None, held: int
) -> None:
    fields = {"messages": HELLO, "max_tokens": asked, "max_completion_tokens": asked_anew}
    told = limit_of(chat_arguments(call(OPENAI_CHAT, limit=held), fields, target))
    assert told == min(value for value in (asked, asked_anew, held) if value is not None)


def test_an_answer_of_no_tokens_is_refused() -> None:
    with pytest.raises(UpstreamFault) as refused:
        chat_arguments(call(OPENAI_CHAT, limit=0), {"messages": HELLO}, OLLAMA)
    assert refused.value.message.startswith("max_tokens: ")


@pytest.mark.parametrize(
    ("metadata", "left"),
    [
        ({"quality": "high", "team": "a"}, {"extra_body": {"metadata": {"team": "a"}}}),
        ({"quality": "high"}, {}),
        ({"team": "a"}, {"extra_body": {"metadata": {"team": "a"}}}),
    ],
)
def test_our_hints_stay_here(metadata: dict[str, str], left: dict[str, Any]) -> None:
    fields = {"messages": HELLO, "metadata": metadata}
    told = chat_arguments(call(OPENAI_CHAT, ours=("quality",)), fields, OPENAI)
    assert told == {"messages": HELLO, **left}
    assert metadata.keys() & {"quality", "team"} == metadata.keys(), "the call's own fields are not changed"


names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=3, max_size=12)
json_values = st.recursive(
    st.booleans() | st.integers(-1000, 1000) | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
)


@given(st.sampled_from((OPENAI, MOONSHOT, LLAMA_CPP)), names, json_values)
def test_unknown_fields_survive_in_openais_dialect(target: Target, name: str, value: Any) -> None:
    assert arguments(target, **{f"x_{name}": value}) == {"extra_body": {f"x_{name}": value}}


@given(st.sampled_from((OLLAMA, ANTHROPIC, GEMINI)), names, json_values)
def test_unknown_fields_are_refused_by_name_everywhere_else(target: Target, name: str, value: Any) -> None:
    with pytest.raises(UpstreamFault, match=f"^x_{name}: ") as refused:
        arguments(target, **{f"x_{name}": value})
    assert refused.value.fault is Fault.UNSUPPORTED


@pytest.mark.parametrize(
    ("target", "door", "fields", "told"),
    [
        (OPENAI, OPENAI_EMBEDDINGS, {"input": "a"}, {"inputs": "a", "encoding_format": "float"}),
        (
            OPENAI,
            OPENAI_EMBEDDINGS,
            {"input": [1, 2], "encoding_format": "base64", "dimensions": 8, "user": "u", "x_new": 1},
            {
                "inputs": [1, 2],
                "encoding_format": "base64",
                "dimensions": 8,
                "user": "u",
                "extra_body": {"x_new": 1},
            },
        ),
        (
            OPENAI,
            OLLAMA_EMBED,
            {"input": ["a"], "truncate": True, "keep_alive": "5m", "num_ctx": 9},
            {"inputs": ["a"], "encoding_format": "float"},
        ),
        (
            OLLAMA,
            OPENAI_EMBEDDINGS,
            {"input": ["a"], "user": "u", "dimensions": 8, "encoding_format": "base64"},
            {"inputs": ["a"], "encoding_format": "base64", "dimensions": 8},
        ),
        (
            OLLAMA,
            OLLAMA_EMBED,
            {"input": "a", "truncate": False, "keep_alive": "5m", "num_ctx": 9},
            {
                "inputs": "a",
                "encoding_format": "float",
                "truncate": False,
                "keep_alive": "5m",
                "options": {"num_ctx": 9},
            },
        ),
        (
            GEMINI,
            OPENAI_EMBEDDINGS,
            {"input": "a", "user": "u", "dimensions": 8},
            {"inputs": "a", "encoding_format": "float", "dimensions": 8},
        ),
    ],
)
def test_embedding_arguments(
    target: Target, door: Door, fields: dict[str, Any], told: dict[str, Any]
) -> None:
    assert embedding_arguments(call(door), {"model": "m", **fields}, target) == told


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
def test_token_ids_mean_nothing_to_another_tokenizer(tokens: list[Any]) -> None:
    with pytest.raises(UpstreamFault) as refused:
        embedding_arguments(call(OPENAI_EMBEDDINGS), {"input": tokens}, OLLAMA)
    assert refused.value.message.startswith("input: ")


def test_unknown_embedding_fields_of_ollama_are_refused_elsewhere() -> None:
    with pytest.raises(UpstreamFault) as refused:
        embedding_arguments(call(OLLAMA_EMBED), {"input": "a", "top_k": 4}, OPENAI)
    assert refused.value.message.startswith("top_k: ")
