"""The values that hints may have; kept apart so that an app's client can have them and nothing else.

This module imports the standard library only: ``sidecar.client`` stands on it in apps that have none of
the sidecar's own dependencies.
"""

from __future__ import annotations

from enum import StrEnum


class TaskType(StrEnum):
    """What the app uses the answer for."""

    EMBEDDING = "embedding"
    EXTRACTION = "extraction"
    GENERATION = "generation"
    CODE_GENERATION = "code_generation"
    RESEARCH = "research"
    VISION = "vision"
    SUMMARIZATION = "summarization"
    ANSWER_GENERATION = "answer_generation"
    MEMORY_CONSOLIDATION = "memory_consolidation"


class Ordered(StrEnum):
    """A string enum whose members are ordered as they are written, least first."""

    @property
    def rank(self) -> int:
        return list(type(self)).index(self)


class DataClassification(Ordered):
    """How sensitive the app says its data are, least first."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    PII = "pii"
    HIPAA = "hipaa"

    @property
    def forbids_leaving(self) -> bool:
        return self.rank >= DataClassification.CONFIDENTIAL.rank


class Quality(Ordered):
    """The quality the app asks for, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Complexity(Ordered):
    """How hard the call is, said by the app or estimated, least first."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    VERY_HIGH = "very_high"
