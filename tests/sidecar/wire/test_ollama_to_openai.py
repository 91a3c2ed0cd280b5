"""Ollama requests as OpenAI-shaped fields: golden pairs, and what cannot be put so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.core.errors import Fault, UpstreamFault
from sidecar.wire.ollama_to_openai import chat_fields, embed_fields, embeddings_fields, generate_fields

ASK = {"role": "user", "content": "how long may a loan last"}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object", "properties": {"grade": {"type": "string"}}}
PNG, JPEG, GIF, WEBP = "iVBORw0KGgoAAAA", "/9j/4AAQSkZJRg", "R0lGODlhAQAB", "UklGRhoAAAB"


def refused_field(error: pytest.ExceptionInfo[UpstreamFault]) -> str:
    assert error.value.fault is Fault.UNSUPPORTED
    return error.value.message.partition(": ")[0]


@pytest.mark.parametrize(
    ("ollama", "openai"),
    [
        ({"model": "m", "messages": [ASK], "stream": False}, {}),
        ({"metadata": {"quality": "high"}, "keep_alive": None, "tools": [], "format": ""}, {}),
        (
            {"tools": [WEATHER], "logprobs": True, "top_logprobs": 2},
            {"tools": [WEATHER], "logprobs": True, "top_logprobs": 2},
        ),
        ({"keep_alive": "5m", "think": "low"}, {"keep_alive": "5m", "think": "low"}),
        ({"think": False}, {"think": False}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        (
            {"format": SCHEMA},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "response", "schema": SCHEMA},
                }
            },
        ),
        (
            {"options": {"temperature": 0.0, "top_p": 0.9, "seed": 7, "stop": ["\n"], "num_predict": 64}},
            {"temperature": 0.0, "top_p": 0.9, "seed": 7, "stop": ["\n"], "max_tokens": 64},
        ),
        (
            {"options": {"presence_penalty": 0.5, "frequency_penalty": 1, "top_k": 40, "num_ctx": 8192}},
            {"presence_penalty": 0.5, "frequency_penalty": 1, "top_k": 40, "num_ctx": 8192},
        ),
        ({"options": {"num_predict": -1}}, {}),
        ({"options": {"num_predict": -2, "seed": None}}, {}),
        ({"options": {"num_predict": 0}}, {}),
        ({"x_tomorrow": {"a": 1}}, {"x_tomorrow": {"a": 1}}),
    ],
)
def test_chat_fields(ollama: dict[str, Any], openai: dict[str, Any]) -> None:
    assert chat_fields({"messages": [ASK], **ollama}) == {"messages": [ASK], **openai}


def test_the_request_itself_is_left_as_it_was() -> None:
    request = {"messages": [{**ASK, "images": [PNG]}], "options": {"num_predict": 5}}
    before = msgspec.json.encode(request)
    chat_fields(request)
    assert msgspec.json.encode(request) == before


@pytest.mark.parametrize(("image", "kind"), [(PNG, "png"), (JPEG, "jpeg"), (GIF, "gif"), (WEBP, "webp")])
def test_images_become_parts_of_the_message(image: str, kind: str) -> None:
    (message,) = chat_fields({"messages": [{**ASK, "images": [image]}]})["messages"]
    assert message == {
        "role": "user",
        "content": [
            {"type": "text", "text": ASK["content"]},
            {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{image}"}},
        ],
    }


def test_an_image_of_no_known_format_is_refused_by_its_place() -> None:
    with pytest.raises(UpstreamFault) as refused:
        chat_fields({"messages": [ASK, {**ASK, "images": [PNG, "/etc/passwd"]}]})
    assert refused_field(refused) == "messages[1].images[1]"
    assert "passwd" not in refused.value.message


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}}


def test_tool_calls_get_ids_and_results_are_tied_to_them() -> None:
    messages = chat_fields(
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [call("weather", place="A"), call("desk")],
                },
                {"role": "tool", "tool_name": "desk", "content": "open"},
                {"role": "tool", "content": "sunny"},
            ]
        }
    )["messages"]

    assert messages[1] == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "call_1_0",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"place":"A"}'},
            },
            {"id": "call_1_1", "type": "function", "function": {"name": "desk", "arguments": "{}"}},
        ],
    }
    assert messages[2:] == [
        {"role": "tool", "tool_call_id": "call_1_1", "content": "open"},
        {"role": "tool", "tool_call_id": "call_1_0", "content": "sunny"},
    ]


def test_ids_that_ollama_gave_are_kept() -> None:
    messages = chat_fields(
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "c7", **call("desk")}, {"id": "c8", **call("desk")}],
                },
                {"role": "tool", "tool_call_id": "c8", "content": "shut"},
                {"role": "tool", "tool_call_id": "c7", "content": "open"},
            ]
        }
    )["messages"]
    assert [message["tool_call_id"] for message in messages[2:]] == ["c8", "c7"]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([], "messages"),
        ([ASK, {"role": "tool", "content": "sunny"}], "messages[1]"),
        (
            [
                ASK,
                {"role": "assistant", "tool_calls": [call("desk")]},
                {"role": "tool", "tool_name": "x", "content": ""},
            ],
            "messages[2]",
        ),
    ],
)
def test_messages_that_have_no_openai_shape(messages: list[Any], field: str) -> None:
    with pytest.raises(UpstreamFault) as refused:
        chat_fields({"messages": messages})
    assert refused_field(refused) == field


def test_a_format_that_is_none_is_refused() -> None:
    with pytest.raises(UpstreamFault) as refused:
        chat_fields({"messages": [ASK], "format": "yaml"})
    assert refused_field(refused) == "format"


@pytest.mark.parametrize(
    ("ollama", "openai"),
    [
        ({"prompt": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}),
        (
            {"prompt": "hi", "system": "be brief", "suffix": "", "template": "", "context": [], "raw": False},
            {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]},
        ),
        (
            {"prompt": "hi", "raw": True, "suffix": "x", "template": "{{ .Prompt }}", "context": [1]},
            {
                "messages": [{"role": "user", "content": "hi"}],
                "raw": True,
                "suffix": "x",
                "template": "{{ .Prompt }}",
                "context": [1],
            },
        ),
        (
            {"images": [PNG]},
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
                        ],
                    }
                ]
            },
        ),
        (
            {"prompt": "hi", "format": "json", "options": {"num_predict": 3}},
            {
                "messages": [{"role": "user", "content": "hi"}],
                "response_format": {"type": "json_object"},
                "max_tokens": 3,
            },
        ),
    ],
)
def test_generate_fields(ollama: dict[str, Any], openai: dict[str, Any]) -> None:
    assert generate_fields({"model": "m", "stream": True, **ollama}) == openai


def test_an_empty_prompt_loads_a_model_and_is_no_chat() -> None:
    with pytest.raises(UpstreamFault) as refused:
        generate_fields({"model": "m", "prompt": ""})
    assert refused_field(refused) == "prompt"


def test_embed_fields() -> None:
    request = {
        "model": "m",
        "input": ["a", "b"],
        "truncate": True,
        "dimensions": 8,
        "options": {"num_ctx": 9},
    }
    assert embed_fields(request) == {
        "input": ["a", "b"],
        "truncate": True,
        "dimensions": 8,
        "num_ctx": 9,
    }


def test_embeddings_fields() -> None:
    assert embeddings_fields({"model": "m", "prompt": "a", "keep_alive": 0}) == {
        "input": "a",
        "keep_alive": 0,
    }
