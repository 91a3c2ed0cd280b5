"""Knows which models a local server may still be loading: a call that waits for that proves nothing.

Ollama loads a model when it is first asked for and drops it after five minutes without a call. Loading a
large one takes minutes, and until then no byte of an answer comes.
"""

from __future__ import annotations

from sidecar.core.errors import Fault, UpstreamFault

#: For how long an answer shows that a model is in memory: Ollama's own ``keep_alive``.
_LOADED_S = 300.0
#: For how long loading is believed in; Ollama itself gives up after five minutes without progress.
_LOADING_MAX_S = 600.0
#: In the legacy arm a model is whatever the app wrote.
_MODELS_MAX = 64


class Loading:
    """When each model was last heard of. All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._answered_s: dict[str, float] = {}
        self._asked_s: dict[str, float] = {}

    def asked(self, model: str, now_s: float) -> None:
        """A call to ``model`` begins."""
        if now_s - self._answered_s.get(model, -_LOADED_S) >= _LOADED_S:
            _bounded(self._asked_s).setdefault(model, now_s)

    def answered(self, model: str, now_s: float) -> None:
        """Its first token has come."""
        self._asked_s.pop(model, None)
        _bounded(self._answered_s)[model] = now_s

    def explains(self, model: str, fault: UpstreamFault, now_s: float) -> bool:
        """Whether ``fault`` is only that ``model`` was still being loaded."""
        asked_s = self._asked_s.get(model)
        return fault.fault is Fault.TIMEOUT and asked_s is not None and now_s - asked_s < _LOADING_MAX_S


def _bounded(times_s: dict[str, float]) -> dict[str, float]:
    while len(times_s) >= _MODELS_MAX:
        del times_s[next(iter(times_s))]
    return times_s
