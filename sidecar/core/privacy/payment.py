"""Finds IBANs, payment cards and national bank accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy import checksums
from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, around, before, digits_of, listed, words

_IBAN: Final = re.compile(r"[A-Za-z]{2} ?\d{2}(?:[ .\n-]{0,2}[A-Za-z0-9]){10,32}")
_IBAN_WORD: Final = re.compile(r"\biban\b[^\n]{0,20}$", re.IGNORECASE)
_NOT_ALNUM: Final = re.compile(r"[^A-Z0-9]")


def iban(text: str, start: int, end: int) -> Iterator[Hit]:
    """The country's length and the check digits; with the word before it, a wrong digit is doubtful."""
    if text[start : start + 2].upper() not in checksums.IBAN_LENGTH:
        return
    match = _IBAN.match(text, start)
    if match is None:
        return
    value = _NOT_ALNUM.sub("", match[0].upper())
    length = checksums.IBAN_LENGTH.get(value[:2])
    if length is None or len(value) < length:
        return
    kept = 0
    for place in range(start, match.end()):
        kept += text[place].isalnum()
        if kept == length:
            break
    stop = place + 1
    if checksums.iban(value[:length]):
        if text[stop : stop + 1].isalnum() and text[start:stop].isalnum() and text[stop].isdigit():
            return
        yield Hit(start, stop, "iban", True)
    elif _IBAN_WORD.search(before(text, start, 24)) and len(digits_of(value)) >= 10:
        yield Hit(start, stop, "iban", False)


_CARD: Final = re.compile(r"\d(?:[ .-]?\d){12,18}(?!\d)")
_CARD_WORD: Final = re.compile(
    r"(?:card|karte|carte|tarjeta|carta|kaart|visa|master|amex|american express|maestro"
    r"|discover|diners|pan|cc|payment"
    r"|number|nummer|kunden?|customer)",
    re.IGNORECASE,
)
_NUMBER_WORD: Final = re.compile(
    r"(?:isbn|ean|gtin|upc|imei|tracking|order|bestell\w*|sendung\w*|timestamp|mod|hash"
    r"|id|issn|sku)\W{0,6}\w{0,4}\W{0,3}$",
    re.I,
)
_CARD_GROUPS: Final = frozenset(
    [
        (4, 4, 4, 4),
        (4, 6, 5),
        (4, 6, 4),
        (4, 4, 4, 4, 3),
        (4, 4, 4, 1),
        (4, 4, 4, 3),
        (4, 4, 5),
        (6, 10),
        (6, 13),
        (8, 8),
        (4, 4, 4, 2),
    ]
)
_TEST_WORD: Final = re.compile(
    r"test|sandbox|stripe|demo|dummy|example|sample|muster|beispiel|exemple|ejemplo|fake", re.IGNORECASE
)
# Numbers that payment companies publish for tests.
_TEST_CARDS: Final = frozenset(
    words(
        """4111111111111111 4242424242424242 4012888888881881 5555555555554444 5105105105105100
        378282246310005 371449635398431 6011111111111117 6011000990139424 30569309025904
        3530111333300000 4000056655665556"""
    )
)


def _issuer(digits: str) -> bool:
    """Whether the prefix and the length belong together (ISO/IEC 7812 issuers)."""
    two, three, four, count = int(digits[:2]), int(digits[:3]), int(digits[:4]), len(digits)
    if digits[0] == "4":
        return count in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return count == 16
    if two in (34, 37):
        return count == 15
    if two in (36, 38, 39) or 300 <= three <= 305:
        return 14 <= count <= 19
    if four == 6011 or two == 65 or 644 <= three <= 649 or two in (62, 81, 60):
        return 16 <= count <= 19
    if 3528 <= four <= 3589:
        return 16 <= count <= 19
    if two in (50, 56, 57, 58, 63, 67):
        return 12 < count <= 19
    return 2200 <= four <= 2204 and count == 16


def card(text: str, start: int, end: int) -> Iterator[Hit]:
    """Issuer, length, grouping and Luhn; a bare number that a count could be needs a word for a card."""
    if start and (text[start - 1] in ".-_" or text[start - 1].isalnum()):
        return
    match = _CARD.match(text, start)
    if match is None:
        return
    value = match[0]
    groups = tuple(len(part) for part in re.split(r"[ .-]", value))
    while sum(groups) >= 13 and groups not in _CARD_GROUPS and len(groups) > 1:
        value = value[: -groups[-1] - 1]
        groups = groups[:-1]
    digits = digits_of(value)
    stop = start + len(value)
    if len(digits) < 13 or not (len(groups) == 1 or groups in _CARD_GROUPS):
        return
    if not _issuer(digits) or not checksums.luhn(digits):
        return
    known = digits in _TEST_CARDS
    if len(set(digits)) < 3 and not known:
        return
    if text[stop : stop + 1].isalpha() or re.match(r"\.\d|-[0-9a-f]{3}", text[stop : stop + 5]):
        return
    told = _CARD_WORD.search(before(text, start, 60)) is not None
    other = _NUMBER_WORD.search(before(text, start, 30)) is not None
    if len(digits) < 15 and (other or not told):
        return
    if known and _TEST_WORD.search(around(text, start, stop, 60)):
        return
    if (known or other) and not told:
        yield Hit(start, stop, "card", False)
    elif told or len(groups) > 1 or not _in_table(text, start, stop):
        yield Hit(start, stop, "card", True)
    else:
        yield Hit(start, stop, "card", False)


