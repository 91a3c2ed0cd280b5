"""The detector behind the gate: chunks, cache, seams between texts, budget, verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Final

import msgspec
import re2

from sidecar.core.privacy.cache import HitCache
from sidecar.core.privacy.engines import EngineName, TooManyMatches
from sidecar.core.privacy.findings import GROUP_OF, NAME_KIND, Confidence, Finding, Group, Hit
from sidecar.core.privacy.normalise import origins, plain
from sidecar.core.privacy.phone import load_numbering_plans
from sidecar.core.privacy.scanner import Allowed, OutOfTime, Scanner
from sidecar.core.vocabulary import Verdict, VerdictState

CHUNK_MIN: Final = 4_096
CHUNK_MAX: Final = 16_384
MARGIN: Final = 256
SEAM: Final = 160
TEXT_MAX: Final = 4_000_000
TEXTS_MAX: Final = 20_000


class PrivacyPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's own pattern. ``regex`` is in RE2's syntax; a match is ``kind``, and SENSITIVE."""

    name: str
    regex: str
    kind: str = ""


class OwnPatterns:
    """The operator's patterns, compiled by RE2, so that none of them can take more than linear time."""

    def __init__(self, patterns: Sequence[PrivacyPattern]) -> None:
        self._compiled: list[tuple[str, Any]] = []
        for pattern in patterns:
            options = re2.Options()
            options.log_errors = False
            try:
                compiled = re2.compile(pattern.regex, options)
            except re2.error as error:
                raise ValueError(
                    f"privacy.patterns: {pattern.name}: not a regex that RE2 takes: {error}"
                ) from None
            if compiled.search("") is not None:
                raise ValueError(f"privacy.patterns: {pattern.name}: matches the empty text")
            self._compiled.append((pattern.kind or pattern.name, compiled))

    def hits(self, text: str) -> Iterator[Hit]:
        for kind, compiled in self._compiled:
            for match in compiled.finditer(text):
                yield Hit(match.start(), match.end(), kind, True)


def chunks(text: str) -> Iterator[tuple[int, int]]:
    """Cut ``text`` after blank lines, else lines, else blanks, into cores of 4 to 16 thousand characters.

    Where it cuts depends on what is there and not on what came before by much, so that a passage which
    returns in another prompt is likely to be cut the same way and found in the cache.
    """
    start = 0
    while len(text) - start > CHUNK_MAX:
        for gap in ("\n\n", "\n", " "):
            cut = text.find(gap, start + CHUNK_MIN, start + CHUNK_MAX)
            if cut >= 0:
                cut += len(gap)
                break
        else:
            cut = start + CHUNK_MAX
        yield start, cut
        start = cut
    if start < len(text):
        yield start, len(text)


class PatternDetector:
    """Finds personal data, health data and secrets by patterns, check digits, lists and nearness."""

    def __init__(
        self,
        scanner: Scanner,
        own: OwnPatterns,
        groups: frozenset[Group],
        max_scan_ms: float,
        clock: Callable[[], float],
        glance: Callable[[], float],
        cache: HitCache,
    ) -> None:
        self._scanner = scanner
        self._own = own
        self._groups = groups
        self._max_scan_s = max_scan_ms / 1000
        self._clock = clock
        self._glance = glance
        self._cache = cache

    @property
    def engine(self) -> str:
        return self._scanner.engine

    @property
    def cache(self) -> HitCache:
        return self._cache

    def scan(self, texts: Sequence[str], *, declared_public: bool) -> Verdict:
        """The verdict over ``texts`` in their order. Never raises: what cannot be scanned is UNKNOWN.

        Neighbours are read together too, but not across an empty text.
        """
        found: set[tuple[int, Hit]] = set()
        trouble = ""
        try:
            check_time = self._stopwatch()
            for placed in self._hits(texts, check_time):
                found.add(placed)
            for index, text in enumerate(texts):
                found.update((index, hit) for hit in self._own.hits(text))
                check_time()
        except OutOfTime:
            trouble = f"the scan took longer than {self._max_scan_s * 1000:g} ms"
        except TooManyMatches:
            trouble = "too many matches to look at"
        except OverflowError:
            trouble = "too large to scan"
        except Exception as error:
            trouble = f"the detector failed: {type(error).__name__}"
        return _verdict([hit for _, hit in found], trouble, declared_public)

    def find(self, texts: Sequence[str]) -> list[Finding]:
        """Everything found, with its place, in order; without a budget of time.

        Raises ``OverflowError`` and ``TooManyMatches`` where ``scan`` says UNKNOWN.
        """
        mapped: dict[int, list[int]] = {}
        findings = {
            Finding(
                index, hit.start, hit.end, hit.kind, GROUP_OF.get(hit.kind, Group.PII), Confidence.CERTAIN
            )
            for index, text in enumerate(texts)
            for hit in self._own.hits(text)
        }
        for index, hit in self._hits(texts, lambda: None):
            if index not in mapped:
                mapped[index] = origins(texts[index])
            places = mapped[index]
            start, end = places[hit.start], places[min(hit.end, len(places) - 1)]
            confidence = Confidence.CERTAIN if hit.certain else Confidence.POSSIBLE
            findings.add(Finding(index, start, end, hit.kind, GROUP_OF[hit.kind], confidence))
        return sorted(findings)

    def _stopwatch(self) -> Callable[[], None]:
        clock, glance = self._clock, self._glance
        deadline, first_look = clock() + self._max_scan_s, glance() + self._max_scan_s

        def check_time() -> None:
            if glance() > first_look and clock() > deadline:
                raise OutOfTime

        return check_time

    def _hits(self, texts: Sequence[str], check_time: Callable[[], None]) -> Iterator[tuple[int, Hit]]:
        if len(texts) > TEXTS_MAX or sum(map(len, texts)) > TEXT_MAX:
            raise OverflowError
        folded: list[str] = []
        parted: set[int] = set()
        for index, text in enumerate(texts):
            if not text:
                parted.add(index)
            folded.append(plain(text))
            for hit in self._text_hits(folded[-1], check_time):
                yield index, hit
            check_time()
        if len(texts) > 1:
            yield from self._seam_hits(folded, parted, check_time)

    def _text_hits(self, text: str, check_time: Callable[[], None]) -> Iterator[Hit]:
        for start, end in chunks(text):
            low, high = max(0, start - MARGIN), min(len(text), end + MARGIN)
            for hit in self._chunk_hits(text[low:high], check_time):
                if low + hit.start < end and low + hit.end > start:
                    yield hit._replace(start=low + hit.start, end=low + hit.end)

    def _chunk_hits(self, chunk: str, check_time: Callable[[], None]) -> tuple[Hit, ...]:
        digest = self._cache.digest(chunk)
        hits = self._cache.get(digest)
        if hits is None:
            check_time()
            found = self._scanner.hits(chunk, check_time)
            hits = tuple(hit for hit in found if GROUP_OF[hit.kind] in self._groups)
            self._cache.put(digest, hits)
        return hits

    def _seam_hits(
        self, texts: Sequence[str], parted: Container[int], check_time: Callable[[], None]
    ) -> Iterator[tuple[int, Hit]]:
        """What is only there when neighbours are read together, with nothing and with a blank between.

        What the texts hold by themselves is found again and does no harm: it is there.
        """
        for glue in ("", " "):
            for window, borders in seams(texts, glue, parted):
                for hit in self._chunk_hits(window, check_time):
                    yield _placed(hit, borders, texts)


