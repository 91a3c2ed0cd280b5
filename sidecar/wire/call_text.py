"""Reads out of a decoded body every text that would be sent, and names what no text scan can read."""

from __future__ import annotations

import re
from typing import Any, Final

from sidecar.wire.dialect_keys import CONTENT_KEYS, DIALECT_KEYS, NAMED_KEYS, SCHEMA_KEYS

_UNREADABLE_TYPES = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio": "audio",
    "file": "file",
    "input_file": "file",
    "document": "file",
    "video_url": "video",
}
#: What the dialects themselves write as ``type`` and ``role``; it holds nothing of the caller's.
_STRUCTURE = frozenset(
    {
        *("system", "developer", "user", "assistant", "tool", "function"),
        *("text", "input_text", "output_text", "object", "string", "json_schema", "json_object"),
        *("message", "tool_use", "tool_result", "thinking", "function_call", "function_call_output"),
        *_UNREADABLE_TYPES,
    }
)
#: A number this long may be a phone, card or account number wherever it stands.
_TELLING_NUMBER = 100_000
#: Numbers in a list may be the groups of one.
_GROUPS_MAX = 8
#: Where a data URL or bare base64 is a picture or a file and not what somebody wrote.
_DATA_KEYS: Final = frozenset({"url", "image_url", "file_data", "video_url", "file_url"})
_DATA_HEAD: Final = re.compile(
    r"data:(image|audio|video|application|font|model)/[\w.+-]{1,80}(?:;[\w.+-]{1,30}=[\w.+-]{1,40}){0,3};base64,"
)
_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-\r\n"
#: So short a picture is none, so what stands in its place is read as text too.
_DATA_MIN: Final = 4_096
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_-]+")


class CallText:
    """The texts of one call and the parts that hold none.

    The contents, the texts that a model reads one after the other, stand side by side whatever fields
    stand between them, so that a value split over two is seen. ``strings`` counts every JSON string met,
    keys included. ``unreadable`` says too that a list of numbers stands where text is expected, as
    embedding calls may send.
    """

    __slots__ = ("_contents", "_fields", "_keys", "strings", "unreadable")

    def __init__(self) -> None:
        self._fields: list[str] = []
        self._keys: dict[str, None] = {}
        self._contents: list[str] = []
        self.unreadable: list[str] = []
        self.strings = 0

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts: the fields, the keys that are no dialect's in one, the contents in their order.

        An empty one stands before the contents: nobody reads a field and a content as one.
        """
        keys = [key if (spoken := _spoken(key)) == key else f"{key}\n\n{spoken}" for key in self._keys]
        return (*self._fields, *(["\n\n".join(keys)] if keys else ()), "", *self._contents)

    def take(self, value: Any, key: str = "") -> None:
        """Walk ``value``, a decoded JSON value that stands under ``key`` of a dialect."""
        if isinstance(value, str):
            self.strings += 1
            if value:
                (self._contents if key in CONTENT_KEYS else self._fields).append(value)
        elif isinstance(value, dict):
            self._take_object(value, key)
        elif isinstance(value, list):
            for item in value:
                self.take(item, key)
        elif _is_number(value) and abs(value) >= _TELLING_NUMBER:
            self._fields.append(_figure(value))

    def _take_object(self, value: dict[str, Any], under: str) -> None:
        kind = value.get("type")
        self._note_kind(value)
        encoded = kind == "base64" and isinstance(value.get("media_type"), str)
        if encoded:
            self.unreadable.append("image" if value["media_type"].startswith("image/") else "file")
        named = under in SCHEMA_KEYS
        for key, item in value.items():
            self.strings += 1
            if named or key not in DIALECT_KEYS:
                self._keys[key] = None
            if isinstance(item, str) and item in _STRUCTURE and key in ("type", "role"):
                self.strings += 1
            elif isinstance(item, str) and ((encoded and key == "data") or key in _DATA_KEYS):
                self._take_data(item, bare=encoded and key == "data")
            elif key == "images" and isinstance(item, list):
                for image in item:
                    self.unreadable.append("image")
                    if isinstance(image, str):
                        self._take_data(image, bare=True)
                    else:
                        self.take(image)
            elif named:
                self.take(item)
            elif key not in DIALECT_KEYS or (key in NAMED_KEYS and isinstance(item, dict)):
                lines: list[str] = []
                self._take_named(key, item, lines)
                self._fields += ["\n".join(lines)] if lines else ()
            else:
                self.take(item, key)

    def _take_named(self, name: str, value: Any, lines: list[str]) -> None:
        """Write ``value`` and what is in it as lines with the names that say what each is."""
        if isinstance(value, dict):
            self._note_kind(value)
            for key, item in value.items():
                self.strings += 1
                self._keys[key] = None
                self._take_named(key, item, lines)
        elif isinstance(value, list):
            if 1 < len(value) <= _GROUPS_MAX and all(isinstance(item, int) for item in value):
                lines.append(f"{_spoken(name)}: {' '.join(map(str, value))}")
            else:
                for item in value:
                    self._take_named(name, item, lines)
        elif isinstance(value, str):
            self.strings += 1
            lines.append(f"{_spoken(name)}: {value}")
        elif _is_number(value):
            lines.append(f"{_spoken(name)}: {_figure(value)}")

    def _note_kind(self, value: dict[str, Any]) -> None:
        kind = value.get("type")
        if isinstance(kind, str) and kind in _UNREADABLE_TYPES and not _is_text_document(value):
            self.unreadable.append(_UNREADABLE_TYPES[kind])

    def _take_data(self, value: str, *, bare: bool) -> None:
        """Take what stands where a picture or a file does; as text, unless it is surely base64."""
        self.strings += 1
        head = _DATA_HEAD.match(value)
        start = head.end() if head is not None else 0
        if head is not None and not bare:
            self.unreadable.append("image" if head[1] == "image" else "file")
        if (head is None and not bare) or len(value) < _DATA_MIN or not _is_base64(value[start:]):
            self._fields.append(value)
        elif start:
            self._fields.append(value[:start])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(value: float) -> str:
    """``value`` as a person would write it, a whole number without a fraction."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e21
    return str(int(value) if whole else value)


def _spoken(key: str) -> str:
    """``key`` in words: ``dateOfBirth`` and ``date_of_birth`` are dates of birth."""
    return _HUMP.sub(" ", key)


def _is_base64(value: str) -> bool:
    return value.isascii() and not value.encode().translate(None, _BASE64)


def _is_text_document(value: dict[str, Any]) -> bool:
    """Whether it is a document of Anthropic's dialect that holds its text as such."""
    source = value.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")


def count_strings(body: bytes) -> int:
    """How many strings, keys included, stand in the valid JSON ``body``; a repeated key counts each time."""
    quotes = body.count(b'"')
    if b"\\" in body:
        # In pairs from the left, a backslash stands for itself; what is left of them escapes something.
        quotes -= body.replace(b"\\\\", b"").count(b'\\"')
    return quotes // 2
