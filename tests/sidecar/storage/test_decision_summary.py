"""The summary of a record holds what one can search for."""

from __future__ import annotations

import pytest

from sidecar.core.vocabulary import Attempt
from sidecar.storage.decision_summary import COLUMNS, from_row, summarise
from tests.sidecar.storage.records import attempt, record


@pytest.mark.parametrize(
    ("attempts", "fallback"),
    [
        ((), False),
        ((attempt("openai"),), False),
        ((attempt("openai", "timeout"), attempt("openai")), False),
        ((attempt("openai", "timeout"), attempt("local_ollama")), True),
    ],
)
def test_a_call_fell_back_when_more_than_one_tier_was_tried(
    attempts: tuple[Attempt, ...], fallback: bool
) -> None:
    assert summarise(1, record(1, attempts=attempts)).fallback is fallback


def test_a_summary_comes_back_from_its_row() -> None:
    summary = summarise(7, record(1, usage=None, attempts=(attempt("a"), attempt("b"))))
    assert from_row([getattr(summary, column) for column in COLUMNS]) == summary
    assert from_row([int(value) if value is True else value for value in row(summary)]) == summary


def row(summary: object) -> list[object]:
    return [getattr(summary, column) for column in COLUMNS]