Borders = list[tuple[int, int]]


def seams(texts: Sequence[str], glue: str, parted: Container[int] = ()) -> Iterator[tuple[str, Borders]]:
    """Windows over the borders of neighbouring texts; windows that overlap are one.

    Each comes with its borders: where in the window a text begins, and the index of that text. The texts
    on both sides of one whose index is in ``parted`` are no neighbours.
    """
    window = ""
    borders: Borders = []
    for index in range(1, len(texts)):
        if index in parted or index - 1 in parted:
            if borders:
                yield window, borders
                borders = []
            continue
        if not borders:
            window = _tail(texts[index - 1])
        following = texts[index]
        # What has a blank at the border needs no other: two would part what one joins.
        gap = "" if window[-1:].isspace() or following[:1].isspace() else glue
        borders.append((len(window) + len(gap), index))
        if len(following) > 2 * SEAM or len(window) > CHUNK_MAX:
            yield window + gap + (following[:SEAM].rpartition(" ")[0] or following[:SEAM]), borders
            borders = []
        else:
            window += gap + following
    if borders:
        yield window, borders


def _tail(text: str) -> str:
    """The end of ``text``, from the beginning of a word."""
    return text if len(text) <= SEAM else text[-SEAM:].partition(" ")[2] or text[-SEAM:]


def _placed(hit: Hit, borders: Borders, texts: Sequence[str]) -> tuple[int, Hit]:
    """The text that ``hit`` begins in, and its place there up to that text's end."""
    first = borders[0]
    for begin, index in reversed(borders):
        if hit.start >= begin:
            length = len(texts[index])
            return index, hit._replace(start=min(hit.start - begin, length), end=min(hit.end - begin, length))
    length = len(texts[first[1] - 1])
    missing = length - len(_tail(texts[first[1] - 1]))
    return first[1] - 1, hit._replace(
        start=min(missing + hit.start, length), end=min(missing + hit.end, length)
    )


def _verdict(hits: Sequence[Hit], trouble: str, declared_public: bool) -> Verdict:
    if declared_public:
        hits = [hit for hit in hits if hit.certain or hit.kind != NAME_KIND]
    kinds = dict(sorted(Counter(hit.kind for hit in hits).items()))
    if any(hit.certain for hit in hits):
        sure = sorted({hit.kind for hit in hits if hit.certain})
        return Verdict(VerdictState.SENSITIVE, kinds, "found " + ", ".join(sure))
    if trouble:
        return Verdict(VerdictState.UNKNOWN, kinds, trouble)
    if hits:
        return Verdict(VerdictState.UNKNOWN, kinds, "cannot tell: " + ", ".join(kinds))
    return Verdict(VerdictState.CLEAN)


def build_detector(
    groups: Sequence[Group | str],
    patterns: Sequence[PrivacyPattern],
    allow: Sequence[str],
    max_scan_ms: float,
    clock: Callable[[], float],
    key: bytes,
    engine: EngineName = "auto",
    glance: Callable[[], float] | None = None,
) -> PatternDetector:
    """Compile a detector.

    ``groups`` are of ``pii``, ``health``, ``secrets``. ``clock`` is monotonic and counts seconds. ``key``
    is up to 64 random bytes. ``glance`` is a cheaper clock that ``clock`` never overtakes; while it shows
    that there is time, ``clock`` is not asked. Raises ``ValueError`` with the configuration's key path for
    a pattern or an allowed string that cannot be used.
    """
    load_numbering_plans()
    for string in allow:
        if len(string.strip()) < 2:
            raise ValueError(f"privacy.allow: {string!r}: too short to mean anything")
    return PatternDetector(
        Scanner(engine, Allowed(allow)),
        OwnPatterns(patterns),
        frozenset(Group(group) for group in groups),
        max_scan_ms,
        clock,
        glance or clock,
        HitCache(key),
    )
