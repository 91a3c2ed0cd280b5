"""Says which arm a call belongs to: a hash puts it into one of 10,000 buckets, the lower ones are routed.

The bucket depends on the salt and the sticky key alone, so that a session stays where it is while the
percentage stands still, the routed 10 % are among the routed 30 %, and replicas that share a salt agree
without talking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b

from sidecar.core.hints import SESSION_HEADER
from sidecar.core.vocabulary import Arm

BUCKETS = 10_000


def bucket(salt: str, key: str) -> int:
    """The bucket, 0 to 9,999, of a sticky key.

    It is the first 8 bytes, big-endian, of BLAKE2b over the key's UTF-8, keyed with the 32-byte BLAKE2b
    hash of the salt's UTF-8, modulo 10,000; the modulo favours no bucket by more than one part in 10**15.
    This never changes: sessions would swap arms.
    """
    digest = blake2b(_bytes(key), digest_size=8, key=blake2b(_bytes(salt), digest_size=32).digest())
    return int.from_bytes(digest.digest(), "big") % BUCKETS


def assign_arm(bucket: int, percent: float | Decimal) -> Arm:
    """``ROUTED`` for the buckets below ``percent``, which goes from 0 to 100 in steps of 0.01.

    Raises ``ValueError`` for any other percentage.
    """
    return Arm.ROUTED if bucket < routed_buckets(percent) else Arm.LEGACY


def routed_buckets(percent: float | Decimal) -> int:
    """How many buckets are routed at ``percent``: 0 to 10,000. Raises ``ValueError`` as ``assign_arm``."""
    # A float such as 0.29 times 100 is not whole; the decimal that it is written as is.
    buckets = Decimal(str(percent)) * (BUCKETS // 100)
    if not buckets.is_finite() or not 0 <= buckets <= BUCKETS or buckets != int(buckets):
        raise ValueError(f"{percent} is no rollout percentage; it goes from 0 to 100, in steps of 0.01")
    return int(buckets)


def sticky_key(
    sticky_by: Sequence[str],
    headers: Mapping[str, str],
    fields: Mapping[str, object],
    session: str | None,
    request_id: str,
) -> tuple[str, str]:
    """The first source of ``sticky_by`` that the call has, and its value; else the request itself.

    A source is ``header:<name>``, ``body:<field>`` or ``request``. ``headers`` have lower-case names;
    ``fields`` are the decoded body; ``session`` is the session hint, which the session header's source
    finds in the body's metadata too. Empty values count as absent.
    """
    for source in sticky_by:
        kind, _, name = source.partition(":")
        if kind == "header":
            header = name.lower()
            value: object = (session if header == SESSION_HEADER else None) or headers.get(header)
        elif kind == "body":
            value = fields.get(name)
        else:
            break
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return source, str(value).strip()
    return "request", request_id


def _bytes(text: str) -> bytes:
    # A header may hold anything; a lone surrogate must not end the call.
    return text.encode("utf-8", "surrogatepass")
