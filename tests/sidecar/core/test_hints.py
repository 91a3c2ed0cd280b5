"""Hints: who is heard first, what is refused, what is ours in the body's metadata."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.errors import InvalidHint
from sidecar.core.hints import Match, MatchHints, MatchWhen, resolve_hints
from sidecar.core.vocabulary import (
    Complexity,
    DataClassification,
    Hints,
    Operation,
    Quality,
    TaskType,
)


def never() -> tuple[Complexity, str]:
    raise AssertionError("the estimate was not needed")


def resolve(
    headers: dict[str, str] | None = None,
    metadata: dict[str, Any] | None = None,
    *matches: Match,
    **facts: Any,
) -> tuple[Hints, tuple[str, ...]]:
    known: dict[str, Any] = {
        "operation": Operation.CHAT,
        "model": "llama3.2",
        "endpoint": "/v1/chat/completions",
        "batch_size": 1,
        "complexity": lambda: (Complexity.MEDIUM, "5 context documents"),
    }
    return resolve_hints(headers or {}, metadata or {}, matches, **(known | facts))


def hints(*said: Any, **facts: Any) -> Hints:
    return resolve(*said, **facts)[0]


def test_a_call_that_says_nothing() -> None:
    assert resolve() == (
        Hints(
            complexity=Complexity.MEDIUM,
            complexity_why="5 context documents",
            sources={"complexity": "estimated", "quality": "default", "batch_size": "default"},
        ),
        (),
    )


def test_every_hint_as_a_header() -> None:
    headers = {
        "x-sidecar-task-type": "extraction",
        "x-sidecar-data-classification": "internal",
        "x-sidecar-quality": "high",
        "x-sidecar-complexity": "very_high",
        "x-sidecar-batch-size": "20",
        "x-sidecar-session": "s-1",
        "x-sidecar-app": "wiki",
    }
    found = hints(headers, complexity=never)
    assert found == Hints(
        TaskType.EXTRACTION,
        DataClassification.INTERNAL,
        Quality.HIGH,
        Complexity.VERY_HIGH,
        20,
        "s-1",
        "wiki",
        sources=dict.fromkeys(
            ["task_type", "data_classification", "quality", "complexity", "batch_size", "session", "app"],
            "header",
        ),
    )


@pytest.mark.parametrize("key", ["task-type", "task_type", "Task-Type", "TASK_TYPE", "Task_type"])
def test_metadata_in_any_spelling(key: str) -> None:
    found, ours = resolve({}, {key: "research", "user_tier": "gold"})
    assert (found.task_type, found.sources["task_type"], ours) == (TaskType.RESEARCH, "metadata", (key,))


def test_all_our_metadata_is_named_whether_or_not_it_was_heard() -> None:
    metadata = {"quality": "low", "Batch-Size": 12, "trace": "t", "session": None, "data_classification": ""}
    found, ours = resolve({"x-sidecar-quality": "high"}, metadata)
    assert ours == ("quality", "Batch-Size", "session", "data_classification")
    assert (found.quality, found.batch_size, found.session, found.data_classification) == (
        "high",
        12,
        None,
        None,
    )


MATCH = Match(MatchWhen(model="extract-*"), MatchHints(task_type=TaskType.EXTRACTION, quality=Quality.HIGH))


def test_header_before_metadata_before_match_before_default() -> None:
    header, metadata = {"x-sidecar-quality": "critical"}, {"quality": "low"}
    named = {"model": "extract-names"}
    told = [
        hints(header, metadata, MATCH, **named),
        hints({}, metadata, MATCH, **named),
        hints({}, {}, MATCH, **named),
        hints({}, {}, MATCH),
    ]
    assert [(one.quality.value, one.sources["quality"]) for one in told] == [
        ("critical", "header"),
        ("low", "metadata"),
        ("high", "match:1"),
        ("medium", "default"),
    ]


def test_the_first_match_that_gives_a_hint_wins_and_others_add_theirs() -> None:
    second = Match(MatchWhen(), MatchHints(quality=Quality.LOW, complexity=Complexity.HIGH, batch_size=3))
    found = hints({}, {}, MATCH, second, model="extract-x", complexity=never)
    assert found.sources == {
        "task_type": "match:1",
        "quality": "match:1",
        "complexity": "match:2",
        "batch_size": "match:2",
    }


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        (MatchWhen(), True),
        (MatchWhen(model="llama*"), True),
        (MatchWhen(model="LLAMA*"), False),
        (MatchWhen(app="wiki"), True),
        (MatchWhen(app="shop"), False),
        (MatchWhen(endpoint="/v1/*"), True),
        (MatchWhen(endpoint="/api/*"), False),
        (MatchWhen(model="llama*", app="wiki", endpoint="/v1/chat/completions"), True),
        (MatchWhen(model="llama*", app="shop", endpoint="/v1/chat/completions"), False),
    ],
)
def test_all_that_a_match_names_must_fit(when: MatchWhen, fits: bool) -> None:
    found = hints({"x-sidecar-app": "wiki"}, {}, Match(when, MatchHints(quality=Quality.LOW)))
    assert (found.quality is Quality.LOW) is fits


def test_an_app_that_is_not_named_fits_no_app() -> None:
    assert (
        hints({}, {}, Match(MatchWhen(app="w*"), MatchHints(quality=Quality.LOW))).quality is Quality.MEDIUM
    )


CLASSES = st.none() | st.sampled_from(DataClassification)


@given(CLASSES, CLASSES, CLASSES, CLASSES)
def test_the_most_sensitive_classification_wins(
    header: DataClassification | None,
    metadata: DataClassification | None,
    first: DataClassification | None,
    second: DataClassification | None,
) -> None:
    found = hints(
        {"x-sidecar-data-classification": header or ""},
        {"data-classification": metadata},
        Match(MatchWhen(), MatchHints(data_classification=first)),
        Match(MatchWhen(), MatchHints(data_classification=second)),
    )
    said = {"header": header, "metadata": metadata, "match:1": first, "match:2": second}
    most = max((one for one in said.values() if one), key=lambda one: one.rank, default=None)
    assert found.data_classification is most
    assert found.sources.get("data_classification") == next(
        (source for source, one in said.items() if one and one is most), None
    )


def test_two_spellings_of_the_classification_are_both_heard() -> None:
    found, ours = resolve({}, {"data-classification": "public", "data_classification": "hipaa"})
    assert found.data_classification is DataClassification.HIPAA
    assert ours == ("data-classification", "data_classification")


@pytest.mark.parametrize("value", ["hipaa", "HIPAA", " Hipaa "])
def test_values_in_any_case(value: str) -> None:
    assert hints({"x-sidecar-data-classification": value}).data_classification is DataClassification.HIPAA
    assert hints({"x-sidecar-complexity": "Very-High"}).complexity is Complexity.VERY_HIGH


def test_an_embedding_call_is_an_embedding_and_needs_no_estimate() -> None:
    found = hints(operation=Operation.EMBEDDINGS, complexity=never)
    assert (found.task_type, found.complexity) == (TaskType.EMBEDDING, Complexity.LOW)
    assert (found.sources["task_type"], found.sources["complexity"]) == ("default", "default")


def test_a_batch_in_the_body_counts_unless_the_app_says_otherwise() -> None:
    counted = hints(batch_size=96)
    assert (counted.batch_size, counted.sources["batch_size"]) == (96, "estimated")
    told = hints({"x-sidecar-batch-size": "4"}, batch_size=96)
    assert (told.batch_size, told.sources["batch_size"]) == (4, "header")


@pytest.mark.parametrize("blank", ["", "   "])
def test_an_empty_value_counts_as_not_said(blank: str) -> None:
    found = hints(
        {"x-sidecar-quality": blank, "x-sidecar-session": blank}, {"quality": "high", "session": "s"}
    )
    assert (found.quality, found.session) == (Quality.HIGH, "s")


@pytest.mark.parametrize(
    ("header", "value", "words"),
    [
        ("x-sidecar-quality", "hihg",
         "x-sidecar-quality: 'hihg' is not accepted; write low, medium, high, critical; did you mean 'high'"),
        ("x-sidecar-task-type", "chat", "write embedding, extraction, generation, code_generation"),
        ("x-sidecar-data-classification", "secret", "write public, internal, confidential, pii, hipaa"),
        ("x-sidecar-complexity", "9", "write low, medium, high, very_high"),
        ("x-sidecar-batch-size", "0", "'0' is not accepted; write a whole number from 1 to 1,000,000"),
        ("x-sidecar-batch-size", "1000001", "write a whole number from 1 to 1,000,000"),
        ("x-sidecar-batch-size", "1e3", "write a whole number"),
        ("x-sidecar-batch-size", "٣", "write a whole number"),
        ("x-sidecar-session", "s" * 257, "write at most 256 printable characters"),
        ("x-sidecar-app", "a\tb", "write at most 256 printable characters"),
    ],
)  # fmt: skip
def test_a_bad_header_is_refused_with_the_good_values(header: str, value: str, words: str) -> None:
    with pytest.raises(InvalidHint) as refusal:
        hints({header: value})
    assert words in refusal.value.message
    assert (refusal.value.param, refusal.value.status, refusal.value.code) == (header, 400, "invalid_hint")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("Quality", 3, "metadata.Quality: '3' is not accepted; write low"),
        ("batch_size", True, "metadata.batch_size: 'True' is not accepted; write a whole number"),
        ("batch_size", 2.5, "'2.5' is not accepted"),
        ("batch_size", [1], "a list is not accepted"),
        ("session", {"id": "private"}, "metadata.session: a dict is not accepted; write at most 256"),
        ("task-type", ["vision"], "metadata.task-type: a list is not accepted"),
    ],
)
def test_bad_metadata_is_refused_without_repeating_what_it_holds(key: str, value: object, words: str) -> None:
    with pytest.raises(InvalidHint) as refusal:
        hints({}, {key: value})
    assert words in refusal.value.message
    assert "private" not in refusal.value.message
    assert refusal.value.param == f"metadata.{key}"


def test_a_long_bad_value_is_shortened() -> None:
    with pytest.raises(InvalidHint) as refusal:
        hints({"x-sidecar-quality": "x" * 4_000})
    assert f"'{'x' * 39}…'" in refusal.value.message


@pytest.mark.parametrize(("key", "value"), [("session", 42), ("app", 42)])
def test_a_number_may_name_a_session_or_an_app(key: str, value: int) -> None:
    assert getattr(hints({}, {key: value}), key) == "42"


def test_limits_themselves_are_fine() -> None:
    found = hints({"x-sidecar-batch-size": "1000000", "x-sidecar-session": "ü" * 256})
    assert (found.batch_size, found.session) == (1_000_000, "ü" * 256)
