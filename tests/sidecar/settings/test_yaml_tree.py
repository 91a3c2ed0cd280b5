"""Reading YAML: kinds of scalars, references to the environment, words for broken syntax."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings.problems import SettingsError
from sidecar.settings.yaml_tree import (
    Kind,
    MalformedReference,
    Scalar,
    UnsetVariable,
    interpolate,
    parse_tree,
    read_scalar,
)


def scalar(written: str, environ: dict[str, str] | None = None) -> Scalar:
    node = parse_tree(written, "f")
    assert isinstance(node, yaml.ScalarNode)
    return read_scalar(node, environ or {})


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("~", Kind.NOTHING),
        ("null", Kind.NOTHING),
        ("true", Kind.TRUTH_VALUE),
        ("False", Kind.TRUTH_VALUE),
        ("no", Kind.YES_OR_NO),
        ("ON", Kind.YES_OR_NO),
        ("12", Kind.WHOLE_NUMBER),
        ("-012", Kind.WHOLE_NUMBER),
        ("1.5", Kind.NUMBER),
        ("1e3", Kind.NUMBER),
        (".5", Kind.NUMBER),
        ("1:30", Kind.TEXT),
        ("1_000", Kind.TEXT),
        ("0x1f", Kind.TEXT),
        (".inf", Kind.TEXT),
        (".nan", Kind.TEXT),
        ("2024-01-01", Kind.TEXT),
        ("'12'", Kind.TEXT),
        ('"true"', Kind.TEXT),
        ("''", Kind.TEXT),
    ],
)
def test_scalars_are_told_apart_as_in_yaml_1_2(written: str, kind: Kind) -> None:
    assert scalar(written).kind is kind


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("${SET}", "value"),
        ("${EMPTY}", ""),
        ("${UNSET:-}", ""),
        ("${UNSET:-a b:c}", "a b:c"),
        ("${EMPTY:-default}", "default"),
        ("${SET:-default}", "value"),
        ("<${SET}-${UNSET:-x}>", "<value-x>"),
        ("$${SET}", "${SET}"),
        ("$$${SET}", "$${SET}"),
        ("${SET}$${SET}", "value${SET}"),
        ("$SET $ {SET} }", "$SET $ {SET} }"),
        ("${NESTED}", "${SET}"),
    ],
)
def test_references(written: str, text: str) -> None:
    assert interpolate(written, {"SET": "value", "EMPTY": "", "NESTED": "${SET}"}) == text


@pytest.mark.parametrize("written", ["${}", "${1A}", "${A", "${A:default}", "${A-default}", "${ A }", "x ${"])
def test_a_reference_that_names_no_variable_is_malformed(written: str) -> None:
    with pytest.raises(MalformedReference):
        interpolate(written, {"A": "1"})


def test_an_unset_variable_is_named_with_the_nearest_one_that_is_set() -> None:
    with pytest.raises(UnsetVariable) as unset:
        interpolate("${OPENAI_KEY}", {"OPENAI_API_KEY": "x", "HOME": "y"})
    assert (unset.value.name, unset.value.near) == ("OPENAI_KEY", "OPENAI_API_KEY")


@given(st.text())
def test_values_go_in_untouched(value: str) -> None:
    assert interpolate("${V}", {"V": value}) == value


@given(st.text(alphabet="${}:-AV "))
def test_an_escaped_text_comes_back(text: str) -> None:
    assert interpolate(text.replace("${", "$${"), {}) == text


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ("${V}", "12", Scalar("12", Kind.WHOLE_NUMBER, "${V}", alone=True)),
        ('"${V}"', "12", Scalar("12", Kind.WHOLE_NUMBER, "${V}", alone=True)),
        ("${V:-x}", "", Scalar("x", Kind.TEXT, "${V:-x}", alone=True)),
        ("1${V}", "2", Scalar("12", Kind.TEXT, "1${V}")),
        ("${V}${V}", "1", Scalar("11", Kind.TEXT, "${V}${V}")),
        ("$${V}", "1", Scalar("${V}", Kind.TEXT)),
    ],
)
def test_only_a_reference_that_stands_alone_has_a_kind_of_its_own(
    written: str, value: str, expected: Scalar
) -> None:
    assert scalar(written, {"V": value}) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "f:1: mapping values are not allowed here; expected valid YAML"),
        (
            "a:\n  b: 1\n c: 2",
            "f:3: expected <block end>, but found '<block mapping start>'; expected valid YAML",
        ),
        (
            "a: 1\nlisten: {port: ${PORT}}",
            "f:2: expected ',' or '}', but got '{'; expected valid YAML: "
            'inside { } and [ ] a reference needs quotes, as in "${VAR}"',
        ),
        ("a: *b", "f:1: found undefined alias 'b'; expected valid YAML"),
        ("a: 1\n---\nb: 2", "f:2: but found another document; expected valid YAML"),
        ("[" * 1000, "f: brackets within brackets without end"),
        ("a: 1\nb: \0", "f:2: a control character; expected printable text"),
    ],
)
def test_broken_syntax_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_tree(text, "f")
    assert str(refused.value) == words


def test_an_empty_document_has_no_tree() -> None:
    assert parse_tree("# nothing\n", "f") is None
