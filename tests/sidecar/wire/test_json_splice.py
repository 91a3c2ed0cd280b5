"""Splicing changes what it is told to and no other byte."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.json_splice import DuplicateKeyError, spans, splice, splice_nested

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(max_size=10), VALUES, max_size=8)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", " :\r\n ")])


@given(fields=OBJECTS, separators=SEPARATORS, escape=st.booleans(), data=st.data())
def test_splicing_equals_changing_the_decoded_object(
    fields: dict[str, object], separators: tuple[str, str], escape: bool, data: st.DataObject
) -> None:
    body = json.dumps(fields, separators=separators, ensure_ascii=escape).encode("utf-8", "surrogatepass")
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return  # lone surrogates are refused long before
    names = st.sampled_from(sorted(fields)) if fields else st.nothing()
    changes = data.draw(st.dictionaries(names | st.text(max_size=5), st.none() | VALUES, max_size=5))
    encoded = {k: None if v is None else msgspec.json.encode(v) for k, v in changes.items()}
    expected = {k: v for k, v in fields.items() if k not in changes or changes[k] is not None}
    expected |= {k: v for k, v in changes.items() if v is not None}
    assert json.loads(splice(body, encoded)) == expected


@given(fields=OBJECTS, separators=SEPARATORS)
def test_spans_point_at_the_values(fields: dict[str, object], separators: tuple[str, str]) -> None:
    body = json.dumps(fields, separators=separators).encode()
    if b"\\ud" in body:
        return
    assert {k: json.loads(body[s.value_start : s.value_end]) for k, s in spans(body).items()} == fields


@pytest.mark.parametrize(
    ("body", "changes", "expected"),
    [
        (b'{ "model" : "a" , "n":1.50 }', {"model": b'"b"'}, b'{ "model" : "b" , "n":1.50 }'),
        (b'{"a": 1, "b": 2, "c": 3}', {"b": None}, b'{"a": 1, "c": 3}'),
        (b'{"a": 1, "b": 2, "c": 3}', {"b": None, "c": None}, b'{"a": 1}'),
        (b'{"a": 1, "b": 2}', {"a": None, "b": None}, b"{}"),
        (b'{"a":1}', {"a": None, "x": b"2"}, b'{"x":2}'),
        (b"{}", {"x": b"2"}, b'{"x":2}'),
        (b'{"a":{"x":"}"}}', {"z": b"[1]"}, b'{"a":{"x":"}"},"z":[1]}'),
        (b'{"a\\"}":1,"b":"\\\\"}', {"b": b"0"}, b'{"a\\"}":1,"b":0}'),
        (
            b'{"big":12345678901234567890123,"e":1E+2,"model":"a"}',
            {"model": b'"b"'},
            b'{"big":12345678901234567890123,"e":1E+2,"model":"b"}',
        ),
    ],
)
def test_other_bytes_stay(body: bytes, changes: dict[str, bytes | None], expected: bytes) -> None:
    assert splice(body, changes) == expected


@pytest.mark.parametrize(
    "body", [b'{"a":1,"a":1}', b'{"a":1,"a":2}', b'{"a":1,"b":3,"a":1}', b'{"a":1,"\\u0061":1}']
)
def test_a_repeated_key_is_refused(body: bytes) -> None:
    with pytest.raises(DuplicateKeyError, match="twice"):
        spans(body)


def test_a_nested_change_keeps_the_rest_of_the_inner_object() -> None:
    body = b'{"options": {"seed": 7,  "num_predict": 900}, "x": 1}'
    assert splice_nested(body, "options", {"num_predict": b"5"}) == b'{"seed": 7,  "num_predict": 5}'
    assert splice_nested(body, "missing", {"num_predict": b"5"}) == b'{"num_predict":5}'
    assert splice_nested(body, "x", {"num_predict": b"5"}) == b'{"num_predict":5}'
