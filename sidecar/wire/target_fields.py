"""Turns OpenAI-shaped request fields into arguments for any-llm, and lets none of them vanish.

any-llm itself drops some fields, sends others where the upstream reads them as something else, and forbids
the rest. So for each family of upstreams every field is either carried, or stands in a table below as
meaning nothing there, or is refused by name (``unsupported``), and another tier may take the call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from sidecar.core.ports import OutboundCall
from sidecar.core.vocabulary import Dialect
from sidecar.wire.target_messages import anthropic_messages, ollama_messages
from sidecar.wire.unsupported import unsupported


class Family(StrEnum):
    """Upstreams that any-llm serves through the same code."""

    OPENAI = "openai"
    OLLAMA = "ollama"
    ANTHROPIC = "anthropic"
    OTHER = "other"


class Target(msgspec.Struct, frozen=True):
    """An upstream: any-llm's provider name, its family, and the output limit where one must be sent."""

    provider: str
    family: Family
    default_limit: int


#: What any-llm's completion call takes by name and its provider code then translates.
_ANY_LLM_NAMES = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "response_format",
        "n",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "user",
        "parallel_tool_calls",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "reasoning_effort",
        "service_tier",
    }
)
#: Those of them that have a meaning at each family but OpenAI's.
_OLLAMA_NAMES = frozenset(
    {
        "messages",
        "tools",
        "temperature",
        "top_p",
        "response_format",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "reasoning_effort",
    }
)
_ANTHROPIC_NAMES = frozenset(
    {
        "messages",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "response_format",
        "stop",
        "parallel_tool_calls",
        "reasoning_effort",
    }
)

#: OpenAI fields that an upstream of another family may ignore, with the reason why the answer stays the same.
_OPENAI_HOUSEKEEPING = {
    "metadata": "labels for the operator's list of stored completions at OpenAI",
    "prediction": "makes OpenAI answer faster, not otherwise",
    "prompt_cache_key": "a hint for OpenAI's prompt cache",
    "prompt_cache_retention": "how long OpenAI's prompt cache keeps the prompt",
    "safety_identifier": "names the end user to OpenAI's abuse checks",
    "service_tier": "which of OpenAI's queues takes the call",
    "store": "whether OpenAI keeps the completion for its dashboard",
    "stream_options": "shapes the stream, which is made here",
    "user": "names the end user to OpenAI's abuse checks",
}
#: Values that ask for what happens anyway.
_SAYS_NOTHING: dict[str, Any] = {
    "frequency_penalty": 0,
    "logit_bias": {},
    "logprobs": False,
    "modalities": ["text"],
    "n": 1,
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "verbosity": "medium",
}

#: Ollama options that steer sampling; llama.cpp's server knows them by the same names.
_OLLAMA_SAMPLING = frozenset(
    {
        "min_p",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "penalize_newline",
        "repeat_last_n",
        "repeat_penalty",
        "tfs_z",
        "top_k",
        "typical_p",
    }
)
#: Ollama fields that say how a model is loaded and run on Ollama's machine. Elsewhere they mean nothing:
#: the upstream runs its own machine, and refuses aloud what does not fit its context.
_OLLAMA_RUNNING = frozenset(
    {
        "embedding_only",
        "f16_kv",
        "keep_alive",
        "logits_all",
        "low_vram",
        "main_gpu",
        "num_batch",
        "num_ctx",
        "num_gpu",
        "num_keep",
        "num_thread",
        "numa",
        "shift",
        "truncate",
        "use_mlock",
        "use_mmap",
        "vocab_only",
    }
)
#: Those of them that stand beside Ollama's ``options``, not in it.
_OLLAMA_TOP_LEVEL = frozenset({"keep_alive", "shift", "truncate", "think"})
_OLLAMA_OPTIONS = (_OLLAMA_SAMPLING | _OLLAMA_RUNNING) - _OLLAMA_TOP_LEVEL

