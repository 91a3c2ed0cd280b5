"""A task says what is wrong with it before anything is sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sidecar.client import (
    AegisLLMProxy,
    Complexity,
    DataClassification,
    InvalidTask,
    LLMTask,
    QualityRequirement,
    TaskType,
)
from sidecar.core import vocabulary


def test_the_words_are_the_sidecars_own() -> None:
    assert TaskType is vocabulary.TaskType
    assert DataClassification is vocabulary.DataClassification
    assert QualityRequirement is vocabulary.Quality
    assert Complexity is vocabulary.Complexity


def test_hints_may_be_members_or_words() -> None:
    task = LLMTask(task_type="Code-Generation", prompt="x", quality=" HIGH ", complexity="very-high")
    assert task == LLMTask(
        task_type=TaskType.CODE_GENERATION,
        prompt="x",
        quality_requirement=QualityRequirement.HIGH,
        complexity=Complexity.VERY_HIGH,
    )
    assert task.quality is task.quality_requirement is QualityRequirement.HIGH
    assert dataclasses.replace(task, prompt="y").quality_requirement is QualityRequirement.HIGH


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "either a prompt or messages"),
        ({"prompt": "x", "messages": []}, "either a prompt or messages"),
        ({"prompt": "x", "quality": "best"}, "quality: 'best' is not accepted; write low, medium,"),
        ({"prompt": "x", "quality_requirement": "best"}, "write low, medium, high, critical"),
        ({"prompt": "x", "task_type": 7}, "task_type: 7 is not accepted; write embedding, extraction"),
        ({"prompt": "x", "data_classification": "secret"}, "public, internal, confidential, pii, hipaa"),
        ({"prompt": "x", "quality": "low", "quality_requirement": "high"}, "are the same hint"),
        ({"prompt": "x", "extra_body": {"stream": True}}, "must not hold stream"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_cure(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidTask, match=words) as caught:
        LLMTask(**fields)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (LLMTask(task_type=TaskType.EMBEDDING, prompt="x"), "use embed"),
        (LLMTask(prompt="x", temperature=float("nan")), "cannot be written as JSON"),
        (LLMTask(prompt="x", metadata={"when": object()}), "cannot be written as JSON"),
        (LLMTask(prompt="\ud800"), "cannot be written as JSON"),
    ],
)
async def test_what_cannot_be_sent_is_not(task: LLMTask, words: str) -> None:
    async with AegisLLMProxy("http://127.0.0.1:9") as proxy:
        with pytest.raises(InvalidTask, match=words):
            await proxy.generate(task)
        with pytest.raises(InvalidTask, match=words):
            proxy.generate_stream(task)
        with pytest.raises(InvalidTask, match="at least one text"):
            await proxy.embed([])
