"""Decides what the scripted upstream says: a pure function of the prompt and the style.

Tokens
------
``count_tokens`` takes four UTF-8 bytes for one token, rounded up, and so never counts more tokens than
bytes. A prompt costs the tokens of every text in it (tool definitions as compact JSON), plus
``MESSAGE_OVERHEAD_TOKENS`` for each message and ``PRIMING_TOKENS`` once, as OpenAI's own counting recipe
has it, plus ``IMAGE_TOKENS`` for each image. In the greedy style every byte is a token, of input and of
output, and the answer is exactly as long as the limit that was sent: the worst case that a ledger must
have held for.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

BYTES_PER_TOKEN = 4
MESSAGE_OVERHEAD_TOKENS = 4
PRIMING_TOKENS = 3
IMAGE_TOKENS = 765
#: Prompts this long are reported as half cached, in steps of ``CACHE_STEP_TOKENS``, as OpenAI does.
CACHE_FROM_TOKENS = 1024
CACHE_STEP_TOKENS = 128
#: What a greedy answer is when no limit was sent: the mistake a ledger must not make shows at once.
UNLIMITED_TOKENS = 4096
EMBEDDING_DIMENSIONS = 256

_THINKING = "Thinking it over, briefly. "
_TOOL_PIECE_CHARS = 8


#: What a tool is called with stands in the question: a text in quotes, a whole number. JSON mode has no
#: schema, and takes its keys from the quotes too.
_QUOTED = re.compile(r"(?<!\w)'([^'\n]{1,60})'(?!\w)")
_NUMBER = re.compile(r"(?<![\w.])\d{1,9}(?![\w.])")
_DEPTH_MAX = 8


class Style(StrEnum):
    """How answers are made: the prompt's words again, a plausible labelled sentence, or the worst case."""

    ECHO = "echo"
    DEMO = "demo"
    GREEDY = "greedy"


class Tool(msgspec.Struct, frozen=True):
    """A tool the caller offers; ``parameters`` is its JSON schema."""

    name: str
    parameters: dict[str, Any]


class Prompt(msgspec.Struct, frozen=True):
    """What a dialect read from a request. ``texts`` are all texts that count as input.

    ``schema`` is the JSON schema the answer must fit (``{}``: any object), ``limit`` the most output
    tokens for each choice, ``tool`` the tool to call instead of answering.
    """

    texts: Sequence[str]
    question: str
    instructions: str = ""
    messages: int = 0
    images: int = 0
    limit: int | None = None
    choices: int = 1
    schema: dict[str, Any] | None = None
    tool: Tool | None = None
    think: bool = False


class Piece(msgspec.Struct, frozen=True):
    """A stretch of generated text with the output tokens it costs."""

    text: str
    tokens: int


class Choice(msgspec.Struct, frozen=True):
    """One answer. With ``tool`` the pieces are the JSON of its arguments."""

    pieces: tuple[Piece, ...]
    thinking: tuple[Piece, ...] = ()
    tool: str = ""
    cut_by_limit: bool = False

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def thinking_text(self) -> str:
        return "".join(piece.text for piece in self.thinking)

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in (*self.thinking, *self.pieces))


class Tokens(msgspec.Struct, frozen=True):
    """What a request costs; also what it is said to cost, when the usage is made to lie."""

    input: int
    output: int
    cached: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output


class Generation(msgspec.Struct, frozen=True):
    """The whole answer to one prompt, with its true cost."""

    choices: tuple[Choice, ...]
    tokens: Tokens


def count_tokens(text: str) -> int:
    """The tokens of ``text``: one for every four UTF-8 bytes begun."""
    return _tokens_in(len(text.encode()), BYTES_PER_TOKEN)


