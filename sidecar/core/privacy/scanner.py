"""Finds everything in one plain text: one pass of the engine, then validators on the matches, then ties."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.core.privacy.address import ADDRESS_RULES
from sidecar.core.privacy.credentials import CREDENTIAL_RULES
from sidecar.core.privacy.decoding import DECODING_MARKS, pieces
from sidecar.core.privacy.engines import Engine, EngineName, build_engine, compile_triggers
from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.health import HEALTH_MARKS
from sidecar.core.privacy.identity import IDENTITY_RULES
from sidecar.core.privacy.internet import INTERNET_RULES
from sidecar.core.privacy.mailbox import MAILBOX_RULES
from sidecar.core.privacy.names import NAME_RULES, PeopleFinder
from sidecar.core.privacy.passwords import PASSWORD_RULES
from sidecar.core.privacy.payment import PAYMENT_RULES
from sidecar.core.privacy.phone import PHONE_RULES
from sidecar.core.privacy.rules import Rule, Validator
from sidecar.core.privacy.ties import tie
from sidecar.core.privacy.wordlists import name_lists

RULES: tuple[Rule, ...] = (
    *MAILBOX_RULES,
    *PHONE_RULES,
    *INTERNET_RULES,
    *PAYMENT_RULES,
    *IDENTITY_RULES,
    *CREDENTIAL_RULES,
    *PASSWORD_RULES,
    *ADDRESS_RULES,
    *NAME_RULES,
    *HEALTH_MARKS,
    *DECODING_MARKS,
)

_BETWEEN_CHECKS = 128
_NAMES_MAX = 500
_DEPTH_MAX = 2
_PIECE_GAP = "\n\n\n"


class OutOfTime(Exception):
    """The budget of the scan is used up."""


class Allowed:
    """The operator's strings that are never a finding, compared without case."""

    __slots__ = ("_strings",)

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(string.casefold() for string in strings)

    def covers(self, text: str, hit: Hit) -> bool:
        """Whether ``hit`` lies inside an allowed string; ``@host`` allows the mailboxes of a host."""
        if not self._strings:
            return False
        value = text[hit.start : hit.end].casefold()
        for string in self._strings:
            if value == string or (string.startswith("@") and value.endswith(string)):
                return True
            low = max(0, hit.start - len(string))
            around = text[low : hit.end + len(string)].casefold()
            place = around.find(string)
            if place >= 0 and low + place <= hit.start and hit.end <= low + place + len(string):
                return True
        return False


#: An engine, and for each trigger its rule's name and validator, its width, its borders, its first letter.
_Compiled = tuple[Engine, tuple[tuple[str, Validator | None, int, bool, bool, bool], ...]]

#: By engine's name. Rules are constants, so each engine is compiled once in a process.
_ENGINES: dict[EngineName, _Compiled] = {}


def compile_rules() -> bytes | None:
    """The rules compiled, for ``load_rules`` in another process; ``None`` without hyperscan."""
    return compile_triggers([trigger for rule in RULES for trigger in rule.triggers()])


def load_rules(compiled: bytes | None) -> None:
    """Make the default engine of what ``compile_rules`` made; compile here what is missing or damaged."""
    if "auto" not in _ENGINES:
        _ENGINES["auto"] = _build("auto", compiled)


def _compiled(name: EngineName) -> _Compiled:
    if name not in _ENGINES:
        _ENGINES[name] = _build(name, None)
    return _ENGINES[name]


def _build(name: EngineName, compiled: bytes | None) -> _Compiled:
    triggers = [(rule, trigger) for rule in RULES for trigger in rule.triggers()]
    engine = build_engine([trigger for _, trigger in triggers], name, compiled)
    return engine, tuple(
        (rule.name, rule.validate, trigger.width, trigger.free_left, trigger.free_right, rule.capital)
        for rule, trigger in triggers
    )


class Scanner:
    """Stateless but for what it compiled. One thread at a time may use it, as hyperscan keeps its scratch."""

    def __init__(self, engine: EngineName, allowed: Allowed, matches_max: int = 20_000) -> None:
        self._allowed = allowed
        self._matches_max = matches_max
        self._people = PeopleFinder(name_lists())
        self._engine, self._looks = _compiled(engine)

    @property
    def engine(self) -> str:
        return self._engine.name

    def hits(self, text: str, check_time: Callable[[], None], depth: int = 0) -> list[Hit]:
        """All hits in ``text``, which is plain.

        ``check_time`` is called between stages and raises ``OutOfTime`` where the budget is used up.
        Raises ``TooManyMatches`` for text that triggers beyond measure.
        """
        data = text.encode("latin-1", "replace")
        hits: set[Hit] = set()
        marks: dict[str, list[int]] = {}
        ends = self._engine.ends(data, self._matches_max)
        check_time()
        looks = self._looks
        for first in range(0, len(ends), _BETWEEN_CHECKS):
            for end, trigger in ends[first : first + _BETWEEN_CHECKS]:
                name, validate, width, free_left, free_right, capital = looks[trigger]
                if capital and not text[end - width].isupper():
                    continue
                if (free_left and text[end - width - 1 : end - width].isalnum()) or (
                    free_right and text[end : end + 1].isalnum()
                ):
                    continue
                if validate is None:
                    marks.setdefault(name, []).append(end)
                else:
                    hits.update(validate(text, end - width, end))
            check_time()
        hits.update(self._people.find(text, data, _NAMES_MAX))
        found = [hit for hit in hits if not self._allowed.covers(text, hit)]
        check_time()
        found += tie(text, found, marks)
        if depth < _DEPTH_MAX:
            found += self._unwrapped(text, data, marks, check_time, depth)
        return found

    def _unwrapped(
        self, text: str, data: bytes, marks: dict[str, list[int]], check_time: Callable[[], None], depth: int
    ) -> list[Hit]:
        unwrapped = list(pieces(text, data, marks, check_time))
        if not unwrapped:
            return []
        inner = self.hits(_PIECE_GAP.join(piece.text for piece in unwrapped), check_time, depth + 1)
        placed: list[Hit] = []
        low = 0
        for piece in unwrapped:
            high = low + len(piece.text)
            placed += [
                Hit(*piece.span(hit.start - low, hit.end - low), hit.kind, hit.certain)
                for hit in inner
                if low <= hit.start and hit.end <= high
            ]
            low = high + len(_PIECE_GAP)
        return placed