def _in_table(text: str, start: int, stop: int) -> bool:
    """Whether the number stands among other bare numbers or in a formula."""
    beside = text[max(0, start - 3) : start] + text[stop : stop + 4]
    return bool(re.search(r"\d[;,| ]|[;,|] ?\d|[=*/+] ?$|mod", beside))


_ACCOUNT_VALUE: Final = re.compile(
    r"[\"']?[^\w\n]{0,4}(?:(?:number|no|nr|num|nummer|nº|n\.?[o\xba]|num[e\xe9]ro|n[u\xfa]mero"
    r"|is|ist|lautet|est|es|laut akte)\b"
    r"[\"']?[^\w\n]{0,4}){0,2}(\d(?:[ -]?\d){5,23})(?!\d)",
    re.IGNORECASE,
)
_ROUTING: Final = re.compile(r"[^\d\n]{0,24}(\d{9})(?!\d)")
_SORT_CODE: Final = re.compile(r"[^\d\n]{0,16}(\d\d[- ]?\d\d[- ]?\d\d)(?!\d)")


def bank_account(text: str, start: int, end: int) -> Iterator[Hit]:
    """An account number behind words that mean nothing else."""
    match = _ACCOUNT_VALUE.match(text, end)
    if match is not None and len(set(digits_of(match[1]))) > 2:
        yield Hit(match.start(1), match.end(1), "bank_account", True)


def loose_account(text: str, start: int, end: int) -> Iterator[Hit]:
    """``account 12345678``: of a bank, or of a cloud; certain only beside another word for a bank."""
    match = _ACCOUNT_VALUE.match(text, end)
    if match is None or len(set(digits_of(match[1]))) <= 2:
        return
    around = text[max(0, start - 80) : start] + text[match.end() : match.end() + 80]
    bank = re.search(
        r"bank|sort code|routing|blz|bic\b|swift|checking|savings|girokonto|iban|banque|banco|aba\b",
        around,
        re.I,
    )
    yield Hit(match.start(1), match.end(1), "bank_account", bank is not None)


def routing_number(text: str, start: int, end: int) -> Iterator[Hit]:
    match = _ROUTING.match(text, end)
    if match is not None and checksums.aba(match[1]):
        yield Hit(match.start(1), match.end(1), "bank_account", True)


def sort_code(text: str, start: int, end: int) -> Iterator[Hit]:
    match = _SORT_CODE.match(text, end)
    if match is not None and len(set(digits_of(match[1]))) > 1:
        yield Hit(match.start(1), match.end(1), "bank_account", True)


PAYMENT_RULES: Final = (
    Rule(
        "iban",
        iban,
        shapes=(
            r"\b[a-z]{2}\d{2}[a-z0-9]{4}",
            r"\b[a-z]{2}\d{2}[ .-][a-z0-9]",
            r"\b[a-z]{2} \d{2}[ -][a-z0-9]{4}",
        ),
    ),
    Rule(
        "card",
        card,
        shapes=(
            r"\b[2-6]\d{3}[ .-]\d{4}[ .-]\d{4}",
            r"\b3[0-9]\d{2}[ .-]\d{6}[ .-]\d{4}",
            r"\b[2-6]\d{12}",
            r"\b[2-6]\d{5}[ -]\d{10}",
            r"\b[2-6]\d{7}[ -]\d{8}",
        ),
    ),
    Rule(
        "bank_account",
        bank_account,
        words=listed(
            """account number, account no, account no., account_number, accountnumber, acct no, acct
            number, bank account, kontonummer, kontonr, konto-nr, konto nr, blz, bankleitzahl, numéro de
            compte, compte bancaire, cuenta bancaria, número de cuenta, numero de cuenta, conto
            corrente, rekeningnummer, girokonto, bankverbindung: konto, rib, acct, ccc, bankrekening,
            a/c no"""
        ),
    ),
    Rule("loose_account", loose_account, words=("account", "konto", "compte", "cuenta", "conto")),
    Rule(
        "routing_number",
        routing_number,
        words=("routing", "aba", "rtn", "routing number", "routing_number", "aba_number"),
    ),
    Rule("sort_code", sort_code, words=("sort code", "sortcode", "sort-code", "sort_code", "s/c")),
)