def _tokens_in(byte_count: int, bytes_per_token: int) -> int:
    return -(-byte_count // bytes_per_token)


class Script:
    """Answers prompts in one style, under one name."""

    def __init__(self, name: str, style: Style) -> None:
        self.name = name
        self.style = style
        self._bytes_per_token = 1 if style is Style.GREEDY else BYTES_PER_TOKEN

    def count_input(self, texts: Sequence[str]) -> int:
        """The input tokens of bare texts, as embeddings are billed."""
        return sum(_tokens_in(len(text.encode()), self._bytes_per_token) for text in texts)

    def generate(self, prompt: Prompt) -> Generation:
        """The answer to ``prompt``: the same for the same prompt, always."""
        input_tokens = self.count_input(prompt.texts) + prompt.images * IMAGE_TOKENS
        if prompt.messages:
            input_tokens += prompt.messages * MESSAGE_OVERHEAD_TOKENS + PRIMING_TOKENS
        choices = tuple(self._choice(prompt, index) for index in range(prompt.choices))
        output_tokens = sum(choice.tokens for choice in choices)
        return Generation(choices, Tokens(input_tokens, output_tokens, self._cached(input_tokens)))

    def _cached(self, input_tokens: int) -> int:
        if self.style is Style.GREEDY or input_tokens < CACHE_FROM_TOKENS:
            return 0
        return input_tokens // 2 // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS

    def _choice(self, prompt: Prompt, index: int) -> Choice:
        if self.style is Style.GREEDY:
            limit = UNLIMITED_TOKENS if prompt.limit is None else prompt.limit
            text = ("greedy " * (limit // 7 + 1))[:limit]
            return Choice(self._price(_words(text)), cut_by_limit=True)
        budget = None if prompt.limit is None else prompt.limit * self._bytes_per_token
        thinking = _clip(_THINKING if prompt.think else "", budget)
        wanted = self._text(prompt, index)
        text = _clip(wanted, None if budget is None else budget - len(thinking.encode()))
        return Choice(
            pieces=self._price(_slices(text) if prompt.tool else _words(text), before=thinking),
            thinking=self._price(_words(thinking)),
            tool=prompt.tool.name if prompt.tool else "",
            cut_by_limit=len(text) < len(wanted),
        )

    def _price(self, parts: Sequence[str], before: str = "") -> tuple[Piece, ...]:
        """``parts`` with the tokens that each adds to what was generated before it."""
        length, pieces = len(before.encode()), []
        for part in parts:
            counted = _tokens_in(length, self._bytes_per_token)
            length += len(part.encode())
            pieces.append(Piece(part, _tokens_in(length, self._bytes_per_token) - counted))
        return tuple(pieces)

    def _text(self, prompt: Prompt, index: int) -> str:
        quoted = _QUOTED.findall(prompt.question)
        if prompt.tool:
            number = _NUMBER.search(prompt.question)
            filled = sample(
                prompt.tool.parameters,
                quoted[0] if quoted else "scripted",
                int(number.group()) if number else _SCALARS["integer"],
            )
            return msgspec.json.encode(filled).decode()
        if prompt.schema is not None:
            keys = {name: {"type": "string"} for name in quoted or ["answer"]}
            schema = prompt.schema or {"type": "object", "properties": keys}
            return msgspec.json.encode(sample(schema, f"[scripted {self.name}]")).decode()
        if self.style is Style.DEMO:
            return f"[scripted {self.name}] {_plausible(prompt)}"
        return _echo(prompt.question, index)


def _echo(question: str, index: int) -> str:
    """The question's own words, repeated to a length that depends on the question."""
    words = question.split() or ["nothing"]
    count = 12 + zlib.crc32(f"{index}:{question}".encode()) % 37
    return " ".join(words[place % len(words)] for place in range(count))


_PLAUSIBLE = (
    ("rewrite", "Which steps does the handbook name for planning, packing and sending a parcel?"),
    ("extract", "organisations: Harbour Library; places: Northgate; dates: spring 2024"),
    ("grade", "relevant: yes; the passage answers the question directly."),
    ("summar", "The text describes how the library lends tools and how long a loan lasts."),
    ("translate", "The opening hours are on the door and on the website."),
)


def _plausible(prompt: Prompt) -> str:
    asked = f"{prompt.instructions} {prompt.question}".lower()
    for word, answer in _PLAUSIBLE:
        if word in asked:
            return answer
    return "According to the passages given, loans last three weeks and can be renewed twice at the desk."


def _words(text: str) -> list[str]:
    """``text`` in pieces of one word each, with the white space before it; joined they are ``text``."""
    parts: list[str] = []
    for part in text.split(" "):
        parts.append(f" {part}" if parts else part)
    return [part for part in parts if part]


def _slices(text: str) -> list[str]:
    return [text[start : start + _TOOL_PIECE_CHARS] for start in range(0, len(text), _TOOL_PIECE_CHARS)]


def _clip(text: str, budget: int | None) -> str:
    """As much of ``text`` as ``budget`` bytes hold, cut between characters."""
    return text if budget is None else text.encode()[:budget].decode(errors="ignore")


_SCALARS: dict[str, Any] = {"integer": 1, "number": 0.5, "boolean": True, "null": None}


def sample(schema: dict[str, Any], word: str = "scripted", whole: int = _SCALARS["integer"]) -> Any:
    """A value that fits a JSON schema, always the same one; references into ``$defs`` are followed.

    Its texts are ``word`` and its whole numbers ``whole``, whatever limits the schema sets to them.
    """
    definitions = schema.get("$defs") or schema.get("definitions") or {}
    return _sample(schema, definitions, {**_SCALARS, "string": word, "integer": whole}, depth=0)


def _sample(schema: dict[str, Any], definitions: dict[str, Any], scalars: dict[str, Any], depth: int) -> Any:
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            schema = schema[key][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object" and depth <= _DEPTH_MAX:
        properties = schema.get("properties", {})
        return {name: _sample(part, definitions, scalars, depth + 1) for name, part in properties.items()}
    if kind == "array" and depth <= _DEPTH_MAX:
        return [_sample(schema.get("items", {}), definitions, scalars, depth + 1)]
    return scalars.get(kind)


def embed(model: str, text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on model and text alone; exact in 32 bits, so all encodings agree."""
    digest = hashlib.shake_256(f"{model}\0{text}".encode()).digest(dimensions * 2)
    values = [value - 32767.5 for value in struct.unpack(f"<{dimensions}H", digest)]
    norm = sum(value * value for value in values) ** 0.5
    return list(struct.unpack(f"<{dimensions}f", struct.pack(f"<{dimensions}f", *(v / norm for v in values))))
