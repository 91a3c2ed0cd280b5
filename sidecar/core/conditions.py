"""Reads the conditions of routing rules: what a rule asks for, tested and put into words.

A rule says ``when: {quality: ">=high", batch_size: ">10"}``. Each pair becomes one ``Condition``:

=====================================  ====================================================
key                                    value
=====================================  ====================================================
quality, complexity,                   one value, or a bound: ``high``, ``>=high``, ``>high``,
data_classification                    ``<=high``, ``<high``
batch_size                             a number, or a bound: ``10``, ``>10``, ``>=10``, ...
task_type                              one value or a list of values
model, app                             a glob or a list of globs, case-sensitive
=====================================  ====================================================

A call of which nothing is known under a key (no app named, nothing declared) meets no condition on it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase

import msgspec

from sidecar.core.vocabulary import Complexity, DataClassification, Ordered, Quality, TaskType

BATCH_SIZE_MAX = 1_000_000


class Condition(msgspec.Struct, frozen=True):
    """One condition, ready to be tested. ``wants`` are the accepted values in words."""

    key: str
    wants: str
    accepts: Callable[[object], bool]

    def describe(self) -> str:
        """The condition in words, as in ``quality is high or better``."""
        verb = "matches" if self.key in _GLOB_KEYS else "is"
        return f"{_NOUNS[self.key]} {verb} {self.wants}"


def parse_condition(key: str, value: object) -> Condition:
    """The condition that ``key: value`` of a rule's ``when`` stands for.

    Raises ``ValueError``, whose text says what is wrong, what is accepted, and the nearest good value
    where one is near.
    """
    if key not in _PARSERS:
        nearest = did_you_mean(key, _PARSERS)
        raise ValueError(f"there is no condition {clip(key)!r}; write {_or(_PARSERS)}{nearest}")
    return _PARSERS[key](key, value)


def describe_condition(key: str, value: object) -> str:
    """``key: value`` in plain words, as in ``batch size is more than 10``. Raises as ``parse_condition``."""
    return parse_condition(key, value).describe()


def describe_seen(key: str, value: object) -> str:
    """What a call brought under ``key``, as in ``quality is medium``."""
    if value is None:
        return f"{_NOUNS[key]} is not given"
    words = str(value)
    return f"{_NOUNS[key]} is {clip(words) if key in _GLOB_KEYS else words.replace('_', ' ')}"


def did_you_mean(value: object, good: Collection[str]) -> str:
    """The closing words of a refusal that names the nearest good value; empty when none is near."""
    near = get_close_matches(str(value).strip().lower().replace("-", "_"), good, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def clip(text: str, limit: int = 80) -> str:
    """``text`` cut to ``limit`` characters, so that a caller's words never flood a trace or an error."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parse_ordered(key: str, value: object) -> Condition:
    kind, more, less = _ORDERED[key]
    names = [member.value for member in kind]
    expected = f'write {_or(names)}, or a bound such as ">={names[1]}"'
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no {_NOUNS[key]}; {expected}")
    sign, name = _split_bound(value)
    if name not in names:
        raise ValueError(f"{clip(value)!r} is no {_NOUNS[key]}; {expected}{did_you_mean(name, names)}")
    bound = names.index(name)
    allowed = frozenset(n for rank, n in enumerate(names) if _COMPARE[sign](rank, bound))
    if not allowed:
        raise ValueError(
            f"nothing can meet {value!r}: no {_NOUNS[key]} is {_ordered_words(sign, name, more, less)}"
        )
    return Condition(key, _ordered_words(sign, name, more, less), allowed.__contains__)


def _ordered_words(sign: str, name: str, more: str, less: str) -> str:
    name = name.replace("_", " ")
    return {
        "": name,
        ">=": f"{name} or {more}",
        ">": f"{more} than {name}",
        "<=": f"{name} or {less}",
        "<": f"{less} than {name}",
    }[sign]


def _parse_batch_size(key: str, value: object) -> Condition:
    expected = 'write a number such as 10, or a bound such as ">10"'
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is no batch size; {expected}")
    sign, digits = _split_bound(str(value))
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 9:
        raise ValueError(f"{clip(str(value))!r} is no batch size; {expected}")
    bound, compare = int(digits), _COMPARE[sign]
    if not (compare(1, bound) or compare(BATCH_SIZE_MAX, bound) or 1 < bound < BATCH_SIZE_MAX):
        raise ValueError(f"nothing can meet {value!r}: batch sizes go from 1 to {BATCH_SIZE_MAX:,}")
    words = {"": "", ">=": "at least ", ">": "more than ", "<=": "at most ", "<": "less than "}[sign]
    return Condition(key, f"{words}{bound}", lambda n: isinstance(n, int) and compare(n, bound))


def _parse_task_type(key: str, value: object) -> Condition:
    names = [member.value for member in TaskType]
    wanted = _one_or_more(value, f"write one or a list of {_or(names)}")
    for name in wanted:
        if name not in names:
            raise ValueError(f"{clip(name)!r} is no task type; write {_or(names)}{did_you_mean(name, names)}")
    return Condition(key, _or(wanted).replace("_", " "), frozenset(wanted).__contains__)


def _parse_globs(key: str, value: object) -> Condition:
    globs = tuple(_one_or_more(value, 'write a pattern such as "gpt-*", or a list of patterns'))

    def accepts(text: object) -> bool:
        return isinstance(text, str) and any(fnmatchcase(text, glob) for glob in globs)

    return Condition(key, _or(globs), accepts)


def _one_or_more(value: object, expected: str) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise ValueError(f"an empty list can never be met; {expected}")
    texts = []
    for item in values:
        if not isinstance(item, str) or not item:
            raise ValueError(f"{item!r} is not accepted here; {expected}")
        texts.append(item)
    return texts


def _split_bound(text: str) -> tuple[str, str]:
    """``">= high"`` as (``">="``, ``"high"``); the sign is empty when there is none."""
    text = text.strip()
    for sign in (">=", "<=", ">", "<"):
        if text.startswith(sign):
            return sign, text.removeprefix(sign).strip()
    return "", text


def _or(names: Collection[str]) -> str:
    *head, last = names
    return f"{', '.join(head)} or {last}" if head else last


_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}

#: The ordered kinds, with the words for further up and further down.
_ORDERED: dict[str, tuple[type[Ordered], str, str]] = {
    "quality": (Quality, "better", "worse"),
    "complexity": (Complexity, "higher", "lower"),
    "data_classification": (DataClassification, "more sensitive", "less sensitive"),
}

_PARSERS: dict[str, Callable[[str, object], Condition]] = {
    "quality": _parse_ordered,
    "complexity": _parse_ordered,
    "data_classification": _parse_ordered,
    "batch_size": _parse_batch_size,
    "task_type": _parse_task_type,
    "model": _parse_globs,
    "app": _parse_globs,
}

_NOUNS = {key: key.replace("_", " ") for key in _PARSERS}
_GLOB_KEYS = ("model", "app")
