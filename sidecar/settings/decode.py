"""Turns a YAML tree into the Structs of the settings, led by their types, gathering every problem.

``msgspec.convert`` stops at the first mistake and knows no lines; an operator wants all of them, each
with its line. So the tree is walked along what ``msgspec.inspect`` says of the Structs: their fields,
types, ranges (``msgspec.Meta``) and these marks in ``Meta.extra``:

``secret``      the value is never quoted
``left_out``    text with ``${VAR}`` that stands in for a key that is left out
``filled_in``   the field is no key of the file; the loader sets it
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeVar, cast

import msgspec
import yaml
from msgspec import inspect as types

from sidecar.settings.problems import KeyPath, Reading, nearest
from sidecar.settings.yaml_tree import (
    Kind,
    MalformedReference,
    Scalar,
    UnsetVariable,
    interpolate,
    kind_of,
    read_scalar,
)

S = TypeVar("S", bound=msgspec.Struct)


def decode(root: yaml.Node | None, wanted: type[S], reading: Reading, environ: Mapping[str, str]) -> S:
    """The Struct ``wanted`` that ``root`` describes.

    Problems are added to ``reading``. When there are any, the result has placeholders in it: good for
    looking on, not for use.
    """
    return cast(S, _Decoder(reading, environ).value(root or _EMPTY, types.type_info(wanted), ()))


class _Decoder:
    def __init__(self, reading: Reading, environ: Mapping[str, str]) -> None:
        self._reading = reading
        self._environ = environ

    def value(self, node: yaml.Node, wanted: types.Type, path: KeyPath) -> Any:
        """What ``node`` stands for as a ``wanted``, or a placeholder once a problem has been noted."""
        if node.tag not in _UNTAGGED:
            self._reading.refuse(path, f"the YAML tag {node.tag}", "a value without a tag")
            return _placeholder(wanted)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, wanted, path)
        for option in _options(wanted):
            match node, option:
                case yaml.MappingNode(), types.StructType():
                    return self._struct(node, option, path)
                case yaml.MappingNode(), types.DictType():
                    return self._dict(node, option, path)
                case yaml.SequenceNode(), types.VarTupleType() | types.ListType():
                    return self._list(node, option, path)
        self._reading.refuse(path, _SHAPES[type(node)], _words(wanted))
        return _placeholder(wanted)

    def _struct(self, node: yaml.MappingNode, wanted: types.StructType, path: KeyPath) -> msgspec.Struct:
        fields = {field.name: field for field in wanted.fields if not _mark(field.type, "filled_in")}
        values: dict[str, Any] = {}
        for key, child in self._pairs(node, path):
            if key not in fields:
                near = nearest(key, fields)
                expected = "one of " + ", ".join(fields)
                self._reading.refuse((*path, key), "unknown key", expected, suggestion=near)
                if near:
                    self._reading.distrust((*path, near))
            elif not _is_nothing(child):
                values[key] = self.value(child, fields[key].type, (*path, key))
        left_out = [field for name, field in fields.items() if name not in values]
        values.update((field.name, self._left_out(field, path)) for field in left_out)
        return wanted.cls(**values)

    def _left_out(self, field: types.Field, path: KeyPath) -> Any:
        stand_in = _mark(field.type, "left_out")
        if stand_in:
            return interpolate(stand_in, self._environ)
        if field.required:
            if self._reading.sound((*path, field.name)):
                self._reading.refuse((*path, field.name), "missing", _words(field.type))
            return _placeholder(field.type)
        if isinstance(field.default, msgspec.Struct):
            # a whole section: some of its keys may take their defaults from the environment
            return self.value(_EMPTY, field.type, (*path, field.name))
        return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()

    def _dict(self, node: yaml.MappingNode, wanted: types.DictType, path: KeyPath) -> dict[str, Any]:
        return {
            key: self.value(child, wanted.value_type, (*path, key)) for key, child in self._pairs(node, path)
        }

    def _list(
        self, node: yaml.SequenceNode, wanted: types.VarTupleType | types.ListType, path: KeyPath
    ) -> tuple[Any, ...] | list[Any]:
        if len(node.value) < (wanted.min_length or 0):
            self._reading.refuse(path, "an empty list", "at least one entry")
        items = []
        for index, child in enumerate(node.value):
            self._reading.place((*path, index), child.start_mark.line + 1)
            items.append(self.value(child, wanted.item_type, (*path, index)))
        return items if isinstance(wanted, types.ListType) else tuple(items)

    def _pairs(self, node: yaml.MappingNode, path: KeyPath) -> list[tuple[str, yaml.Node]]:
        """The keys and values of ``node``, each key once, having noted where each stands."""
        lines: dict[str, int] = {}
        pairs: list[tuple[str, yaml.Node]] = []
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._reading.refuse(path, f"{_SHAPES[type(key_node)]} as a key", "text", line=line)
                continue
            key: str = key_node.value
            if key in lines:
                found = f"a second time, first on line {lines[key]}"
                self._reading.refuse((*path, key), found, "each key once", line=line)
                continue
            lines[key] = line
            self._reading.place((*path, key), line)
            pairs.append((key, child))
        return pairs

    def _scalar(self, node: yaml.ScalarNode, wanted: types.Type, path: KeyPath) -> Any:
        try:
            scalar = read_scalar(node, self._environ)
        except UnsetVariable as unset:
            found = f"${{{unset.name}}}, and {unset.name} is not set in the environment"
            expected = f"it to be set, or a default: ${{{unset.name}:-...}}"
            self._reading.refuse(path, found, expected, suggestion=unset.near)
            return _placeholder(wanted)
        except MalformedReference:
            expected = "${VAR}, ${VAR:-default}, or $${ for a plain ${"
            self._reading.refuse(path, "a ${ that names no variable", expected)
            return _placeholder(wanted)
        if scalar.reference:
            self._reading.filled_in(path, scalar.reference)
        options = _options(wanted)
        if scalar.kind in _NUMBERS and {types.FloatType, types.StrType} <= set(map(type, options)):
            return scalar.text  # the exact number, which a float would not be
        for option in options:
            value = _convert(scalar, option)
            if value is not None and _in_range(value, option):
                return value
        near = nearest(scalar.text, [choice for option in options for choice in _choices(option)])
        self._reading.refuse(path, self._found(scalar, wanted, path), _words(wanted), suggestion=near)
        return _placeholder(wanted)

    def _found(self, scalar: Scalar, wanted: types.Type, path: KeyPath) -> str:
        if scalar.reference:
            return self._reading.show(path, scalar.text)
        if scalar.kind is Kind.NOTHING or _mark(wanted, "secret"):
            return scalar.kind.value
        return f"{scalar.kind} {self._reading.show(path, scalar.text)}"


_SHAPES = {yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}

#: The tags that nodes have when the file gives them none.
_UNTAGGED = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}

_EMPTY = yaml.MappingNode("tag:yaml.org,2002:map", [])

_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

_NUMBERS = (Kind.WHOLE_NUMBER, Kind.NUMBER)


def _is_nothing(node: yaml.Node) -> bool:
    """Whether a key has nothing after it (or ``null``), which counts as left out."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and kind_of(node.value) is Kind.NOTHING


