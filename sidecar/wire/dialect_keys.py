"""The keys that the dialects themselves write in a body, by what stands under them.

Any other key is the caller's own. It is read like a text, and says what its value is.
"""

from __future__ import annotations

from typing import Final

#: Texts that a model reads one after the other.
CONTENT_KEYS: Final = frozenset(
    {
        *("content", "text", "input", "prompt", "system", "instructions", "suffix", "arguments", "output"),
        *("thinking", "reasoning_content", "reasoning", "refusal", "summary"),
    }
)
#: Where an object's members are data of the caller's, each with a name.
NAMED_KEYS: Final = frozenset({"metadata", "input", "arguments", "logit_bias", "variables"})
#: Where an object's keys are names that the caller gave to parts of a schema.
SCHEMA_KEYS: Final = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}
)

_ENVELOPE: Final = (
    *("model", "messages", "role", "name", "type", "id", "object", "status", "index", "stream", "options"),
    *("stream_options", "include_usage", "include_obfuscation", "user", "metadata", "store", "service_tier"),
    *("max_tokens", "max_completion_tokens", "max_output_tokens", "temperature", "top_p", "top_k", "min_p"),
    *("n", "best_of", "echo", "stop", "stop_sequences", "seed", "frequency_penalty", "presence_penalty"),
    *("logit_bias", "logprobs", "top_logprobs", "encoding_format", "dimensions", "truncate", "truncation"),
    *(
        "previous_response_id",
        "conversation",
        "background",
        "include",
        "modalities",
        "prediction",
        "verbosity",
    ),
    *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "effort"),
    *("keep_alive", "raw", "template", "context", "think", "num_predict", "num_ctx", "num_batch", "num_gpu"),
    *("repeat_penalty", "repeat_last_n", "mirostat", "mirostat_eta", "mirostat_tau", "typical_p", "tfs_z"),
    *("num_keep", "num_thread", "main_gpu", "use_mmap", "low_vram", "penalize_newline", "generate_summary"),
    *("container", "mcp_servers", "context_management", "betas", "budget_tokens", "output_config", "user_id"),
)
_PARTS: Final = (
    *("image_url", "url", "detail", "images", "input_audio", "audio", "data", "format", "file", "file_data"),
    *(
        "file_id",
        "file_url",
        "filename",
        "video_url",
        "source",
        "media_type",
        "cache_control",
        "ttl",
        "title",
    ),
    *("citations", "enabled", "annotations", "signature", "redacted_thinking", "encrypted_content"),
    *("parts", "voice", "phase"),
)
_TOOLS: Final = (
    *("tools", "tool_choice", "parallel_tool_calls", "disable_parallel_tool_use", "tool_calls", "functions"),
    *("function_call", "function", "parameters", "input_schema", "description", "strict", "tool_call_id"),
    *(
        "tool_use_id",
        "call_id",
        "tool_name",
        "is_error",
        "custom",
        "allowed_tools",
        "mode",
        "response_format",
    ),
    *("json_schema", "schema", "output_format"),
)
_SCHEMA: Final = (
    *("required", "items", "prefixItems", "enum", "const", "default", "examples", "anyOf", "oneOf", "allOf"),
    *("not", "if", "then", "else", "additionalProperties", "minimum", "maximum", "exclusiveMinimum"),
    *("exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "minItems", "maxItems"),
    *("uniqueItems", "minProperties", "maxProperties", "propertyNames", "$ref", "$schema", "$id", "nullable"),
    *("readOnly", "writeOnly", "deprecated"),
)
DIALECT_KEYS: Final = frozenset((*_ENVELOPE, *_PARTS, *_TOOLS, *_SCHEMA)) | CONTENT_KEYS | SCHEMA_KEYS
