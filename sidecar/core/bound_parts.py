"""What the bounds of all shapes of calls are made of: constants, renderings, and what cannot be bounded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

MESSAGE_TOKENS = 16
TEMPLATE_TOKENS = 1024
STOP_TOKENS = 16
OUTPUT_TOKENS_MAX = 10_000_000

#: Models, by how their names start, with what an image costs at most: in low detail, in any other. First
#: match wins. From OpenAI's image guide: with tiles, base + 8 tiles (2048 x 768 is the largest after
#: scaling); with patches, the most patches of any detail x the dearest multiplier, 2.46. Anthropic's cost
#: their pixels / 750 after scaling, some 4,800 at most.
IMAGE_TOKENS: Final = (
    ("gpt-4o-mini", 2_833, 48_169),  # 2833 + 8 x 5667
    ("gpt-4o", 85, 1_445),  # 85 + 8 x 170
    ("gpt-4.1", 630, 3_779),  # 1,536 patches x 2.46
    ("gpt-5", 630, 24_600),  # 10,000 patches x 2.46
    ("", 48_169, 48_169),  # others need not honour the detail
)

#: Fields through which a call can be billed for more than it shows.
UNBOUNDED_FIELDS: Final = {
    "audio": "audio is billed by its length",
    "prediction": "rejected predictions are billed as output beyond the limit",
    "web_search_options": "searches are billed apart",
    "search_parameters": "searches are billed apart",
    "plugins": "plugins are billed apart",
    "models": "other models may answer at other prices",
    "preset": "it may name other models, tools and prompts",
    "provider": "other providers may answer at other prices",
    "mcp_servers": "tools run at the upstream, and what they return is billed",
    "previous_response_id": "the conversation is kept at the upstream",
    "conversation": "the conversation is kept at the upstream",
    "cached_content": "the content is kept at the upstream",
    "extra_body": "some upstreams read options out of it",
    "container": "code runs at the upstream, and what it prints is billed",
    "context_management": "what the upstream makes of the context is billed",
    "inference_geo": "another price class than the one configured",
    "prompt_cache_options": "writing to the cache has a price of its own",
    "background_options": "the answer is made when nobody waits for it",
    "background": "the answer is made when nobody waits for it",
    **dict.fromkeys(
        ("enable_search", "search_settings", "web_search", "enable_web_search", "search_domain_filter"),
        "searches are billed apart",
    ),
    **dict.fromkeys(("num_search_results", "return_images", "search_mode"), "searches are billed apart"),
    "data_sources": "what the upstream finds there is billed",
    "safety_model": "another model reads and writes too, at a price of its own",
    "draft_model": "another model writes too, at a price of its own",
    "compound_custom": "tools run at the upstream, and what they return is billed",
    "agents": "tools run at the upstream, and what they return is billed",
    "image_config": "images are billed apart",
    "assistant_id": "the conversation is kept at the upstream",
    "thread_id": "the conversation is kept at the upstream",
    "conversation_id": "the conversation is kept at the upstream",
    "prompt_id": "the prompt is kept at the upstream",
    "fallbacks": "other models may answer at other prices",
    "deferred": "the answer is made when nobody waits for it",
    **dict.fromkeys(
        ("num_return_sequences", "n_cmpl", "num_choices", "candidate_count", "num_completions"),
        "answers in the words of another server",
    ),
    **dict.fromkeys(
        ("generation_config", "generationConfig", "parameters", "sampling_params", "custom_params"),
        "an upstream of another kind reads an output limit and the number of answers out of it",
    ),
    **dict.fromkeys(
        ("max_gen_len", "max_length", "maxTokens", "max_tokens_to_sample", "max_decode_tokens"),
        "an output limit in the words of another server",
    ),
    **dict.fromkeys(
        ("model_options", "additional_model_request_fields"), "some upstreams read options out of it"
    ),
}
#: What a name in ``anthropic-beta`` costs more by than its tokens at the ordinary price.
_DEAR_BETAS: Final = {"context-1m": "long inputs are billed at twice the price"}
#: The values with which ``service_tier`` and ``speed`` choose the ordinary price, or a lower one.
_ORDINARY_PRICE: Final = frozenset({None, "auto", "default", "flex", "standard", "standard_only"})
#: Every field by which a bound is found or refused.
_COUNTED: Final = frozenset(
    {
        *map(str.casefold, UNBOUNDED_FIELDS),
        *(
            "options",
            "template",
            "chat_template",
            "num_predict",
            "n_predict",
            "max_new_tokens",
            "service_tier",
        ),
        *("model", "stream", "stream_options", "speed", "modalities", "messages", "prompt", "input"),
        *("images", "echo", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"),
        *("tools", "functions", "format", "role", "content", "tool_calls", "function_call"),
        *("response_format", "tool_choice", "system", "instructions", "output_config", "text", "reasoning"),
    }
)


#: What a tool that the app runs has, whatever the dialect, and by what a tool without a type runs elsewhere.
_NAMED: Final = frozenset({"name", "function", "custom"})
_UPSTREAM_TOOLS: Final = frozenset(
    {"google_search", "google_search_retrieval", "googleSearch", "code_execution", "url_context"}
)


class Unbounded(Exception):
    """The call cannot be bounded; the message says why."""


def refuse_unbounded(fields: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    """Refuse what ``reasons`` names, other price classes, and what only the upstream would see."""
    for field, value in fields.items():
        if field in reasons and value is not False and value not in (None, "", [], {}):
            raise Unbounded(f"{field}: {reasons[field]}")
    refuse_other_case(fields)
    options = fields.get("options")
    for name in options if isinstance(options, Mapping) else ():
        # Translated for another dialect, an option stands beside the other fields, and was not looked at.
        if name in _COUNTED and name != "num_predict":
            raise Unbounded(f"options.{name}: not one of Ollama's options")
    for field in ("service_tier", "speed"):
        if field in fields and not one_of(fields[field], _ORDINARY_PRICE):
            raise Unbounded(f"{field}: another price class than the one configured")
    modalities = fields.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise Unbounded("modalities: only text output can be bounded")


def refuse_dear_betas(names: str) -> None:
    """Refuse a header ``anthropic-beta`` that asks for another price class than the one configured."""
    for beta, why in _DEAR_BETAS.items():
        if beta in names.lower():
            raise Unbounded(f"anthropic-beta {beta}: {why}")


def refuse_budget_over(fields: Mapping[str, Any], limit: int) -> None:
    """Refuse a budget for reasoning above the output limit, which some upstreams raise to fit it."""
    for field, name in (
        ("thinking", "budget_tokens"),
        ("reasoning", "max_tokens"),
        ("chat_template_kwargs", "thinking_budget"),
    ):
        holder = fields.get(field)
        budget = holder.get(name) if isinstance(holder, Mapping) else None
        if (whole(f"{field}.{name}", budget) or 0) > limit:
            raise Unbounded(f"{field}.{name}: more than the output limit")
    if (whole("thinking_budget", fields.get("thinking_budget")) or 0) > limit:
        raise Unbounded("thinking_budget: more than the output limit")


def refuse_other_case(holder: Mapping[str, Any]) -> None:
    """Refuse what only the upstream would see: servers in Go, as Ollama, read ``Options`` as ``options``."""
    for name in holder:
        if not (name.isascii() and name.islower()) and name.casefold() in _COUNTED:
            raise Unbounded(f"{name.casefold()}: written in another case")


def refuse_cache_control(holder: Mapping[str, Any]) -> None:
    """Refuse a wish to write to the upstream's cache."""
    if holder.get("cache_control"):
        raise Unbounded("cache_control: writing to the cache has a price of its own")


