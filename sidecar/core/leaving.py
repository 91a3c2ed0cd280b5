"""Says whether a call may leave this machine as the decision sees it, and why in words."""

from __future__ import annotations

from sidecar.core.vocabulary import DataClassification, Features, VerdictState

_STAYS = frozenset(kind for kind in DataClassification if kind.forbids_leaving)


def may_leave(features: Features) -> tuple[bool, str]:
    """Whether the call may leave, and why.

    ``Features.may_leave`` is the privacy gate's word. A declared classification or a verdict that forbids
    leaving is heeded here once more, so that features at odds with themselves never let a call out.
    """
    verdict = features.verdict
    if features.hints.data_classification in _STAYS:
        return False, f"the app declared its data {features.hints.data_classification}"
    if verdict.state is VerdictState.SENSITIVE:
        kinds = ", ".join(f"{count} {kind}" for kind, count in verdict.kinds.items())
        return False, f"sensitive data was found ({kinds or verdict.why or 'no kind given'})"
    if verdict.state is VerdictState.UNKNOWN:
        doubt = f"it cannot be told whether the data is sensitive ({verdict.why or 'no reason given'})"
        return features.may_leave, f"{doubt}, and such calls may leave" if features.may_leave else doubt
    if features.may_leave:
        return True, "nothing sensitive was found, the call may leave"
    return False, "the privacy gate gave no permit to leave"


def is_sensitive(features: Features) -> bool:
    """The data is known to be sensitive, rather than not known to be harmless."""
    return features.verdict.state is VerdictState.SENSITIVE or features.hints.data_classification in _STAYS
