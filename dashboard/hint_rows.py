"""Shows the hints of a call, with who gave each."""

from __future__ import annotations

from typing import Final

import msgspec

from dashboard.explain import source_words
from sidecar.core.vocabulary import Hints

_NAMES: Final = {
    "task_type": "Task",
    "data_classification": "Data",
    "quality": "Quality",
    "complexity": "Complexity",
    "batch_size": "Batch size",
    "session": "Session",
    "app": "App",
}
#: Texts of the app's own; the others are our words, in which an underscore is a blank.
_FOREIGN: Final = ("session", "app")


class HintRow(msgspec.Struct, frozen=True):
    """One hint and, in words, where it came from; ``note`` says more about it."""

    name: str
    value: str
    source: str
    note: str


def hint_rows(hints: Hints) -> tuple[HintRow, ...]:
    """The hints that are known."""
    return tuple(
        HintRow(
            words,
            str(value) if name in _FOREIGN else str(value).replace("_", " "),
            source_words(hints.sources.get(name, "default")),
            hints.complexity_why if name == "complexity" else "",
        )
        for name, words in _NAMES.items()
        if (value := getattr(hints, name)) is not None
    )
