"""Says what a hold comes to once its attempt has ended: the one table of endings and what they post."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from sidecar.core.pricing import Price
from sidecar.core.vocabulary import Usage


class SettlementKind(StrEnum):
    """How much is known of what an attempt cost.

    ::

        open -> reported    the upstream reported usage: its cost is posted
             -> estimated   no usage, or the client left: the cost of what was delivered is posted
             -> released    the upstream cannot have billed: nothing is posted
             -> unknown     timeout, cut, crash: the whole hold is posted, until an operator
                            reconciles it with the bill:  unknown -> released
    """

    REPORTED = "reported"
    ESTIMATED = "estimated"
    RELEASED = "released"
    UNKNOWN = "unknown"


class Settlement(msgspec.Struct, frozen=True):
    """What became of one held attempt; ``usage`` belongs to reported and estimated ones."""

    kind: SettlementKind
    usage: Usage | None = None


class UsageFlag(StrEnum):
    """What was wrong with a reported usage."""

    NONE = ""
    OVER_HOLD = "over_hold"
    ABSURD = "absurd_usage"


class Posting(msgspec.Struct, frozen=True):
    """What a settlement posts: at most the hold, in nano-dollars."""

    kind: SettlementKind
    nano_usd: int
    usage: Usage | None = None
    flag: UsageFlag = UsageFlag.NONE


def posting(held_nano_usd: int, price: Price, settlement: Settlement) -> Posting:
    """What ``settlement`` posts against a hold of ``held_nano_usd``. Never more than the hold; never raises.

    A usage that cannot be believed, or costs more than the hold, posts the whole hold and is flagged:
    either the bound was none, or the upstream did not keep to the limit it was sent.
    """
    kind, usage = settlement.kind, settlement.usage
    if kind is SettlementKind.RELEASED:
        return Posting(kind, 0)
    if kind is SettlementKind.UNKNOWN or usage is None:
        return Posting(SettlementKind.UNKNOWN, held_nano_usd)
    if not believable(usage):
        return Posting(kind, held_nano_usd, flag=UsageFlag.ABSURD)
    cost = price.cost(usage)
    if cost > held_nano_usd:
        # An estimate is ours, not the upstream's word: it is cut to the bound without an alarm.
        flag = UsageFlag.OVER_HOLD if kind is SettlementKind.REPORTED else UsageFlag.NONE
        return Posting(kind, held_nano_usd, usage, flag)
    return Posting(kind, cost, usage)


def believable(usage: Usage) -> bool:
    """Whether the counts can be those of a call that was sent and answered.

    They are whole numbers, not negative, some input was used, and each part is at most its whole. An
    upstream that reports more reasoning than output bills the two apart, which is not known here.
    """
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.reasoning_tokens)
    return (
        all(type(count) is int and 0 <= count <= _TOKENS_MAX for count in counts)
        and usage.input_tokens > 0
        and usage.cached_input_tokens <= usage.input_tokens
        and usage.reasoning_tokens <= usage.output_tokens
    )


#: More than any model reads or writes in a call.
_TOKENS_MAX = 10**12