_LLAMA_CPP = frozenset({"llamacpp", "llamafile"})
#: Providers whose reasoning models refuse ``max_tokens``. The other servers of the dialect all know it,
#: and some do not know the newer name, under which the limit would silently be none.
_NEWER_LIMIT_NAME = frozenset({"openai"})


def chat_arguments(call: OutboundCall, fields: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Arguments for any-llm's ``acompletion`` but for ``model`` and ``stream``.

    ``fields`` are OpenAI-shaped (an Ollama request's after ``ollama_to_openai``). Raises ``UpstreamFault``
    of kind ``UNSUPPORTED`` that names the first field which ``target`` cannot honour.
    """
    wanted = _without_our_own(call, fields)
    limit = _limit(call, wanted)
    if "think" in wanted and target.family is not Family.OLLAMA:
        wanted.update(_effort(wanted.pop("think")))
    if target.family is Family.OPENAI:
        return _openai_arguments(call, wanted, target, limit)
    if target.family is Family.OLLAMA:
        return _ollama_arguments(wanted, target, limit)
    if target.family is Family.ANTHROPIC:
        if (wanted.get("response_format") or {}).get("type") == "json_object":
            raise unsupported("response_format", "Anthropic answers by a schema, or in words")
        # Anthropic demands a limit; any-llm's own default is 8192.
        arguments = _taken(wanted, _ANTHROPIC_NAMES | {"top_k"}, target)
        arguments["messages"] = anthropic_messages(arguments["messages"])
        arguments["max_tokens"] = target.default_limit if limit is None else limit
        return arguments
    arguments = _taken(wanted, _ANY_LLM_NAMES - _OPENAI_HOUSEKEEPING.keys(), target)
    return arguments if limit is None else {**arguments, "max_tokens": limit}


def embedding_arguments(call: OutboundCall, fields: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Arguments for any-llm's ``aembedding`` but for ``model``; raises as ``chat_arguments`` does.

    The encoding is always named: the openai SDK asks for base64 on its own when it is not.
    """
    wanted = _without_our_own(call, fields)
    inputs = wanted.pop("input")
    encoding = wanted.pop("encoding_format", "float")
    if target.family is Family.OPENAI:
        named, extra = _split(wanted, {"dimensions", "user"})
        if call.door.dialect is Dialect.OLLAMA:
            _taken(extra, (), target)
            extra = {}
        return {"inputs": inputs, "encoding_format": encoding, **named, **_extra_body(extra)}
    if not isinstance(inputs, str) and any(not isinstance(item, str) for item in inputs):
        raise unsupported("input", f"{target.provider} cannot read the token ids of another tokenizer")
    if target.family is not Family.OLLAMA:
        taken = _taken(wanted, {"dimensions"}, target)
        return {"inputs": inputs, "encoding_format": encoding, **taken}
    options = _lift_options(wanted)
    taken = _taken(wanted, {"dimensions", "keep_alive", "truncate"}, target)
    return {
        "inputs": inputs,
        "encoding_format": encoding,
        **taken,
        **({"options": options} if options else {}),
    }


def _without_our_own(call: OutboundCall, fields: Mapping[str, Any]) -> dict[str, Any]:
    wanted = {
        name: value for name, value in fields.items() if value is not None and name not in ("model", "stream")
    }
    metadata = wanted.get("metadata")
    if call.strip_metadata and isinstance(metadata, dict):
        rest = {name: value for name, value in metadata.items() if name not in call.strip_metadata}
        if rest:
            wanted["metadata"] = rest
        else:
            del wanted["metadata"]
    return wanted


def _limit(call: OutboundCall, wanted: dict[str, Any]) -> int | None:
    """Takes the limits out of ``wanted`` and gives the lowest of them and the one that was held for."""
    named = (wanted.pop("max_tokens", None), wanted.pop("max_completion_tokens", None), call.output_limit)
    limits = [limit for limit in named if limit is not None]
    if not limits:
        return None
    if min(limits) < 1:
        raise unsupported("max_tokens", "an answer of no tokens cannot be asked for")
    return min(limits)


def _effort(think: Any) -> dict[str, Any]:
    """Ollama's ``think`` as OpenAI's effort. ``false`` is what a model does of itself or cannot help."""
    if think is False:
        return {}
    return {"reasoning_effort": "medium" if think is True else think}


def _openai_arguments(
    call: OutboundCall, wanted: dict[str, Any], target: Target, limit: int | None
) -> dict[str, Any]:
    named, extra = _split(wanted, _ANY_LLM_NAMES)
    options = extra.pop("stream_options", None)
    if call.door.dialect is not Dialect.OPENAI:
        extra = _taken(extra, _OLLAMA_SAMPLING if target.provider in _LLAMA_CPP else (), target)
    if call.stream:
        # Without it no usage comes, and the call could only be settled by an estimate.
        named["stream_options"] = {**(options or {}), "include_usage": True}
    if limit is not None and target.provider in _NEWER_LIMIT_NAME:
        named["max_completion_tokens"] = limit
    elif limit is not None:
        extra["max_tokens"] = limit
    return {**named, **_extra_body(extra)}


def _ollama_arguments(wanted: dict[str, Any], target: Target, limit: int | None) -> dict[str, Any]:
    _steer_by_tools_shown(wanted)
    nested = wanted.pop("options", None) or {}
    arguments = _taken({**nested, **wanted}, _OLLAMA_NAMES | _OLLAMA_TOP_LEVEL | _OLLAMA_OPTIONS, target)
    arguments["messages"] = ollama_messages(arguments["messages"])
    if isinstance(arguments.get("stop"), str):
        arguments["stop"] = [arguments["stop"]]
    return arguments if limit is None else {**arguments, "max_tokens": limit}


def _steer_by_tools_shown(wanted: dict[str, Any]) -> None:
    """Heed ``tool_choice`` as far as Ollama lets one: by which tools its model is shown.

    Ollama can neither force a call nor keep a model from making several, and its own OpenAI endpoint
    passes over both wishes. Clients name them by habit (LangChain in every structured output by tools), so
    that refusing would take from such apps what they had.
    """
    wanted.pop("parallel_tool_calls", None)
    match wanted.get("tool_choice"):
        case "none":
            wanted.pop("tools", None)
        case {"type": "function", "function": {"name": str(name)}}:
            named = [tool for tool in wanted.get("tools") or () if tool["function"]["name"] == name]
            if not named:
                raise ValueError("tool_choice names no tool of the call")
            wanted["tools"] = named
        case None | "auto" | "required":
            pass
        case _:
            return
    wanted.pop("tool_choice", None)


def _lift_options(wanted: dict[str, Any]) -> dict[str, Any]:
    options = dict(wanted.pop("options", None) or {})
    for name in [name for name in wanted if name in _OLLAMA_OPTIONS]:
        options[name] = wanted.pop(name)
    return options


def _split(wanted: Mapping[str, Any], names: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    named = {name: value for name, value in wanted.items() if name in names}
    return named, {name: value for name, value in wanted.items() if name not in names}


def _extra_body(extra: dict[str, Any]) -> dict[str, Any]:
    """Fields that the openai SDK has no argument for travel in its ``extra_body``, so new ones survive."""
    return {"extra_body": extra} if extra else {}


def _taken(wanted: Mapping[str, Any], names: Collection[str], target: Target) -> dict[str, Any]:
    """The fields in ``names``; of the rest, those that mean nothing at ``target`` go, others are refused."""
    taken: dict[str, Any] = {}
    for name, value in wanted.items():
        if name in names:
            taken[name] = value
        elif (
            name in _OPENAI_HOUSEKEEPING
            or name in _OLLAMA_RUNNING
            or (name in _SAYS_NOTHING and value == _SAYS_NOTHING[name])
        ):
            continue
        else:
            raise unsupported(name, f"{target.provider} cannot honour it")
    return taken