def image_tokens(model: str, *, low: bool = False) -> int:
    """What an image costs at most at ``model``, whose name may be unknown (empty)."""
    name = model.lower()
    return next(
        low_tokens if low else high_tokens
        for start, low_tokens, high_tokens in IMAGE_TOKENS
        if name.startswith(start)
    )


def client_tools(tools: Any, kinds: frozenset[str | None]) -> int:
    """What separates tools from each other; refuses those that run at the upstream.

    ``kinds`` are the types of tools that the app runs itself.
    """
    if tools is None:
        return 0
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise Unbounded("tools: expected a list of objects")
    for tool in tools:
        unnamed = tool.get("type") is None and not _NAMED & tool.keys()
        if unnamed or _UPSTREAM_TOOLS & tool.keys() or not one_of(tool.get("type"), kinds):
            raise Unbounded("tools: tools that run at the upstream are billed apart")
    return len(tools) * MESSAGE_TOKENS


def rendered(holder: Mapping[str, Any], *names: str) -> int:
    """The longest that any template writes these fields in JSON, in tokens."""
    tokens = 0
    for name in names:
        value = holder.get(name)
        if value is None or value == "":
            continue
        # Escaped to ASCII, with spaces after separators; Go's encoder also spells out < > &; each mark of
        # structure may start a line, whose break and indent are two tokens.
        text = json.dumps(value)
        tokens += len(text)
        tokens += 5 * sum(text.count(sign) for sign in "<>&")
        tokens += 2 * sum(text.count(mark) for mark in "{}[],")
    return tokens


def whole(name: str, value: Any) -> int | None:
    """``value`` as a whole number that is not absurd; None when it is absent."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value > OUTPUT_TOKENS_MAX:
        raise Unbounded(f"{name}: expected a whole number up to {OUTPUT_TOKENS_MAX}")
    return value


def one_of(value: Any, allowed: frozenset[str | None]) -> bool:
    """Whether ``value``, which may be anything, is one of ``allowed``."""
    return (value is None or isinstance(value, str)) and value in allowed
