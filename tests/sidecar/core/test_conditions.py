"""Conditions of routing rules: what they accept, what they say, what they refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.conditions import clip, describe_condition, parse_condition
from sidecar.core.vocabulary import Complexity, DataClassification, Ordered, Quality, TaskType


def accepted(key: str, value: object, among: list[object]) -> list[object]:
    condition = parse_condition(key, value)
    return [one for one in among if condition.accepts(one)]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("high", ["high"]),
        (">=high", ["high", "critical"]),
        (">high", ["critical"]),
        ("<=high", ["low", "medium", "high"]),
        ("<high", ["low", "medium"]),
        (" >= high ", ["high", "critical"]),
    ],
)
def test_ordered_values_and_their_bounds(value: str, good: list[str]) -> None:
    assert accepted("quality", value, [*Quality, None]) == good


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (10, [10]),
        ("10", [10]),
        (">10", [11, 500]),
        (">=10", [10, 11, 500]),
        ("<10", [1, 9]),
        ("<=10", [1, 9, 10]),
    ],
)
def test_batch_sizes_and_their_bounds(value: object, good: list[int]) -> None:
    assert accepted("batch_size", value, [1, 9, 10, 11, 500]) == good


def test_task_types_alone_or_in_a_list() -> None:
    every = [*TaskType, None]
    assert accepted("task_type", "vision", every) == [TaskType.VISION]
    assert accepted("task_type", ["vision", "research"], every) == [TaskType.RESEARCH, TaskType.VISION]


@pytest.mark.parametrize(
    ("glob", "good"),
    [
        ("gpt-*", ["gpt-4o", "gpt-"]),
        ("GPT-*", []),
        (["gpt-?o", "*/x"], ["gpt-4o", "a/x"]),
        ("*", ["gpt-4o", "gpt-", "a/x", ""]),
        ("[ag]*", ["gpt-4o", "gpt-", "a/x"]),
    ],
)
@pytest.mark.parametrize("key", ["model", "app"])
def test_globs_heed_case_and_what_nobody_named_meets_none(key: str, glob: object, good: list[str]) -> None:
    assert accepted(key, glob, ["gpt-4o", "gpt-", "a/x", "", None]) == good


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("quality", "critical", "quality is critical"),
        ("quality", ">=high", "quality is high or better"),
        ("quality", ">high", "quality is better than high"),
        ("quality", "<=medium", "quality is medium or worse"),
        ("complexity", ">=very_high", "complexity is very high or higher"),
        ("complexity", "<high", "complexity is lower than high"),
        ("data_classification", "<=internal", "data classification is internal or less sensitive"),
        ("data_classification", ">public", "data classification is more sensitive than public"),
        ("batch_size", 10, "batch size is 10"),
        ("batch_size", ">10", "batch size is more than 10"),
        ("batch_size", ">=10", "batch size is at least 10"),
        ("batch_size", "<10", "batch size is less than 10"),
        ("batch_size", "<=10", "batch size is at most 10"),
        ("task_type", "code_generation", "task type is code generation"),
        ("task_type", ["vision", "research", "extraction"], "task type is vision, research or extraction"),
        ("model", "gpt-*", "model matches gpt-*"),
        ("app", ["wiki", "shop_*"], "app matches wiki or shop_*"),
    ],
)
def test_a_condition_in_plain_words(key: str, value: object, words: str) -> None:
    assert describe_condition(key, value) == words


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("quality", "hihg", "'hihg' is no quality; write low, medium, high or critical, or a bound such as "
                            "\">=medium\"; did you mean 'high'?"),
        ("quality", "=high", "did you mean 'high'"),
        ("quality", "HIGH", "did you mean 'high'"),
        ("quality", 3, "3 is no quality; write low, medium, high or critical"),
        ("quality", ["high", "critical"], "is no quality"),
        ("quality", "", "'' is no quality"),
        ("quality", ">critical", "nothing can meet '>critical': no quality is better than critical"),
        ("complexity", "very-high", "did you mean 'very_high'"),
        ("complexity", "<low", "no complexity is lower than low"),
        ("data_classification", "secret", "write public, internal, confidential, pii or hipaa"),
        ("batch_size", "many", "'many' is no batch size; write a number such as 10, or a bound such as"),
        ("batch_size", True, "True is no batch size"),
        ("batch_size", 1.5, "1.5 is no batch size"),
        ("batch_size", -3, "'-3' is no batch size"),
        ("batch_size", ">", "'>' is no batch size"),
        ("batch_size", "²", "is no batch size"),
        ("batch_size", "<1", "nothing can meet '<1': batch sizes go from 1 to 1,000,000"),
        ("batch_size", 0, "nothing can meet 0"),
        ("batch_size", ">1000000", "nothing can meet '>1000000'"),
        ("batch_size", "9" * 5_000, "is no batch size"),
        ("task_type", "summarisation", "did you mean 'summarization'"),
        ("task_type", [], "an empty list can never be met; write one or a list of embedding"),
        ("task_type", ["vision", 3], "3 is not accepted here"),
        ("model", "", "'' is not accepted here; write a pattern such as \"gpt-*\""),
        ("model", 5, "5 is not accepted here"),
        ("app", {"a": 1}, "is not accepted here"),
        ("qualty", "high", "there is no condition 'qualty'; write quality, complexity, data_classification, "
                           "batch_size, task_type, model or app; did you mean 'quality'?"),
        ("task-type", "vision", "did you mean 'task_type'"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_wrong_what_is_accepted_and_what_is_near(
    key: str, value: object, words: str
) -> None:
    with pytest.raises(ValueError) as refusal:
        parse_condition(key, value)
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "kind"),
    [("quality", Quality), ("complexity", Complexity), ("data_classification", DataClassification)],
)
def test_a_bound_and_its_opposite_share_the_values_between_them(key: str, kind: type[Ordered]) -> None:
    members: list[object] = list(kind)
    for one in list(kind)[1:]:
        below, from_there = accepted(key, f"<{one}", members), accepted(key, f">={one}", members)
        assert below + from_there == members
        assert accepted(key, f"<={one}", members) == [*below, one]
        assert accepted(key, one.value, members) == [one]


@given(
    st.sampled_from(
        ["quality", "complexity", "data_classification", "batch_size", "task_type", "model", "no"]
    ),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.lists(st.text(max_size=9)),
)
def test_any_value_is_read_or_refused_in_words(key: str, value: object) -> None:
    try:
        words = describe_condition(key, value)
    except ValueError as refusal:
        words = str(refusal)
    assert words


def test_clip_keeps_to_its_limit() -> None:
    assert clip("short") == "short"
    assert clip("x" * 80) == "x" * 80
    assert clip("x" * 81) == "x" * 79 + "…"
