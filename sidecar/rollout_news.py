"""Tells of the rollout's moves: a line in the log, an alert where somebody should look, a span."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sidecar.core.alerts import AlertKind
from sidecar.core.rollout_states import Event
from sidecar.rollout_desk import RolloutNotice

log = logging.getLogger("sidecar.rollout")

#: What an operator is alerted of, and how grave it is; all else he did, or planned, himself.
_LEVELS = {
    Event.BREACH.value: logging.ERROR,
    Event.MISMATCH.value: logging.WARNING,
    "warning": logging.WARNING,
}

#: Raises an alert: kind, key, text, detail.
RaiseAlert = Callable[[AlertKind, str, str, dict[str, Any]], None]
#: Traces a move: event, Unix nanoseconds, attributes, what was broken.
Trace = Callable[[str, int, dict[str, str | float], str], None]


class RolloutNews:
    """Hands on each notice; never raises for want of a collector."""

    def __init__(self, raise_alert: RaiseAlert, trace: Trace) -> None:
        self._raise_alert = raise_alert
        self._trace = trace

    def tell(self, notice: RolloutNotice) -> None:
        """One move, or a warning."""
        text = words(notice)
        level = _LEVELS.get(notice.event, logging.INFO)
        log.log(level, "%s", text)
        if level > logging.INFO:
            key = f"rollout/{notice.version}/{notice.event}/{notice.gate}/{notice.at_ns}"
            detail = {
                "event": notice.event,
                "gate": notice.gate,
                "state": notice.state,
                "from_percent": notice.from_percent,
                "to_percent": notice.to_percent,
                "why": notice.why,
            }
            self._raise_alert(AlertKind.ROLLOUT, key, text, detail)
        attributes: dict[str, str | float] = {
            "sidecar.rollout.event": notice.event,
            "sidecar.rollout.state": notice.state,
            "sidecar.rollout.actor": notice.actor,
            "sidecar.rollout.from_percent": notice.from_percent,
            "sidecar.rollout.to_percent": notice.to_percent,
            "sidecar.rollout.reason": notice.why,
        }
        if notice.gate:
            attributes["sidecar.rollout.gate"] = notice.gate
        broken = notice.why if notice.event == Event.BREACH.value else ""
        self._trace(notice.event, notice.at_ns, attributes, broken)


def words(notice: RolloutNotice) -> str:
    """What happened, in a sentence."""
    where = f"{notice.to_percent:g} %"
    if notice.from_percent != notice.to_percent:
        where = f"{notice.from_percent:g} % to {where}"
    because = f": {notice.why}" if notice.why else ""
    if notice.event == Event.BREACH.value:
        return f"the rollout went back from {where} by itself and stays there until somebody resumes{because}"
    if notice.event == Event.MISMATCH.value:
        return f"the rollout is paused at {where}{because}"
    if notice.event == "warning":
        return f"the gate {notice.gate} warns at {where}{because}"
    return f"rollout {notice.event.replace('_', ' ')} by {notice.actor}, {where}, {notice.state}{because}"
