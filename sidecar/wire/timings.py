"""How long the parts of an answer took, in the terms of Ollama's answers."""

from __future__ import annotations

import msgspec

#: Ollama's durations, which any-llm hands on inside the usage.
UPSTREAM_TIMINGS = ("total_duration", "load_duration", "prompt_eval_duration", "eval_duration")


class Timings(msgspec.Struct, frozen=True):
    """Nanoseconds from sending a call to its first token and to its end, as measured here."""

    first_ns: int
    total_ns: int
