"""Decides whether a call may leave this machine; the only place that mints ``MayLeave``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol, final

from sidecar.core.privacy.findings import Finding
from sidecar.core.vocabulary import DataClassification, Verdict, VerdictState

Mode = Literal["strict", "balanced"]

_MINT: Final = object()


@final
class MayLeave:
    """The permit that an off-box upstream demands before it sends one byte.

    It is good for the one call whose ``request_id`` it carries. It cannot be made outside this module:
    the constructor asks for a token that only the gate has.
    """

    __slots__ = ("request_id", "verdict")

    def __init__(self, token: object, request_id: str, verdict: Verdict) -> None:
        if token is not _MINT:
            raise PermissionError("MayLeave is minted by the privacy gate only")
        self.request_id = request_id
        self.verdict = verdict

    def __reduce__(self) -> str:
        raise TypeError("MayLeave cannot be pickled or copied: it is good for one call in one process")


class Detector(Protocol):
    """Looks for personal data, health data and secrets in the texts of one call."""

    @property
    def engine(self) -> str:
        """The name of the pattern engine in use, for ``/admin/status``."""
        ...

    def scan(self, texts: Sequence[str], *, declared_public: bool) -> Verdict:
        """The verdict over ``texts``, in the order they would be sent. Never raises."""
        ...

    def find(self, texts: Sequence[str]) -> list[Finding]:
        """Everything found, with its place. Raises ``OverflowError`` or ``TooManyMatches``."""
        ...


class Judgement:
    """What the gate decided for one call: the verdict, and the permit if it may leave."""

    __slots__ = ("permit", "verdict")

    def __init__(self, verdict: Verdict, permit: MayLeave | None) -> None:
        self.verdict = verdict
        self.permit = permit


class PrivacyGate:
    """Turns texts and a declared classification into a verdict and, where allowed, a permit."""

    __slots__ = ("_detector", "_mode")

    def __init__(self, detector: Detector, mode: Mode = "strict") -> None:
        self._detector = detector
        self._mode = mode

    @property
    def engine(self) -> str:
        """The pattern engine in use."""
        return self._detector.engine

    def judge(
        self,
        request_id: str,
        texts: Sequence[str],
        declared: DataClassification | None,
        *,
        unreadable: Sequence[str] = (),
    ) -> Judgement:
        """Judge one call: its verdict, and the permit for exactly this call if it may leave."""
        verdict, allowed = self.look(texts, declared, unreadable=unreadable)
        return Judgement(verdict, MayLeave(_MINT, request_id, verdict) if allowed else None)

    def look(
        self, texts: Sequence[str], declared: DataClassification | None, *, unreadable: Sequence[str] = ()
    ) -> tuple[Verdict, bool]:
        """The verdict, and whether a call with it may leave; mints nothing.

        ``texts`` is everything that would be sent, in order; ``unreadable`` names the parts that no text
        scan can read (``image``, ``audio``, ``file``). The app may raise the sensitivity by what it
        declares, never lower what the detector found.
        """
        verdict = self._verdict(texts, declared, unreadable)
        allowed = verdict.state is VerdictState.CLEAN or (
            verdict.state is VerdictState.UNKNOWN and self._mode == "balanced"
        )
        return verdict, allowed

    def find(self, texts: Sequence[str]) -> list[Finding]:
        """Everything found, with its place. Raises ``OverflowError`` or ``TooManyMatches``."""
        return self._detector.find(texts)

    def _verdict(
        self, texts: Sequence[str], declared: DataClassification | None, unreadable: Sequence[str]
    ) -> Verdict:
        public = declared is DataClassification.PUBLIC
        verdict = self._detector.scan(texts, declared_public=public)
        if declared is not None and declared.forbids_leaving and verdict.state is not VerdictState.SENSITIVE:
            return Verdict(VerdictState.SENSITIVE, verdict.kinds, f"declared {declared}")
        if unreadable and verdict.state is VerdictState.CLEAN and not public:
            words = "cannot read " + ", ".join(sorted(set(unreadable)))
            return Verdict(VerdictState.UNKNOWN, verdict.kinds, words)
        return verdict
