"""What the detector reports: where something was found, of which kind, and how sure it is."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

import msgspec


class Group(StrEnum):
    """What ``privacy.detect`` switches on and off."""

    PII = "pii"
    HEALTH = "health"
    SECRETS = "secrets"


class Confidence(StrEnum):
    """``CERTAIN`` makes a call SENSITIVE, ``POSSIBLE`` makes it UNKNOWN."""

    CERTAIN = "certain"
    POSSIBLE = "possible"


class Finding(msgspec.Struct, frozen=True, order=True):
    """One place in one text. ``start`` and ``end`` are character offsets into ``texts[text_index]``.

    A value that was split over several texts is reported where it begins, up to the end of that text.
    An encoded value is reported as the whole encoded run.
    """

    text_index: int
    start: int
    end: int
    kind: str
    group: Group
    confidence: Confidence


class Hit(NamedTuple):
    """A finding inside one plain text, before it is placed in the caller's texts."""

    start: int
    end: int
    kind: str
    certain: bool


NAME_KIND: Final = "person_name"

GROUP_OF: Final[dict[str, Group]] = {
    "email": Group.PII,
    "phone": Group.PII,
    "iban": Group.PII,
    "card": Group.PII,
    "bank_account": Group.PII,
    "national_id": Group.PII,
    "passport": Group.PII,
    "ip_address": Group.PII,
    "licence_plate": Group.PII,
    "date_of_birth": Group.PII,
    "address": Group.PII,
    NAME_KIND: Group.PII,
    "person_fact": Group.PII,
    "health_insurance": Group.HEALTH,
    "patient_record": Group.HEALTH,
    "health": Group.HEALTH,
    "api_key": Group.SECRETS,
    "private_key": Group.SECRETS,
    "jwt": Group.SECRETS,
    "password": Group.SECRETS,
}
