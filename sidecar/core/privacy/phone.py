"""Finds phone numbers, international, national, and bare ones behind a word for a telephone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import phonenumbers
from phonenumbers import PhoneNumberType

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, before, digits_of, listed

_TRUNK_REGIONS: Final = ("DE", "FR", "GB", "AT", "CH", "IT", "NL")
_BARE_REGIONS: Final = ("US", "ES", "IT")
_PHONE: Final = re.compile(
    r"[+(]{0,2}\d(?:(?:[ .\-/()]|\) |\)-|- | -| \(| / |-\()?\d){5,16}(?![0-9A-WYZa-wyz_])"
)
_PHONE_WORD: Final = re.compile(
    r"(?:\b(?:tel|telefon\w*|telephone|t[e\xe9]l[e\xe9]phon\w*|tel[e\xe9]fono|phone|fon"
    r"|fono|mobil\w*|handy\w*|cell\w*|portable"
    r"|m[o\xf3]vil|fax|call\w*|caller|r[u\xfc]ckruf|ruf\w*|anruf\w*|whats ?app|sms|text"
    r"|ring|dial|reach\w*|contact\w*|kontakt\w*"
    r"|erreich\w*|appel\w*|joindre|num[e\xe9]ro|n[u\xfa]mero|tlfn?o?|ll[a\xe1]m\w*|bel|cellulare|chiam\w*|signal"
    r"|hotline|durchwahl|nummer|number"
    r"|customer|kunden?|client|patient\w*|privat)\b)[^\n]{0,40}$",
    re.I,
)
_AFTER_PHONE_WORD: Final = re.compile(
    r"[^\n\d]{0,40}\b(?:erreichbar|anruf\w*|anrufen|call\w*|r[u\xfc]ckruf|appel\w*|ll[a\xe1]m\w*"
    r"|after|phone|mobile|privat|handy|tel|contact|kontakt)\b",
    re.I,
)
_FREE_PHONE: Final = re.compile(
    r"(?:\+\d\d ?)?0?(?:800|808|900|180\d?|137)|\+?1?[ .-]?\(?(?:800|888|877|866|855|844"
    r"|833)|116 ?117|11[0258]$"
)
_CHARGED: Final = frozenset(
    (
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
    )
)
_COUNTING: Final = "01234567890123456789 9876543210"
_HEX_BEFORE: Final = re.compile(r"\b[0-9A-F]{2} $", re.IGNORECASE)
_HEX_BEHIND: Final = re.compile(r" [0-9A-F]{2}\b", re.IGNORECASE)
_DATE_LIKE: Final = re.compile(
    r"(?:\d{5}-\d{4}|\d{1,2}[./-]\d{1,2}[./-](?:\d{2}|\d{4})|\d{4}-\d\d-\d\d(?:[ T].*)?)$"
)


def _parsed(value: str, region: str | None) -> tuple[bool, bool]:
    """Whether ``value`` is a possible and a valid number of ``region``; a service number is neither."""
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return False, False
    kind = phonenumbers.number_type(number)
    if kind in _CHARGED:
        return False, False
    if kind != PhoneNumberType.UNKNOWN:
        return True, True
    return phonenumbers.is_possible_number(number), False


def load_numbering_plans() -> None:
    """Load the regions' plans now; ``phonenumbers`` would do so within the first scans, for 20 ms."""
    for region in (*_TRUNK_REGIONS, *_BARE_REGIONS):
        _parsed("0301234567", region)


def _is_mobile(value: str, trunk: bool) -> bool:
    """Whether ``value``, which has a trunk prefix, is a mobile number in one of the regions."""
    return trunk and any(
        phonenumbers.number_type(phonenumbers.parse(value, region)) == PhoneNumberType.MOBILE
        for region in _TRUNK_REGIONS[:5]
    )


# What stands before numbers that are given to things.
_OTHER_NUMBER: Final = re.compile(
    r"\b(?:order|bestell\w*|tracking|sendung\w*|facture|r[e\xe9]f\w*|referencia|artik\w*"
    r"|article|part|ersatzteil|ean|isbn|issn|doi|gtin"
    r"|ticket|invoice|rechnung\w*|commande|pedido|suivi|seguimiento|item|sku|serial|build"
    r"|version|rev\w*|id|uuid|timestamp|lager\w*|rfc)\b[^\n]{0,14}$",
    re.IGNORECASE,
)


