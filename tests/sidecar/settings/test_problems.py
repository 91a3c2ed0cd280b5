"""How problems are worded, placed and kept from being reported twice."""

from __future__ import annotations

import pytest

from sidecar.settings.problems import KeyPath, Problem, Reading, SettingsError, key_text, nearest


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            Problem("a.yaml", 3, "routing.defalt", "unknown key", "one of rules, default", "default"),
            'a.yaml:3: routing.defalt: unknown key; expected one of rules, default; did you mean "default"?',
        ),
        (
            Problem("a.yaml", 3, "tiers", "no tier", "at least one"),
            "a.yaml:3: tiers: no tier; expected at least one",
        ),
        (Problem("a.yaml", 0, "", "Is a directory"), "a.yaml: Is a directory"),
    ],
)
def test_a_problem_is_one_line(problem: Problem, words: str) -> None:
    assert str(problem) == words


def test_an_error_lists_its_problems_from_the_top_of_the_file() -> None:
    error = SettingsError([Problem("f", 9, "b", "x"), Problem("f", 2, "c", "x"), Problem("f", 9, "a", "x")])
    assert str(error) == "f:2: c: x\nf:9: b: x\nf:9: a: x"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("routing", "rules", 0, "tier"), "routing.rules[0].tier"),
        (("tiers", "a-b"), "tiers.a-b"),
    ],
)
def test_key_paths_read_as_they_would_be_written(path: KeyPath, text: str) -> None:
    assert key_text(path) == text


def test_a_key_that_is_not_there_is_placed_where_it_would_stand() -> None:
    reading = Reading("f")
    reading.place(("tiers",), 4)
    reading.place(("tiers", "a"), 5)
    reading.refuse(("tiers", "a", "models", "default"), "missing")
    reading.refuse(("rollout", "percent"), "missing")
    assert [problem.line for problem in reading.problems] == [5, 1]


def test_what_is_broken_taints_what_is_above_and_below_but_not_beside() -> None:
    reading = Reading("f")
    reading.refuse(("rules", 1, "when"), "no")
    assert not reading.sound(("rules",))
    assert not reading.sound(("rules", 1, "when", "quality"))
    assert not reading.sound(("listen",), ("rules", 1))
    assert reading.sound(("rules", 10), ("rules", 1, "tier"))
    reading.distrust(("listen", "port"))
    assert not reading.sound(("listen",))
    assert len(reading.problems) == 1


def test_values_are_quoted_on_one_line_and_cut() -> None:
    reading = Reading("f")
    assert reading.show(("a",), "x\n  y") == '"x y"'
    assert len(reading.show(("a",), "x" * 500)) < 100
    reading.filled_in(("a",), "${A}")
    assert reading.show(("a",), "x") == "the value of ${A}"


@pytest.mark.parametrize(
    ("word", "near"), [("lcal", "local"), ("LOCAL", "local"), ("utc", "UTC"), ("openai", ""), ("", "")]
)
def test_the_nearest_word(word: str, near: str) -> None:
    assert nearest(word, ["local", "cloud", "UTC"]) == near
