"""One task for a model: what to say to it, and what the sidecar should know to choose the tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sidecar.client.errors import InvalidTask
from sidecar.core.hint_words import Complexity, DataClassification, TaskType
from sidecar.core.hint_words import Quality as QualityRequirement

#: The model name that leaves the choice to the sidecar.
AUTO = "auto"

_Word = TypeVar("_Word", bound=StrEnum)
_OURS = frozenset({"messages", "model", "stream"})


@dataclass(frozen=True, kw_only=True, init=False)
class LLMTask:
    """What to ask, as a ``prompt`` or as chat ``messages`` in OpenAI's shape, and how it is meant.

    Hints may be given as members of their enums or as the words of these, in any case. A hint that is None
    is left to the sidecar: to its match rules, its estimate of the complexity, its defaults. The privacy
    gate reads every call; ``data_classification`` can only raise what it finds.

    ``session`` keeps a user's calls on one arm of the rollout; ``app`` names the app in reports.
    ``max_tokens`` and ``temperature`` are the model's, None for its default. ``model`` is ``auto``,
    ``<tier>/<model>`` to pin both, or any name that the local tier knows. ``metadata`` goes into the call's
    own ``metadata``. ``extra_body`` are further fields of an OpenAI chat completion, such as ``tools``,
    ``response_format`` or ``stop``; ``extra_headers`` further headers, such as ``traceparent``.

    Raises ``InvalidTask``, also a ``ValueError``, for words that are no hint, and unless exactly one of
    ``prompt`` and ``messages`` is given.
    """

    task_type: TaskType | None
    prompt: str | None
    messages: tuple[Mapping[str, Any], ...] | None
    system: str | None
    data_classification: DataClassification | None
    quality: QualityRequirement | None
    complexity: Complexity | None
    batch_size: int | None
    model: str
    max_tokens: int | None
    temperature: float | None
    session: str | None
    app: str | None
    metadata: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None

    def __init__(
        self,
        *,
        task_type: TaskType | str | None = None,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        system: str | None = None,
        data_classification: DataClassification | str | None = None,
        quality: QualityRequirement | str | None = None,
        quality_requirement: QualityRequirement | str | None = None,
        complexity: Complexity | str | None = None,
        batch_size: int | None = None,
        model: str = AUTO,
        max_tokens: int | None = None,
        temperature: float | None = None,
        session: str | None = None,
        app: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        extra_headers: Mapping[str, str] | None = None,
    ) -> None:
        """``quality_requirement`` is another name for ``quality``."""
        if (prompt is None) == (messages is None):
            raise InvalidTask("give the task either a prompt or messages")
        if quality is not None and quality_requirement is not None and quality != quality_requirement:
            raise InvalidTask("quality and quality_requirement are the same hint; give one")
        if ours := _OURS.intersection(extra_body or ()):
            raise InvalidTask(f"extra_body must not hold {', '.join(sorted(ours))}: the task says so itself")
        values = {
            "task_type": _word(TaskType, task_type, "task_type"),
            "prompt": prompt,
            "messages": None if messages is None else tuple(messages),
            "system": system,
            "data_classification": _word(DataClassification, data_classification, "data_classification"),
            "quality": _word(QualityRequirement, quality or quality_requirement, "quality"),
            "complexity": _word(Complexity, complexity, "complexity"),
            "batch_size": batch_size,
            "model": model,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "session": session,
            "app": app,
            "metadata": metadata,
            "extra_body": extra_body,
            "extra_headers": extra_headers,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def quality_requirement(self) -> QualityRequirement | None:
        """The same as ``quality``."""
        return self.quality


def _word(kind: type[_Word], value: _Word | str | None, name: str) -> _Word | None:
    if value is None or isinstance(value, kind):
        return value
    try:
        return kind(value.strip().lower().replace("-", "_"))
    except (AttributeError, ValueError):
        good = ", ".join(kind)
        raise InvalidTask(f"{name}: {value!r} is not accepted; write {good}") from None