def _convert(scalar: Scalar, wanted: types.Type) -> Any:
    """``scalar`` as a ``wanted``, None when it is none."""
    text, kind = scalar.text, scalar.kind
    match wanted:
        case types.StrType():
            return text if kind in (Kind.TEXT, Kind.YES_OR_NO) or scalar.alone else None
        case types.IntType():
            return int(text) if kind is Kind.WHOLE_NUMBER and len(text) <= 20 else None
        case types.FloatType():
            return float(text) if kind in _NUMBERS and math.isfinite(float(text)) else None
        case types.DecimalType():
            return Decimal(text) if kind_of(text) in _NUMBERS else None
        case types.BoolType():
            return _TRUTH[text.lower()] if kind in (Kind.TRUTH_VALUE, Kind.YES_OR_NO) else None
        case types.EnumType(cls=cls):
            return cls(text) if text in _choices(wanted) else None
        case types.LiteralType(values=values):
            return text if text in values else None
    return None


def _in_range(value: Any, wanted: types.Type) -> bool:
    match wanted:
        case types.IntType(gt=gt, ge=ge, lt=lt, le=le) | types.FloatType(gt=gt, ge=ge, lt=lt, le=le):
            return (
                (gt is None or value > gt)
                and (ge is None or value >= ge)
                and (lt is None or value < lt)
                and (le is None or value <= le)
            )
        case types.StrType(pattern=str(pattern)):
            return re.fullmatch(pattern, value) is not None
    return True


def _options(wanted: types.Type) -> tuple[types.Type, ...]:
    """The types any of which will do, without their marks; None is none: a key left out stands for it."""
    plain = wanted.type if isinstance(wanted, types.Metadata) else wanted
    options = plain.types if isinstance(plain, types.UnionType) else (plain,)
    return tuple(option for option in options if not isinstance(option, types.NoneType))


def _mark(wanted: types.Type, name: str) -> Any:
    return (wanted.extra or {}).get(name) if isinstance(wanted, types.Metadata) else None


def _choices(wanted: types.Type) -> tuple[str, ...]:
    match wanted:
        case types.EnumType(cls=cls):
            return tuple(str(member.value) for member in cls)
        case types.LiteralType(values=values):
            return tuple(map(str, values))
    return ()


def _words(wanted: types.Type) -> str:
    """What is expected, in words, as in ``a whole number from 0 to 65535``."""
    described = wanted.extra_json_schema if isinstance(wanted, types.Metadata) else None
    if described and "description" in described:
        return str(described["description"])
    return " or ".join(map(_option_words, _options(wanted)))


def _option_words(wanted: types.Type) -> str:
    match wanted:
        case types.IntType(gt=gt, ge=ge, lt=lt, le=le):
            return "a whole number" + _range_words(gt, ge, lt, le)
        case types.FloatType(gt=gt, ge=ge, lt=lt, le=le):
            return "a number" + _range_words(gt, ge, lt, le)
        case types.DecimalType():
            return "an amount such as 80 or 0.015"
        case types.BoolType():
            return "true or false"
        case types.StrType():
            return "text"
        case types.VarTupleType() | types.ListType():
            return "a list"
        case types.StructType() | types.DictType():
            return "a mapping"
    choices = _choices(wanted)
    return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)


def _range_words(gt: float | None, ge: float | None, lt: float | None, le: float | None) -> str:
    if ge is not None and le is not None:
        return f" from {ge} to {le}"
    bounds = [("above", gt), ("of at least", ge), ("below", lt), ("of at most", le)]
    words = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
    return " " + words if words else ""


def _placeholder(wanted: types.Type) -> Any:
    """A value of the type ``wanted`` that stands where a refused one would."""
    first = _options(wanted)[0]
    match first:
        case types.StructType(cls=cls, fields=fields):
            return cls(**{field.name: _placeholder(field.type) for field in fields if field.required})
        case types.EnumType(cls=cls):
            return next(iter(cls))
        case types.LiteralType(values=values):
            return values[0]
    return _ZEROS[type(first)]()


_ZEROS: dict[type[types.Type], type] = {
    types.StrType: str,
    types.IntType: int,
    types.FloatType: float,
    types.DecimalType: Decimal,
    types.BoolType: bool,
    types.VarTupleType: tuple,
    types.ListType: list,
    types.DictType: dict,
}