def international_phone(text: str, start: int, end: int) -> Iterator[Hit]:
    """``+49 ...`` or ``0049 ...``: enough digits, in the plan of a country."""
    if start and (
        text[start - 1].isalnum()
        or (text[start - 1] in "+.-_=/" and text[start] == "+" and text[start - 1] != "=")
    ):
        return
    match = _PHONE.match(text, start)
    if match is None or _FREE_PHONE.match(match[0]):
        return
    plus = text[start] == "+"
    value = (match[0] if plus else "+" + match[0][2:].lstrip()).replace("(0)", "")
    if not 8 <= len(digits_of(value)) <= 15:
        return
    possible, valid = _parsed(value, None)
    grouped = re.search(r"\d[ ()/-]+\d", value) is not None
    known = _PHONE_WORD.search(before(text, start, 60)) is not None
    if (valid and (plus or grouped or known)) or (possible and (plus or (known and grouped))):
        yield Hit(start, match.end(), "phone", True)
    elif (plus and grouped) or known:
        yield Hit(start, match.end(), "phone", known and plus)


def national_phone(text: str, start: int, end: int) -> Iterator[Hit]:
    """A number with a trunk prefix or in a national grouping; without a cue only valid ones count."""
    behind = text[start - 1 : start]
    if behind.isalnum() or (behind and behind in ".-_/+#,\xa7"):
        return
    if behind == "(":
        start -= 1
    match = _PHONE.match(text, start)
    if match is None or match.end() - start < 8:
        return
    value, stop = match[0], match.end()
    if _DATE_LIKE.match(value) or _FREE_PHONE.match(value):
        return
    digits = digits_of(value)
    if not 8 <= len(digits) <= 13 or digits in _COUNTING or _NO_PHONE_BEHIND.match(text, stop):
        return
    if _HEX_BEFORE.search(before(text, start, 3)) and _HEX_BEHIND.match(text, stop):
        return
    trunk = digits[0] == "0"
    grouped = _GROUPED.search(value) is not None
    if _PHONE_WORD.search(before(text, start, 60)) or _AFTER_PHONE_WORD.match(text, stop):
        if grouped or _TELLING_GROUPS.fullmatch(value) or _is_valid(value, trunk):
            yield Hit(start, stop, "phone", True)
    elif _OTHER_NUMBER.search(before(text, start, 30)):
        return
    elif _TELLING_GROUPS.fullmatch(value):
        yield Hit(start, stop, "phone", True)
    elif "." not in value and (grouped or _is_mobile(value, trunk)) and _is_valid(value, trunk):
        yield Hit(start, stop, "phone", grouped and trunk and len(digits) >= 9)


def _is_valid(value: str, trunk: bool) -> bool:
    return any(_parsed(value, region)[1] for region in (_TRUNK_REGIONS if trunk else _BARE_REGIONS))


_GROUPED: Final = re.compile(r"\d[ ()/-]+\d")
# North American and French groups, which little else is written in.
_TELLING_GROUPS: Final = re.compile(r"\(?\d{3}\)?[ .-]\d{3}[.-]\d{4}|0[1-9](?:[ .-]\d\d){4}")
_NO_PHONE_BEHIND: Final = re.compile(r"[%_]|,\d")


_TO_PHONE: Final = re.compile(r"[^\d\n+(]{0,30}\n?[^\d\n+(]{0,12}")


def cued_phone(text: str, start: int, end: int) -> Iterator[Hit]:
    """Any dialable run of digits shortly behind a word for a telephone."""
    gap = _TO_PHONE.match(text, end)
    place = gap.end() if gap is not None else end
    number = _PHONE.match(text, place)
    if number is None or _DATE_LIKE.match(number[0]) or _FREE_PHONE.match(number[0]):
        return
    digits = digits_of(number[0])
    if 7 <= len(digits) <= 15 and len(set(digits)) > 2 and not _NO_PHONE_BEHIND.match(text, number.end()):
        yield Hit(place, number.end(), "phone", True)


PHONE_RULES: Final = (
    Rule("international_phone", international_phone, shapes=(r"\+\d", r"\+[ (]\d", r"\b00[1-9]\d")),
    Rule(
        "national_phone",
        national_phone,
        shapes=(
            r"\b0[1-9]\d",
            r"\b0[1-9][ /.-]\d",
            r"\b\d{3}[ .-]\d{3}[ .-]\d{4}\b",
            r"\b\d{3}\) \d{3}[ .-]\d{4}\b",
            r"\b\d{3}\)\d{3}[ .-]\d{4}\b",
            r"\b[6789]\d{2} \d{2} \d{2} \d{2}\b",
            r"\b[6789]\d{2}[ .-]\d{3}[ .-]\d{3}\b",
            r"\b[89]\d \d{3} \d{2} \d{2}\b",
            r"\b3\d{2}[ /-]\d{6}",
        ),
    ),
    Rule(
        "cued_phone",
        cued_phone,
        words=listed(
            """tel, tlf, telefon, telephone, tél, téléphone, teléfono, telefono, phone, handy, mobil,
            mobile, cell, móvil, movil, portable, cellulare, whatsapp, mobilnummer, handynummer,
            telefonnummer, rufnummer, phone number, mobile number, numéro, telefonisch, telefoon,
            phone_number, phonenumber, fax, telefax, rückruf, telefoonnummer, call me, text me,
            mobiltelefon"""
        ),
    ),
)
