"""Says what is known of an attempt's cost from how it ended.

::

    usage reported, at the answer's end               -> reported
    ended by itself without, or the client left       -> estimated, from what the upstream sent;
                                                         unknown where reasoning is not delivered
    the client left, having held the upstream back    -> unknown
    refused: connection, 3xx, 4xx but 408             -> released
    anything else that went wrong, and no answer yet  -> unknown

An upstream goes on generating while a client that does not read keeps its answer from coming. So an estimate
counts what has come from the upstream, delivered or not, and is made only where nothing was held back. What
is generated while the closing of the connection is on its way is left to the thousand tokens and more that
the bound of the input, which is posted whole, has to spare (``bounds.TEMPLATE_TOKENS``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sidecar.core.errors import UNBILLED_FAULTS, Fault
from sidecar.core.ports import Tally
from sidecar.core.settlement import Settlement, SettlementKind
from sidecar.core.vocabulary import Usage

#: Models that reason, bill it as output, and show none or only a summary of it; by how their names start,
#: whatever vendor or ``ft:`` stands before.
_REASONS_UNSEEN = re.compile(r"(?:.*[/:])?(?:o[1-9]|gpt-[5-9]|codex|claude|gemini|grok)", re.IGNORECASE)


def may_reason_unseen(model: str, fields: Mapping[str, Any]) -> bool:
    """Whether ``model``, asked with ``fields``, may be billed for output that is not delivered."""
    reasoning = fields.get("reasoning")
    return (
        _REASONS_UNSEEN.match(model) is not None
        # OpenRouter's, its older, and Groq's way to ask that reasoning be left out.
        or (isinstance(reasoning, Mapping) and bool(reasoning.get("exclude")))
        or fields.get("include_reasoning") is False
        or fields.get("reasoning_format") == "hidden"
    )


def settlement_of(
    tally: Tally | None, fault: Fault | None, *, input_bound: int, unseen: bool = False
) -> Settlement:
    """The settlement of an attempt that has ended.

    ``tally`` is what was seen of its answer (None: no answer began), ``fault`` what went wrong (None:
    it ended by itself, or the client left). ``input_bound`` is the number of input tokens that was held
    for. ``unseen`` says that more may have been generated than was delivered. An estimate counts one token
    per byte that came, which no tokenizer exceeds, so it errs to the safe side only.

    A usage that came before the end is a count of the answer so far, and is taken as no more than that.
    """
    usage = tally.usage if tally is not None else None
    if tally is not None and usage is not None and tally.finished:
        return Settlement(SettlementKind.REPORTED, usage)
    if fault in UNBILLED_FAULTS and (tally is None or not tally.begun()):
        return Settlement(SettlementKind.RELEASED)
    held_back = tally is not None and tally.behind and not tally.finished
    if tally is None or fault is not None or unseen or held_back:
        return Settlement(SettlementKind.UNKNOWN)
    output = max(tally.output_text_bytes, usage.output_tokens if usage is not None else 0)
    return Settlement(SettlementKind.ESTIMATED, Usage(input_bound, output, estimated=True))
