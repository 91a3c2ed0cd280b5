"""Collects what is known about a call beyond its bytes: told by the app, by a match rule, or estimated.

For each hint the first of these that says something wins: the header ``x-sidecar-<name>``, the body's
``metadata`` (same name, any mix of hyphens, underscores and case), the first match rule that gives it, the
default. Only the data classification is different: of all that were said, the most sensitive wins, for
the app may raise the sensitivity from any side. An empty value counts as not said. Values may be written
in any case, and with hyphens for underscores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

import msgspec

from sidecar.core.conditions import BATCH_SIZE_MAX, clip, did_you_mean
from sidecar.core.errors import InvalidHint
from sidecar.core.vocabulary import (
    Complexity,
    DataClassification,
    Hints,
    Operation,
    Quality,
    TaskType,
)

#: Every hint's header begins so; its name follows with hyphens.
HEADER_PREFIX = "x-sidecar-"
SESSION_HEADER = "x-sidecar-session"
NAME_CHARS_MAX = 256
_SHOWN_CHARS = 40


class MatchWhen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call must look like for a match: case-sensitive globs, of which all that are given must fit.

    ``endpoint`` is the path of the front door, such as ``/v1/embeddings``.
    """

    model: str | None = None
    app: str | None = None
    endpoint: str | None = None

    def fits(self, model: str, app: str | None, endpoint: str) -> bool:
        return (
            (self.model is None or fnmatchcase(model, self.model))
            and (self.app is None or fnmatchcase(app or "", self.app))
            and (self.endpoint is None or fnmatchcase(endpoint, self.endpoint))
        )


class MatchHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The hints that a match gives to a call that does not carry them itself."""

    task_type: TaskType | None = None
    data_classification: DataClassification | None = None
    quality: Quality | None = None
    complexity: Complexity | None = None
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=BATCH_SIZE_MAX)] | None = None


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hints for apps that can set no headers."""

    when: MatchWhen
    hints: MatchHints


def resolve_hints(
    headers: Mapping[str, str],
    metadata: Mapping[str, object],
    matches: Sequence[Match],
    *,
    operation: Operation,
    model: str,
    endpoint: str,
    batch_size: int,
    complexity: Callable[[], tuple[Complexity, str]],
) -> tuple[Hints, tuple[str, ...]]:
    """The hints of one call, and the keys of its ``metadata`` that were ours and must not go on.

    ``headers`` have lower-case names, ``endpoint`` is the path of the front door, ``model`` the name as the
    app wrote it, ``batch_size`` the number of inputs in the body. ``complexity`` is asked for an estimate
    only when nobody says it and the call is no embedding. Raises ``InvalidHint``, which names the place,
    the value and the good ones.
    """
    said = _Said()
    for name, header in _HEADERS.items():
        if header in headers:
            said.read(name, headers[header], header, "header")
    ours = []
    for key, value in metadata.items():
        name = key.lower().replace("-", "_")
        if name in _PARSERS:
            ours.append(key)
            said.read(name, value, f"metadata.{key}", "metadata")
    app = said.values.get("app")
    for number, match in enumerate(matches, 1):
        if match.when.fits(model, app, endpoint):
            for name in MatchHints.__struct_fields__:
                said.take(name, getattr(match.hints, name), f"match:{number}")
    if operation is Operation.EMBEDDINGS:
        said.take("task_type", TaskType.EMBEDDING, "default")
        said.take("complexity", Complexity.LOW, "default")
    elif "complexity" not in said.values:
        estimate, said.values["complexity_why"] = complexity()
        said.take("complexity", estimate, "estimated")
    said.take("quality", Quality.MEDIUM, "default")
    said.take("batch_size", batch_size, "estimated" if batch_size > 1 else "default")
    return Hints(**said.values, sources=said.sources), tuple(ours)


class _Said:
    """What has been said so far, most binding first, and by whom."""

    __slots__ = ("sources", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def read(self, name: str, value: object, place: str, source: str) -> None:
        """Take what the app wrote at ``place``; nothing, when it is empty."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return
        try:
            self.take(name, _PARSERS[name](value), source)
        except ValueError as error:
            raise InvalidHint(f"{place}: {_show(value)} is not accepted; {error}", param=place) from None

    def take(self, name: str, value: Any, source: str) -> None:
        before = self.values.get(name)
        if value is None or (before is not None and name != "data_classification"):
            return
        if before is None or _SENSITIVITY[value] > _SENSITIVITY[before]:
            self.values[name] = value
            self.sources[name] = source


def _show(value: object) -> str:
    if isinstance(value, str | int | float):
        return repr(clip(str(value), _SHOWN_CHARS))
    return f"a {type(value).__name__}"


def _one_of(kind: type[StrEnum]) -> Callable[[object], StrEnum]:
    members = {member.value: member for member in kind}
    good = f"write {', '.join(members)}"

    def parse(value: object) -> StrEnum:
        if not isinstance(value, str):
            raise ValueError(good)
        member = members.get(value.strip().lower().replace("-", "_"))
        if member is None:
            raise ValueError(good + did_you_mean(value, members))
        return member

    return parse


def _batch_size(value: object) -> int:
    if isinstance(value, str):
        text = value.strip()
        value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= BATCH_SIZE_MAX:
        raise ValueError(f"write a whole number from 1 to {BATCH_SIZE_MAX:,}")
    return value


def _name(value: object) -> str:
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or len(text) > NAME_CHARS_MAX or not text.isprintable():
        raise ValueError(f"write at most {NAME_CHARS_MAX} printable characters")
    return text


_PARSERS: dict[str, Callable[[object], object]] = {
    "task_type": _one_of(TaskType),
    "data_classification": _one_of(DataClassification),
    "quality": _one_of(Quality),
    "complexity": _one_of(Complexity),
    "batch_size": _batch_size,
    "session": _name,
    "app": _name,
}

_HEADERS = {name: HEADER_PREFIX + name.replace("_", "-") for name in _PARSERS}
_SENSITIVITY = {kind: rank for rank, kind in enumerate(DataClassification)}
