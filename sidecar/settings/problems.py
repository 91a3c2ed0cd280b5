"""What is wrong with a configuration file, gathered so that all of it can be said at once."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec

from sidecar.core.conditions import clip

#: Where a value stands: the keys and list indexes that lead to it from the top.
KeyPath = tuple[str | int, ...]


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. ``line`` counts from 1; 0 means the file as a whole."""

    file: str
    line: int
    key: str
    found: str
    expected: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        what = [self.found]
        if self.expected:
            what.append(f"expected {self.expected}")
        if self.suggestion:
            what.append(f'did you mean "{self.suggestion}"?')
        return ": ".join(part for part in (where, self.key, "; ".join(what)) if part)


class SettingsError(Exception):
    """A configuration that is refused; ``problems`` is everything that was found, top of the file first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__("\n".join(map(str, self.problems)))


class Reading:
    """One file being read: where each key stands, and what was found wrong so far.

    A value that is refused is replaced by a placeholder so that the rest can still be looked at. Checks
    that compare values ask ``sound`` first, lest one mistake is reported twice.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._lines: dict[KeyPath, int] = {(): 1}
        self._references: dict[KeyPath, str] = {}
        self._broken: set[KeyPath] = set()

    def place(self, path: KeyPath, line: int) -> None:
        """Note the line on which ``path`` stands."""
        self._lines[path] = line

    def filled_in(self, path: KeyPath, written: str) -> None:
        """Note that the value at ``path`` came from the environment; ``written`` is what the file says."""
        self._references[path] = written

    def from_environment(self, path: KeyPath) -> bool:
        """Whether the environment had a part in the value at ``path``."""
        return path in self._references

    def show(self, path: KeyPath, value: object) -> str:
        """``value`` as a refusal may quote it: what came from the environment may be a key, so never that."""
        written = self._references.get(path)
        return f"the value of {written}" if written else f'"{clip(" ".join(str(value).split()))}"'

    def refuse(
        self, path: KeyPath, found: str, expected: str = "", *, suggestion: str = "", line: int = 0
    ) -> None:
        """Add a problem with the value at ``path``, on its line unless another is given."""
        self._broken.add(path)
        line = line or self._line(path)
        self.problems.append(Problem(self.file, line, key_text(path), found, expected, suggestion))

    def distrust(self, path: KeyPath) -> None:
        """Treat ``path`` as not sound: the problem that explains it is already known under another key."""
        self._broken.add(path)

    def sound(self, *paths: KeyPath) -> bool:
        """Whether nothing was found wrong at these paths, below them or above them."""
        return not any(
            broken[: len(path)] == path or path[: len(broken)] == broken
            for path in paths
            for broken in self._broken
        )

    def _line(self, path: KeyPath) -> int:
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


def key_text(path: KeyPath) -> str:
    """``("routing", "rules", 0, "tier")`` as ``routing.rules[0].tier``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def nearest(word: str, good: Iterable[str]) -> str:
    """The one of ``good`` that was probably meant by ``word``, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in good}
    near = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else ""
