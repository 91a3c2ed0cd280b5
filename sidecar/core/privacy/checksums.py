"""Check digits of account numbers, cards and national identifiers, as their issuers publish them."""

from __future__ import annotations

from typing import Final

# Length of an IBAN per country: SWIFT's IBAN registry, release 99.
_COUNTRIES_BY_LENGTH: Final = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN_LENGTH: Final[dict[str, int]] = {
    country: length for length, countries in _COUNTRIES_BY_LENGTH.items() for country in countries.split()
}

_DNI_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
# What the characters 0-9 and A-Z count at odd places; a digit counts as the letter of its order.
_CF_LETTERS: Final = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)
_CF_ODD: Final = {
    char: _CF_LETTERS[int(char) if char.isdigit() else ord(char) - 65]
    for char in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
}
_RVNR_WEIGHTS: Final = (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = ord(char) - 48
        if place % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def iban(value: str) -> bool:
    """ISO 13616: the country's length and the remainder 1 modulo 97. ``value`` is upper case, unspaced."""
    if IBAN_LENGTH.get(value[:2]) != len(value):
        return False
    return int("".join(str(int(char, 36)) for char in value[4:] + value[:4])) % 97 == 1


def steuer_id(digits: str) -> bool:
    """German tax identification number: ISO 7064 MOD 11,10, no leading zero, one digit repeated."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    if len(set(digits[:10])) not in (8, 9):
        return False
    product = 10
    for char in digits[:10]:
        product = ((int(char) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def rvnr(value: str) -> bool:
    """German pension insurance number, 12 characters, the ninth a letter."""
    expanded = value[:8] + f"{ord(value[8]) - 64:02d}" + value[9:11]
    total = sum(
        sum(divmod(int(char) * weight, 10)) for char, weight in zip(expanded, _RVNR_WEIGHTS, strict=True)
    )
    return total % 10 == int(value[11])


def kvnr(value: str) -> bool:
    """German health insurance number: one letter and nine digits, the last a check digit."""
    expanded = f"{ord(value[0]) - 64:02d}" + value[1:9]
    total = sum(sum(divmod(int(char) * (1 + place % 2), 10)) for place, char in enumerate(expanded))
    return total % 10 == int(value[9])


def svnr(digits: str) -> bool:
    """Austrian social insurance number: ten digits, the fourth a check digit, the last six a date."""
    weights = (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)
    day, month = int(digits[4:6]), int(digits[6:8])
    if digits[0] == "0" or not (1 <= day <= 31 and 1 <= month <= 15):
        return False
    return sum(int(char) * weight for char, weight in zip(digits, weights, strict=True)) % 11 == int(
        digits[3]
    )


def ean13(digits: str) -> bool:
    """EAN-13, which the Swiss AHV number uses behind the prefix 756."""
    total = sum(int(char) * (3 if place % 2 else 1) for place, char in enumerate(digits[:12]))
    return (10 - total % 10) % 10 == int(digits[12])


def nhs(digits: str) -> bool:
    """British NHS number: ten digits, modulo 11."""
    check = 11 - sum(int(char) * (10 - place) for place, char in enumerate(digits[:9])) % 11
    return check != 10 and check % 11 == int(digits[9])


def nir(value: str) -> bool:
    """French social security number with its key: 15 characters, Corsica's 2A and 2B included."""
    body = value[:13].replace("2A", "19").replace("2B", "18")
    return body.isdigit() and 97 - int(body) % 97 == int(value[13:15])


def dni(value: str) -> bool:
    """Spanish DNI (eight digits and a letter) or NIE (X, Y or Z, seven digits and a letter)."""
    digits = value[:-1].replace("X", "0").replace("Y", "1").replace("Z", "2")
    return digits.isdigit() and _DNI_LETTERS[int(digits) % 23] == value[-1]


def codice_fiscale(value: str) -> bool:
    """Italian tax code: 16 characters, the last a check letter."""
    total = sum(
        (int(char, 36) if char.isdigit() else ord(char) - 65) if place % 2 else _CF_ODD[char]
        for place, char in enumerate(value[:15])
    )
    return chr(65 + total % 26) == value[15]


def bsn(digits: str) -> bool:
    """Dutch citizen service number: nine digits, the eleven test with the last weight -1."""
    if len(digits) != 9 or digits == "000000000":
        return False
    total = sum(int(char) * (9 - place) for place, char in enumerate(digits[:8])) - int(digits[8])
    return total % 11 == 0


def aba(digits: str) -> bool:
    """United States bank routing number: nine digits, weights 3, 7, 1."""
    prefix = int(digits[:2])
    if not (prefix <= 12 or 21 <= prefix <= 32 or 61 <= prefix <= 72 or prefix == 80):
        return False
    return sum(int(char) * (3, 7, 1)[place % 3] for place, char in enumerate(digits)) % 10 == 0


def ssn(digits: str) -> bool:
    """United States social security number or ITIN: no check digit, but areas never given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if area in ("000", "666") or group == "00" or serial == "0000":
        return False
    if area[0] == "9":  # an ITIN
        return 50 <= int(group) <= 99
    return digits != "078051120"
