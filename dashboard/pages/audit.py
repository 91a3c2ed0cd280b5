"""The audit log: every change, from old to new, with who, when and why."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from dashboard.page import Ask, Page
from dashboard.wording import number
from sidecar.core.rollout_states import RULES
from sidecar.services import Services
from sidecar.storage.audit_log import AuditEntry

_ROWS: Final = 50
#: What was done, in words, for every action that is ever written.
WORDS: Final = {
    **{rule.action: rule.did for rule in RULES.values()},
    "rollout.salt": "placed sessions anew",
    "settings.applied": "changed the configuration",
    "settings.rejected": "was refused a change",
    "budget.set": "changed a cap",
    "budget.add": "added a cap",
    "budget.remove": "removed a cap",
    "hold.release": "released a hold",
    "tier.out": "took a tier out of service",
    "tier.back": "put a tier back into service",
}
#: How a value is written, by what it is a value of.
_UNITS: Final = {"percent": ("", " %"), "budget.set": ("$", "")}


class AuditRow(msgspec.Struct, frozen=True):
    """One change; ``did`` is the action in words, ``old`` and ``new`` as people read them."""

    entry: AuditEntry
    did: str
    old: str
    new: str


class AuditContext(msgspec.Struct, frozen=True):
    """Changes, newest first; ``older`` is the query of the next page, or empty."""

    rows: tuple[AuditRow, ...]
    wrong: str
    older: str
    first: bool


async def load(services: Services, ask: Ask) -> AuditContext:
    """Reads one page of the audit log."""
    cursor = ask.get("cursor") or None
    try:
        found = await services.audit.page(cursor, _ROWS)
    except ValueError as error:
        return AuditContext((), str(error), "", first=False)
    return AuditContext(
        rows=tuple(
            AuditRow(entry, WORDS.get(entry.action, entry.action), *change_words(entry))
            for entry in found.entries
        ),
        wrong="",
        older=urlencode({"cursor": found.next_cursor}) if found.next_cursor else "",
        first=cursor is None,
    )


def change_words(entry: AuditEntry) -> tuple[str, str]:
    """Old and new, with their unit."""
    before, after = _UNITS.get(entry.subject if _moves(entry) else entry.action, ("", ""))
    old, new = (
        _plain(value) if value is None or isinstance(value, dict) else f"{before}{_plain(value)}{after}"
        for value in (entry.old, entry.new)
    )
    if _moves(entry) and entry.subject == "state":
        return old.replace("_", " "), new.replace("_", " ")
    return old, new


def _moves(entry: AuditEntry) -> bool:
    """Whether the rollout moved; its subject is then ``percent`` or ``state``."""
    return entry.action.startswith("rollout.")


def _plain(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


PAGE: Final = Page(
    name="audit",
    path="/audit",
    title="Audit",
    context=AuditContext,
    load=load,
    live=("audit_rows",),
    live_unless="cursor",
)
