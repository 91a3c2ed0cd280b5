"""Every check digit against numbers that the issuers themselves publish, and against a slip of the pen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.core.privacy import checksums

PUBLISHED = [
    (checksums.luhn, "4111111111111111"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.iban, "FR1420041010050500013M02606"),
    (checksums.iban, "CH9300762011623852957"),
    (checksums.iban, "NL91ABNA0417164300"),
    (checksums.steuer_id, "86095742719"),
    (checksums.steuer_id, "47036892816"),
    (checksums.rvnr, "15070649C103"),
    (checksums.kvnr, "A123456780"),
    (checksums.svnr, "1237010180"),
    (checksums.ean13, "7569217076985"),
    (checksums.nhs, "9434765919"),
    (checksums.nir, "255081416802538"),
    (checksums.dni, "12345678Z"),
    (checksums.dni, "X1234567L"),
    (checksums.codice_fiscale, "RSSMRA85T10A562S"),
    (checksums.bsn, "111222333"),
    (checksums.aba, "021000021"),
]


@pytest.mark.parametrize(("check", "value"), PUBLISHED)
def test_published_numbers_are_valid(check: Callable[[str], bool], value: str) -> None:
    assert check(value)


@pytest.mark.parametrize(("check", "value"), PUBLISHED)
def test_one_digit_off_is_not(check: Callable[[str], bool], value: str) -> None:
    place = next(place for place in range(len(value) - 3, 0, -1) if value[place].isdigit())
    wrong = value[:place] + str((int(value[place]) + 1) % 10) + value[place + 1 :]
    assert not check(wrong)


@pytest.mark.parametrize("digits", ["000123456", "666123456", "123001234", "123450000", "912345678"])
def test_social_security_areas_never_given(digits: str) -> None:
    assert not checksums.ssn(digits)


def test_an_itin_is_in_the_nine_hundreds() -> None:
    assert checksums.ssn("912701234")
