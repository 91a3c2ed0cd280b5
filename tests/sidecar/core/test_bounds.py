"""No tokenizer and no template makes more of a call than its bound, or the call is refused."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.bound_parts import (
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    OUTPUT_TOKENS_MAX,
    STOP_TOKENS,
    TEMPLATE_TOKENS,
)
from sidecar.core.bounds import Bound, body_tokens, bound
from sidecar.core.vocabulary import DOORS, Dialect, Door, Operation

PIXEL = "data:image/png;base64," + "A" * 4_000


def door_of(operation: Operation, dialect: Dialect) -> Door:
    return next(door for door in DOORS.values() if (door.operation, door.dialect) == (operation, dialect))


def of(
    fields: dict[str, Any],
    operation: Operation = Operation.CHAT,
    dialect: Dialect = Dialect.OPENAI,
    model: str = "gpt-4o",
) -> Bound:
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return bound(door_of(operation, dialect), fields, 1_024, len(body), model=model)


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], **fields}


def ollama(fields: dict[str, Any], operation: Operation = Operation.CHAT) -> Bound:
    return of(fields, operation, Dialect.OLLAMA, "gpt-oss:120b")


def with_part(part: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}])


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
scalars = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | text
trees = st.recursive(scalars, lambda node: st.lists(node) | st.dictionaries(text, node), max_leaves=12)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": text}),
    max_size=5,
)


@given(messages)
def test_a_token_for_each_byte_of_text_is_within_the_bound(conversation: list[dict[str, str]]) -> None:
    fields = chat(messages=conversation)
    # The worst tokenizer and the wordiest documented separators: a token a byte, five a message.
    tokens = sum(len(m["role"].encode()) + len(m["content"].encode()) + 5 for m in conversation)
    escaped = len(json.dumps(fields))
    assert tokens + 700 <= of(fields).input_tokens
    assert tokens + 700 <= bound(door_of(Operation.CHAT, Dialect.OPENAI), fields, 1, escaped).input_tokens


def worst_rendering(value: Any) -> int:
    """The tokens of ``value`` indented, in ASCII, as Go escapes it; a run of white space is two tokens."""
    rendered = json.dumps(value, indent=4)
    rendered = re.sub("[<>&]", lambda sign: f"\\u{ord(sign[0]):04x}", rendered)
    return len(re.sub(r"\n *", "__", rendered))


@given(trees, trees)
def test_tools_and_schemas_are_bounded_in_their_longest_rendering(schema: Any, parameters: Any) -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": parameters}}]
    fields = chat(tools=tools, response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    plain = of(chat()).input_tokens
    rendered = worst_rendering(tools) + worst_rendering(fields["response_format"])
    assert of(fields).input_tokens - plain >= rendered


@given(trees)
def test_what_a_tool_was_asked_and_said_is_bounded_in_its_longest_rendering(arguments: Any) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps(arguments)}}]
    said = json.dumps(arguments)
    talk = [{"role": "assistant", "tool_calls": calls}, {"role": "tool", "content": said}]
    plain = of(chat(messages=[{"role": "assistant"}, {"role": "tool"}])).input_tokens
    assert of(chat(messages=talk)).input_tokens - plain >= worst_rendering(calls) + worst_rendering(said)
    parsed = [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}]
    assert ollama({"messages": parsed}).input_tokens >= worst_rendering(arguments)


@pytest.mark.parametrize(
    ("fields", "limit", "choices"),
    [
        ({}, 1_024, 1),
        ({"max_tokens": None, "n": None}, 1_024, 1),
        ({"max_tokens": 10}, 10, 1),
        ({"max_completion_tokens": 20}, 20, 1),
        ({"max_tokens": 10, "max_completion_tokens": 20}, 20, 1),
        ({"max_tokens": 100.0}, 100, 1),
        ({"n": 4}, 1_024, 4),
        ({"n": 4, "max_tokens": 10}, 10, 4),
    ],
)
def test_the_output_is_the_limit_for_each_choice(fields: dict[str, Any], limit: int, choices: int) -> None:
    found = of(chat(**fields))
    assert (found.output_limit, found.choices, found.refusal) == (limit, choices, "")
    assert found.output_tokens == choices * (limit + STOP_TOKENS)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        (None, 1_024),
        ({}, 1_024),
        ({"num_predict": None}, 1_024),
        ({"num_predict": -1}, 1_024),
        ({"num_predict": -2}, 1_024),
        ({"num_predict": 0}, 1_024),
        ({"num_predict": 77}, 77),
        ({"num_predict": 77.0}, 77),
    ],
)
@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.TEXT_COMPLETION])
def test_no_limit_in_ollamas_words_becomes_the_default(
    operation: Operation, options: dict[str, Any] | None, limit: int
) -> None:
    found = ollama({"prompt": "Hello", "messages": [], "options": options}, operation)
    assert (found.output_limit, found.output_tokens) == (limit, limit + STOP_TOKENS)


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 0},
        {"n": -1},
        {"n": 129},
        {"n": 10**30},
        {"n": "2"},
        {"n": True},
        {"n": 1.5},
        {"best_of": 1_000},
        {"max_tokens": 0},
        {"max_tokens": -5},
        {"max_tokens": "100"},
        {"max_tokens": True},
        {"max_tokens": [1]},
        {"max_tokens": float("inf")},
        {"max_tokens": OUTPUT_TOKENS_MAX + 1},
        {"max_completion_tokens": 0, "max_tokens": 5},
        {"messages": "Hello"},
        {"messages": ["Hello"]},
        {"messages": [{"role": "user", "content": {"text": "Hello"}}]},
        {"messages": [{"role": "user", "content": ["Hello"]}]},
        {"messages": [{"role": "user", "content": 7}]},
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]},
        {"tools": "all"},
        {"tools": ["all"]},
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"type": "code_interpreter", "container": {}}]},
        {"tools": [{"type": "function", "function": {}, "cache_control": {"type": "ephemeral"}}]},
        {"modalities": ["text", "audio"]},
        {"audio": {"voice": "alloy", "format": "wav"}},
        {"prediction": {"type": "content", "content": "x"}},
        {"web_search_options": {"search_context_size": "high"}},
        {"service_tier": "priority"},
        {"service_tier": 1},
        {"service_tier": ["auto"]},
        {"speed": "fast"},
        {"plugins": [{"id": "web"}]},
        {"models": ["dear/model"]},
        {"previous_response_id": "resp_1"},
        {"num_predict": 0},
        {"num_predict": -1},
        {"options": {"num_predict": -1}},
        {"n_predict": 10**6},
        {"max_new_tokens": 10**6},
        {"max_output_tokens": 10**6},
        {"max_tokens": 10**18},
        {"max_tokens": 1e18},
        {"max_tokens": 5, "max_completion_tokens": -1},
        {"extra_body": {"max_tokens": 10**6}},
        {"cached_content": "cachedContents/1"},
        {"preset": "dear"},
        {"chat_template": "{{ messages }}" * 9},
    ],
)
def test_what_is_absurd_or_has_no_bound_is_refused_with_words(fields: dict[str, Any]) -> None:
    found = of(chat(**fields))
    assert found == Bound(refusal=found.refusal)
    assert len(found.refusal) > 10


@pytest.mark.parametrize(
    "options", ["all", [1], {"num_predict": "5"}, {"num_predict": True}, {"num_predict": 10**9}]
)
def test_absurd_options_are_refused(options: Any) -> None:
    assert ollama({"messages": [], "options": options}).refusal


@pytest.mark.parametrize(
    "fields",
    [
        {"Options": {"num_predict": -1}},
        {"option\u017f": {"num_predict": -1}},
        {"options": {"num_predict": 5}, "OPTIONS": {"num_predict": 10**9}},
        {"messages": [{"role": "user", "content": "x", "Images": ["AAAA"]}]},
        {"Tools": []},
        {"Model": "dear"},
        {"Stream": True},
        {"N_Predict": -1},
    ],
)
def test_a_field_that_only_the_upstream_would_see_is_refused(fields: dict[str, Any]) -> None:
    assert "another case" in ollama({"messages": [], **fields}).refusal
    assert not ollama({"messages": [], "Unknown": 1}).refusal


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 8},
        {"best_of": 8},
        {"options": {"n": 8}},
        {"options": {"service_tier": "priority"}},
        {"options": {"max_tokens": 10**6}},
        {"options": {"tools": [{"type": "web_search"}]}},
        {"options": {"extra_body": {"n": 8}}},
        {"options": {"num_predict": 5, "messages": []}},
    ],
)
def test_what_another_dialect_would_take_for_its_own_is_refused(fields: dict[str, Any]) -> None:
    assert ollama({"messages": [], **fields}).refusal
    assert not ollama({"messages": [], "options": {"num_ctx": 8, "stop": ["x"], "num_predict": 5}}).refusal


def test_text_that_a_tokenizer_brings_into_another_form_is_bounded_in_that_form() -> None:
    for sign in ("\U0001d160", "\ufb2c", "\u0958", "\u0344", "\u0065\u0301", "e", "\u4e16", "\u00e9"):
        text = sign * 100
        normal = unicodedata.normalize("NFC", text).encode()
        assert len(text.encode()) <= body_tokens(text.encode())
        assert len(normal) <= body_tokens(text.encode())
        assert len(normal) <= body_tokens(json.dumps(text).encode())
    for usual in ("Hello", "\u00c9t\u00e9", "\u4e16\u754c"):
        assert body_tokens(usual.encode()) == len(usual.encode())
    assert body_tokens(b"\xff\xfe") >= 2


def test_a_template_of_the_callers_own_is_refused() -> None:
    assert (
        "repeat"
        in ollama({"prompt": "x", "template": "{{ .Prompt }}" * 9}, Operation.TEXT_COMPLETION).refusal
    )
    assert not ollama({"prompt": "x", "template": ""}, Operation.TEXT_COMPLETION).refusal


@pytest.mark.parametrize("tier", [None, "auto", "default", "flex"])
def test_the_ordinary_price_class_may_be_named(tier: str | None) -> None:
    assert not of(chat(service_tier=tier, modalities=["text"], prediction=None, tools=None)).refusal


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "image_url", "image_url": {"url": 7}},
        {"type": "image_url"},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
        {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": ["text"]},
        {},
    ],
)
def test_parts_that_cannot_be_counted_are_refused(part: dict[str, Any]) -> None:
    assert of(with_part(part)).refusal


@pytest.mark.parametrize(
    ("model", "detail", "tokens"),
    [
        ("gpt-4o", "low", 85),
        ("gpt-4o-2024-08-06", "high", 85 + 8 * 170),
        ("gpt-4o", None, 85 + 8 * 170),
        ("gpt-4o-mini", "auto", 2_833 + 8 * 5_667),
        ("gpt-5-nano", "original", 24_600),
        ("some-model-of-tomorrow", "low", 48_169),
        ("", "high", 48_169),
    ],
)
def test_an_inline_image_costs_at_most_its_formula_whatever_its_bytes(
    model: str, detail: str | None, tokens: int
) -> None:
    def image(url: str) -> Bound:
        part = {"type": "image_url", "image_url": {"url": url, "detail": detail}}
        return of(with_part(part), model=model)

    small, large = image(PIXEL), image(PIXEL + "A" * 10**6)
    assert small == large
    assert tokens <= small.input_tokens - TEMPLATE_TOKENS - 3 * MESSAGE_TOKENS <= tokens + 200


def test_no_known_image_costs_more_than_an_unknown_one() -> None:
    assert IMAGE_TOKENS[-1][0] == ""
    assert all(max(low, high) <= IMAGE_TOKENS[-1][1] for _, low, high in IMAGE_TOKENS)


def test_ollamas_images_are_counted_one_by_one() -> None:
    one = ollama({"messages": [{"role": "user", "content": "x", "images": ["A" * 9_000]}]}).input_tokens
    two = ollama({"messages": [{"role": "user", "content": "x", "images": ["A" * 9_000] * 2}]}).input_tokens
    assert 48_169 <= two - one <= 48_169 + 100
    assert ollama({"prompt": "x", "images": ["A"]}, Operation.TEXT_COMPLETION).input_tokens > 48_169
    assert ollama({"messages": [{"role": "user", "content": "x", "images": [{"url": "x"}]}]}).refusal


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("Hello", 1), (["a", "b", "c"], 3), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
)
def test_every_prompt_of_a_completion_has_its_choices(prompt: Any, prompts: int) -> None:
    found = of({"prompt": prompt, "n": 2, "best_of": 5, "max_tokens": 10}, Operation.TEXT_COMPLETION)
    assert (found.choices, found.output_limit) == (prompts * 5, 10)
    assert found.output_tokens == prompts * 5 * (10 + STOP_TOKENS)


def test_an_echoed_prompt_is_output_too() -> None:
    fields = {"prompt": "a" * 1_000, "max_tokens": 10, "n": 2}
    plain = of(fields, Operation.TEXT_COMPLETION)
    echoed = of({**fields, "echo": True}, Operation.TEXT_COMPLETION)
    assert echoed.output_tokens >= plain.output_tokens + 2 * 1_000


@pytest.mark.parametrize("given", ["Hello", ["a", "b"], [5, 6, 7], [[1], [2, 3]]])
def test_embeddings_read_and_write_nothing(given: Any) -> None:
    found = of({"input": given}, Operation.EMBEDDINGS)
    assert (found.output_limit, found.output_tokens, found.refusal) == (None, 0, "")
    assert found.input_tokens >= len(json.dumps(given))


def test_embeddings_in_ollamas_words() -> None:
    assert ollama({"prompt": "Hello"}, Operation.EMBEDDINGS).input_tokens >= 5
    assert ollama({"input": ["Hello"]}, Operation.EMBEDDINGS).input_tokens >= 5


@pytest.mark.parametrize("given", [None, 7, {"image": "x"}, [{"image": "x"}], ["a", 1], [[1, "a"]], [True]])
def test_an_input_that_is_not_text_is_refused(given: Any) -> None:
    assert of({"input": given}, Operation.EMBEDDINGS).refusal


def test_a_bottomless_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"properties": schema}
    found = bound(door_of(Operation.CHAT, Dialect.OPENAI), chat(tools=[{"function": schema}]), 10, 100)
    assert found.refusal


@given(st.dictionaries(text, trees) | st.builds(lambda tree: chat(messages=tree), trees))
def test_whatever_comes_it_is_bounded_or_refused(fields: dict[str, Any]) -> None:
    for door in DOORS.values():
        found = bound(door, fields, 1_024, 100)
        assert found.refusal or found.input_tokens > 0 or door.operation is Operation.COUNT_TOKENS


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": {"type": "ephemeral"}},
        {"reasoning": {"max_tokens": 50_000}},
        {"thinking": {"type": "enabled", "budget_tokens": 50_000}},
        {"chat_template_kwargs": {"thinking_budget": 50_000}},
        {"thinking_budget": 50_000},
        {"enable_search": True},
        {"search_settings": {"include_domains": ["x"]}},
        {"safety_model": "guard"},
        {"data_sources": [{"type": "azure_search"}]},
        {"n_cmpl": 50},
        {"num_return_sequences": 50},
        {"generation_config": {"maxOutputTokens": 10**6}},
        {"max_gen_len": 10**6},
        {"tools": [{"google_search": {}}]},
        {"tools": [{"type": None, "google_search": {}}]},
        {"tools": [{"name": "x", "google_search": {}}]},
        {"anthropic_beta": ["context-1m-2025-08-07"]},
    ],
)
def test_fields_of_other_servers_that_cost_are_refused(fields: dict[str, Any]) -> None:
    assert of(chat(max_tokens=1_000)).refusal == ""
    assert of(chat(max_tokens=1_000, **fields)).refusal


def test_unknown_fields_and_budgets_within_the_limit_go_on() -> None:
    within: dict[str, Any] = {"reasoning": {"max_tokens": 900}, "thinking": {"budget_tokens": 1_000}}
    found = of(chat(max_tokens=1_000, x_future_field={"a": 1}, enable_search=False, **within))
    assert (found.refusal, found.output_limit) == ("", 1_000)


def test_a_header_that_asks_for_another_price_class_is_refused() -> None:
    for betas, refused in (("a-1, Context-1M-2025-08-07", True), ("token-efficient-tools-2025-02-19", False)):
        found = bound(door_of(Operation.CHAT, Dialect.OPENAI), chat(), 1_000, 100, betas=betas)
        assert bool(found.refusal) is refused
