"""The demo's workload holds what the acceptance names, in about the mix that is meant."""

from __future__ import annotations

from sidecar.core.vocabulary import Arm, DataClassification, Quality, TaskType
from sidecar.demo.player import SESSIONS_MIN
from sidecar.demo.workload import rewriting, workload

ASKS = [*(rewriting(number) for number in range(SESSIONS_MIN)), *workload()]


def test_it_has_about_forty_calls_of_every_kind() -> None:
    assert 35 <= len(ASKS) <= 45
    labels = " ".join(ask.label for ask in ASKS)
    for kind in (
        "rewrite",
        "extract",
        "grade",
        "summarise",
        "answer with context",
        "embed",
        "batch",
        "pii",
        "critical",
    ):
        assert kind in labels
    assert any(ask.stream for ask in ASKS)
    assert {ask.arm for ask in ASKS} >= {Arm.ROUTED, Arm.LEGACY}


def test_answers_are_short_so_that_it_ends_soon() -> None:
    assert all(16 <= ask.max_tokens <= 48 for ask in ASKS)


def test_what_may_leave_says_so() -> None:
    for ask in ASKS:
        leaves = ask.quality.rank >= Quality.HIGH.rank or ask.batch_size > 10
        declared = (DataClassification.PUBLIC, DataClassification.INTERNAL, DataClassification.PII)
        assert not leaves or ask.classification in declared


def test_embeddings_have_inputs_and_chats_have_questions() -> None:
    for ask in ASKS:
        assert (ask.task_type is TaskType.EMBEDDING) == bool(ask.inputs)
        assert bool(ask.inputs) != bool(ask.question)
