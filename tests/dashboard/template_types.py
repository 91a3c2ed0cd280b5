"""Follows the structs of a page's context through its templates: what each expression is, as far as is known.

Loops, ``with`` by ``set``, includes and macros (by what they are called with) are followed. What leaves the
structs, through a filter, a call or a mapping, is not.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from jinja2 import nodes

#: A struct and the attribute of it that a template speaks of.
Use = tuple[type[msgspec.Struct], str]
Kinds = Mapping[str, Any]


class Walk:
    """One page's templates; ``parse`` gives the tree of a template by its name."""

    def __init__(self, parse: Callable[[str], nodes.Template]) -> None:
        self._parse = parse
        self._macros: dict[str, nodes.Macro] = {}
        self._called: set[tuple[str, tuple[str, ...]]] = set()
        self.used: set[Use] = set()

    def template(self, name: str, kinds: Kinds) -> None:
        """Walk a whole template whose variables are of these kinds."""
        self._body(self._parse(name).body, dict(kinds))

    def _body(self, body: Iterable[nodes.Node], kinds: dict[str, Any]) -> None:
        for node in body:
            self._node(node, kinds)

    def _node(self, node: nodes.Node, kinds: dict[str, Any]) -> None:
        match node:
            case nodes.Macro():
                self._macros[node.name] = node
            case nodes.FromImport(template=nodes.Const(value=name)):
                for macro in self._parse(name).find_all(nodes.Macro):
                    self._macros[macro.name] = macro
            case nodes.Include(template=nodes.Const(value=name)):
                self.template(name, kinds)
            case nodes.For(target=nodes.Name(name=name)):
                each = element_of(self._kind(node.iter, kinds))
                inner = {**kinds, name: each}
                self._body([*node.body, *([node.test] if node.test else [])], inner)
                self._body(node.else_, kinds)
            case nodes.Assign(target=nodes.Name(name=name)):
                kinds[name] = self._kind(node.node, kinds)
            case nodes.Expr():
                self._kind(node, kinds)
            case _:
                self._body(node.iter_child_nodes(), kinds)

    def _kind(self, node: nodes.Node, kinds: dict[str, Any]) -> Any:
        """What ``node`` is, and a note of every attribute on the way; None where that is not known."""
        match node:
            case nodes.Name(name=name):
                return kinds.get(name)
            case nodes.Getattr(node=owner, attr=attr):
                struct = struct_in(self._kind(owner, kinds))
                if struct is None:
                    return None
                self.used.add((struct, attr))
                return kind_of(struct, attr)
            case nodes.Getitem(node=owner):
                return element_of(self._kind(owner, kinds))
            case nodes.Call(node=nodes.Name(name=name)) if name in self._macros:
                self._call(self._macros[name], [self._kind(arg, kinds) for arg in node.args], kinds)
                return None
            case nodes.CondExpr(expr1=one, expr2=other, test=test):
                self._kind(test, kinds)
                found = [self._kind(each, kinds) for each in (one, other) if each is not None]
                return found[0] if found else None
            case _:
                for child in node.iter_child_nodes():
                    self._kind(child, kinds)
                return None

    def _call(self, macro: nodes.Macro, given: Sequence[Any], kinds: Kinds) -> None:
        key = (macro.name, tuple(map(str, given)))
        if key not in self._called:
            self._called.add(key)
            known = dict(zip((arg.name for arg in macro.args), given, strict=False))
            self._body(macro.body, {**kinds, **known})


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The struct that ``kind`` is, or may be besides None."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        return next(filter(None, map(struct_in, typing.get_args(kind))), None)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def element_of(kind: Any) -> Any:
    """What a tuple, a list or a mapping of that kind holds."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is None or not args or isinstance(kind, types.UnionType):
        return None
    return args[0] if origin in (tuple, list) else args[-1]


def kind_of(struct: type[msgspec.Struct], attr: str) -> Any:
    """What an attribute is; of a property what it returns."""
    hints = typing.get_type_hints(struct)
    if attr in hints:
        return hints[attr]
    found = getattr(struct, attr, None)
    return typing.get_type_hints(found.fget).get("return") if isinstance(found, property) else None
