"""Decoding: each wrong type and range, with its line, its key and what was expected."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest

from sidecar.core.vocabulary import Quality
from sidecar.settings.decode import decode
from sidecar.settings.problems import Reading
from sidecar.settings.yaml_tree import parse_tree


class Inner(msgspec.Struct, frozen=True):
    needed: str
    spare: Annotated[str, msgspec.Meta(extra={"left_out": "${SPARE:-tyre}"})] = ""


class Section(msgspec.Struct, frozen=True):
    spare: Annotated[str, msgspec.Meta(extra={"left_out": "${SPARE:-tyre}"})] = ""


class Sample(msgspec.Struct, frozen=True):
    text: str = "default"
    count: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0
    share: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    flag: bool = False
    usd: Decimal = Decimal(0)
    mode: Literal["slow", "fast"] = "slow"
    quality: Quality | None = None
    names: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("a",)
    table: dict[str, int] = {}
    inner: Inner | Literal["none"] | None = None
    inners: tuple[Inner, ...] = ()
    loose: str | int | list[str] = 0
    exact: float | str | None = None
    secret: Annotated[str, msgspec.Meta(extra={"secret": True})] = ""
    code: Annotated[str, msgspec.Meta(pattern="[a-z]{3}", description="three letters")] = "abc"
    section: Section = Section()
    origin: Annotated[str, msgspec.Meta(extra={"filled_in": True})] = "by the loader"


def read(text: str, environ: dict[str, str] | None = None) -> tuple[Sample, list[str]]:
    reading = Reading("f")
    sample = decode(parse_tree(text, "f"), Sample, reading, environ or {})
    return sample, [str(problem).removeprefix("f:") for problem in reading.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text: plain", Sample(text="plain")),
        ("text: 'yes'", Sample(text="yes")),
        ("text: no", Sample(text="no")),
        ("text: 2024-01-01", Sample(text="2024-01-01")),
        ("text: ''", Sample(text="")),
        ("text:", Sample()),
        ("count: 9", Sample(count=9)),
        ("share: 2", Sample(share=2.0)),
        ("share: 1e-3", Sample(share=0.001)),
        ("flag: true", Sample(flag=True)),
        ("flag: Yes", Sample(flag=True)),
        ("flag: off", Sample(flag=False)),
        ("usd: 0.10", Sample(usd=Decimal("0.10"))),
        ("usd: '3'", Sample(usd=Decimal(3))),
        ("mode: fast", Sample(mode="fast")),
        ("quality: high", Sample(quality=Quality.HIGH)),
        ("quality: null", Sample()),
        ("names: [b, c]", Sample(names=("b", "c"))),
        ("table: {x: 1, 2: 3}", Sample(table={"x": 1, "2": 3})),
        ("inner: none", Sample(inner="none")),
        ("inner: {needed: x, spare: y}", Sample(inner=Inner("x", "y"))),
        ("inners: [{needed: x}]", Sample(inners=(Inner("x", "tyre"),))),
        ("loose: 3", Sample(loose=3)),
        ("loose: three", Sample(loose="three")),
        ("loose: [a, b]", Sample(loose=["a", "b"])),
        ("exact: 0.30", Sample(exact="0.30")),
        ("exact: 3", Sample(exact="3")),
        ("exact: x", Sample(exact="x")),
        ("code: xyz", Sample(code="xyz")),
        ("inners: [&a {needed: x, spare: y}, *a]", Sample(inners=(Inner("x", "y"), Inner("x", "y")))),
        ("", Sample()),
    ],
)
def test_values_become_what_their_key_wants(text: str, expected: Sample) -> None:
    sample, problems = read(text)
    assert problems == []
    assert sample == msgspec.structs.replace(expected, section=Section("tyre"))
    assert [type(value) for value in values(sample)] == [type(value) for value in values(expected)]


def values(sample: Sample) -> list[Any]:
    return [getattr(sample, name) for name in Sample.__struct_fields__]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("text: 5", '1: text: the number "5"; expected text'),
        ("text: true", '1: text: the truth value "true"; expected text'),
        ("text: [a]", "1: text: a list; expected text"),
        ("text: {a: b}", "1: text: a mapping; expected text"),
        ("count: ten", '1: count: the text "ten"; expected a whole number from 0 to 9'),
        ("count: '5'", '1: count: the text "5"; expected a whole number from 0 to 9'),
        ("count: 5.0", '1: count: the decimal number "5.0"; expected a whole number from 0 to 9'),
        ("count: true", '1: count: the truth value "true"; expected a whole number from 0 to 9'),
        ("count: 10", '1: count: the number "10"; expected a whole number from 0 to 9'),
        ("count: -1", '1: count: the number "-1"; expected a whole number from 0 to 9'),
        (f"count: {'9' * 21}", f'1: count: the number "{"9" * 21}"; expected a whole number from 0 to 9'),
        ("share: 0", '1: share: the number "0"; expected a number above 0'),
        ("share: .inf", '1: share: the text ".inf"; expected a number above 0'),
        ("share: 1e999", '1: share: the decimal number "1e999"; expected a number above 0'),
        ("flag: 1", '1: flag: the number "1"; expected true or false'),
        ("flag: 'true'", '1: flag: the text "true"; expected true or false'),
        ("usd: lots", '1: usd: the text "lots"; expected an amount such as 80 or 0.015'),
        ("usd: .nan", '1: usd: the text ".nan"; expected an amount such as 80 or 0.015'),
        ("usd: true", '1: usd: the truth value "true"; expected an amount such as 80 or 0.015'),
        ("mode: fats", '1: mode: the text "fats"; expected one of fast, slow; did you mean "fast"?'),
        (
            "quality: hihg",
            '1: quality: the text "hihg"; expected one of low, medium, high, critical; did you mean "high"?',
        ),
        ("names: a", '1: names: the text "a"; expected a list'),
        ("names: []", "1: names: an empty list; expected at least one entry"),
        ("names:\n- a\n- 5", '3: names[1]: the number "5"; expected text'),
        ("names: [null]", "1: names[0]: nothing; expected text"),
        ("table: [a]", "1: table: a list; expected a mapping"),
        ("table:\n  x: y", '2: table.x: the text "y"; expected a whole number'),
        ("table: {x: }", "1: table.x: nothing; expected a whole number"),
        ("inner: some", '1: inner: the text "some"; expected a mapping or none'),
        ("inner:\n  spare: x", "1: inner.needed: missing; expected text"),
        ("inner: {needed: }", "1: inner.needed: missing; expected text"),
        ("inners:\n- needed: x\n- spare: y", "3: inners[1].needed: missing; expected text"),
        ("loose: 1.5", '1: loose: the decimal number "1.5"; expected text or a whole number or a list'),
        ("exact: true", '1: exact: the truth value "true"; expected a number or text'),
        ("secret: 12345", "1: secret: the number; expected text"),
        ("secret: [sk-1]", "1: secret: a list; expected text"),
        ("code: abcd", '1: code: the text "abcd"; expected three letters'),
        ('code: "abc\\n"', '1: code: the text "abc"; expected three letters'),
        ("section: x", '1: section: the text "x"; expected a mapping'),
        ("text: !!int 5", "1: text: the YAML tag tag:yaml.org,2002:int; expected a value without a tag"),
        ("text: a\ntext: b", "2: text: a second time, first on line 1; expected each key once"),
        ("table:\n  x: 1\n  x: 2", "3: table.x: a second time, first on line 2; expected each key once"),
        ("? [a, b]\n: c", "1: a list as a key; expected text"),
        ("[a, b]", "1: a list; expected a mapping"),
        (
            "text: ${",
            "1: text: a ${ that names no variable; expected ${VAR}, ${VAR:-default}, or $${ for a plain ${",
        ),
        ("count: ${NINE}0", "1: count: the value of ${NINE}0; expected a whole number from 0 to 9"),
        ("count: '${TEN}'", "1: count: the value of ${TEN}; expected a whole number from 0 to 9"),
        ("mode: ${TEN}", "1: mode: the value of ${TEN}; expected one of fast, slow"),
    ],
)
def test_refusals(text: str, problem: str) -> None:
    _, problems = read(text, {"NINE": "9", "TEN": "10"})
    assert problems == [problem]


KEYS = ", ".join(name for name in Sample.__struct_fields__ if name != "origin")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("txet: a", f'1: txet: unknown key; expected one of {KEYS}; did you mean "text"?'),
        ("12: a", f"1: 12: unknown key; expected one of {KEYS}"),
        ("origin: a", f"1: origin: unknown key; expected one of {KEYS}"),
        (
            "inner: {neded: a}",
            '1: inner.neded: unknown key; expected one of needed, spare; did you mean "needed"?',
        ),
    ],
)
def test_unknown_keys_are_refused_once_with_the_key_that_was_meant(text: str, problem: str) -> None:
    _, problems = read(text)
    assert problems == [problem]


def test_everything_is_reported_in_one_go() -> None:
    _, problems = read("count: x\nflag: x\ninners:\n- {}\n- {needed: 1, spare: 2}\nmode: x")
    assert [problem.split(":")[0] for problem in problems] == ["1", "2", "4", "5", "5", "6"]


def test_keys_that_are_left_out_take_their_defaults_from_the_environment() -> None:
    sample, problems = read("inner: {needed: x}", {"SPARE": "wheel"})
    assert problems == []
    assert sample.section == Section("wheel")
    assert sample.inner == Inner("x", "wheel")


def test_a_reference_alone_may_be_anything_and_text_too() -> None:
    environ = {"N": "7", "F": "0.25", "B": "on", "W": "fast"}
    sample, problems = read(
        "{text: '${N}', count: '${N}', share: '${F}', flag: '${B}', usd: '${F}', mode: '${W}'}", environ
    )
    assert problems == []
    assert sample == Sample(
        text="7", count=7, share=0.25, flag=True, usd=Decimal("0.25"), mode="fast", section=Section("tyre")
    )
