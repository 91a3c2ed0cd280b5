"""What the scripted upstream says is deterministic, priced by its own rule, and fits what was asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.demo.scripted.script import Prompt, Script, Style, Tool, count_tokens, embed, sample

ECHO = Script("openai", Style.ECHO)


@given(st.text())
def test_tokens_never_outnumber_bytes(text: str) -> None:
    assert 0 <= count_tokens(text) <= len(text.encode())
    assert (count_tokens(text) == 0) == (text == "")


@given(question=st.text(), limit=st.integers(1, 60), think=st.booleans(), style=st.sampled_from(Style))
def test_an_answer_costs_its_text_and_keeps_to_the_limit(
    question: str, limit: int, think: bool, style: Style
) -> None:
    prompt = Prompt([question], question, messages=1, limit=limit, think=think)
    generation = Script("x", style).generate(prompt)

    assert generation == Script("x", style).generate(prompt)
    (choice,) = generation.choices
    said = choice.thinking_text + choice.text
    assert choice.tokens == (len(said) if style is Style.GREEDY else count_tokens(said))
    assert choice.tokens <= limit
    assert generation.tokens.output == choice.tokens
    assert style is not Style.GREEDY or choice.tokens == limit


def test_different_questions_have_answers_of_different_lengths() -> None:
    questions = [f"question number {number}" for number in range(20)]
    lengths = {len(ECHO.generate(Prompt([q], q)).choices[0].text.split()) for q in questions}
    assert len(lengths) > 5


def test_demo_answers_say_that_they_are_scripted() -> None:
    script = Script("openai", Style.DEMO)
    for question in ("Rewrite this", "Summarise this", "anything else"):
        assert script.generate(Prompt([question], question)).choices[0].text.startswith("[scripted openai] ")


def test_a_limit_that_cuts_a_tool_call_is_marked() -> None:
    tool = Tool("find", {"type": "object", "properties": {"name": {"type": "string"}}})
    (whole,) = ECHO.generate(Prompt([], "q", tool=tool)).choices
    (cut,) = ECHO.generate(Prompt([], "q", tool=tool, limit=2)).choices
    assert msgspec.json.decode(whole.text) == {"name": "scripted"}
    assert not whole.cut_by_limit
    assert cut.cut_by_limit
    assert whole.text.startswith(cut.text)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "scripted"),
        ({"type": ["integer", "null"]}, 1),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "number"}}, [0.5]),
        ({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"enum": ["x", "y"]}}}, {"a": "x"}),
    ],
)
def test_samples_fit_their_schema(schema: dict[str, Any], value: Any) -> None:
    assert sample(schema) == value


def test_what_the_question_names_is_what_a_tool_is_called_with() -> None:
    kinds = {"name": {"type": "string"}, "count": {"type": "integer"}}
    tool = Tool("order", {"type": "object", "properties": kinds})
    (choice,) = ECHO.generate(Prompt([], "Order 3 of 'die große Säge', it's for v2.5", tool=tool)).choices
    assert msgspec.json.decode(choice.text) == {"name": "die große Säge", "count": 3}
    (choice,) = ECHO.generate(Prompt([], "Answer with 'who' and 'why'.", schema={})).choices
    assert msgspec.json.decode(choice.text).keys() == {"who", "why"}


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    assert "next" in sample({"$ref": "#/$defs/Node", "$defs": {"Node": node}})


def test_vectors_depend_on_model_and_text() -> None:
    assert embed("a", "text", 16) == embed("a", "text", 16)
    assert embed("a", "text", 16) != embed("b", "text", 16)
    assert embed("a", "text", 16) != embed("a", "other", 16)
