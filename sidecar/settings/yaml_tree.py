"""Reads YAML into a tree that still knows its lines, and fills in ``${VAR}`` from the environment.

Numbers stay the text that was written until it is known what they are for, so that money never passes
through a binary float. Plain scalars are told apart as in YAML 1.2, except that ``yes``, ``no``, ``on``
and ``off`` are truth values where a truth value is wanted, and text elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec
import yaml

from sidecar.settings.problems import Problem, SettingsError, nearest


class Kind(StrEnum):
    """What a scalar looks like, in the words of a refusal."""

    NOTHING = "nothing"
    TRUTH_VALUE = "the truth value"
    YES_OR_NO = "the word"
    WHOLE_NUMBER = "the number"
    NUMBER = "the decimal number"
    TEXT = "the text"


class Scalar(msgspec.Struct, frozen=True):
    """One value as written. ``text`` has the environment filled in.

    ``reference`` is what the file says when the environment had a part in it. Where the whole value is
    one ``${...}``, ``kind`` is what the text would be had it been written plainly; being ``alone``, it
    may be taken as text all the same.
    """

    text: str
    kind: Kind
    reference: str = ""
    alone: bool = False


class UnsetVariable(Exception):
    """A ``${VAR}`` without default whose variable is not set. ``near`` is a set one of similar name."""

    def __init__(self, name: str, near: str) -> None:
        super().__init__(name)
        self.name = name
        self.near = near


class MalformedReference(Exception):
    """A ``${`` that opens no reference to a variable."""


_KINDS = (
    (Kind.NOTHING, re.compile(r"~|null|Null|NULL|")),
    (Kind.TRUTH_VALUE, re.compile(r"(?i:true|false)")),
    (Kind.YES_OR_NO, re.compile(r"(?i:yes|on|no|off)")),
    (Kind.WHOLE_NUMBER, re.compile(r"[-+]?[0-9]+")),
    (Kind.NUMBER, re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")),
)

_REFERENCE = re.compile(
    r"\$\$\{"  # an escaped ${
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}"
    r"|\$\{"  # anything else that begins like a reference
)


def parse_tree(text: str, file: str) -> yaml.Node | None:
    """The nodes of one YAML document, None when it is empty. Raises ``SettingsError`` on bad syntax."""
    try:
        # BaseLoader: scalars are left as text, tags never construct anything
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        expected = "valid YAML"
        lines = text.splitlines()
        if 0 < line <= len(lines) and "${" in lines[line - 1]:
            expected = 'valid YAML: inside { } and [ ] a reference needs quotes, as in "${VAR}"'
        raise SettingsError([Problem(file, line, "", error.problem or "broken syntax", expected)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SettingsError([Problem(file, line, "", "a control character", "printable text")]) from None
    except RecursionError:
        raise SettingsError([Problem(file, 0, "", "brackets within brackets without end")]) from None


def read_scalar(node: yaml.ScalarNode, environ: Mapping[str, str]) -> Scalar:
    """The scalar at ``node``. Raises ``UnsetVariable`` and ``MalformedReference``."""
    written: str = node.value
    text = interpolate(written, environ)
    if not any(match["name"] for match in _REFERENCE.finditer(written)):
        return Scalar(text, kind_of(text) if node.style is None else Kind.TEXT)
    whole = _REFERENCE.fullmatch(written)
    return Scalar(text, kind_of(text) if whole else Kind.TEXT, written, alone=whole is not None)


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """``text`` with ``${VAR}``, ``${VAR:-default}`` and ``$${`` replaced.

    As in a shell, the default also stands in for a variable that is set but empty. What is filled in is
    not looked at again. Raises ``UnsetVariable`` and ``MalformedReference``.
    """

    def fill_in(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name, default = match["name"], match["default"]
        if name is None:
            raise MalformedReference
        value = environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            raise UnsetVariable(name, nearest(name, environ))
        return value

    return _REFERENCE.sub(fill_in, text)


def kind_of(text: str) -> Kind:
    """What ``text`` is when it is written plainly, without quotes."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), Kind.TEXT)
