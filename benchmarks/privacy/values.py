"""Makes up values of every kind, validly shaped and with right check digits, from a seeded source."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from random import Random
from typing import Final

from faker import Faker

from sidecar.core.privacy import checksums

LOCALES: Final = {
    "en": ("en_US", "en_GB"),
    "de": ("de_DE", "de_AT", "de_CH"),
    "fr": ("fr_FR", "fr_CH"),
    "es": ("es_ES",),
}
_ALNUM: Final = string.ascii_letters + string.digits
_MAIL_HOSTS: Final = (
    "gmail.com",
    "gmx.de",
    "outlook.com",
    "web.de",
    "orange.fr",
    "proton.me",
    "hotmail.es",
    "bluewin.ch",
    "icloud.com",
)
_CONDITIONS: Final = {
    "en": (
        "type 1 diabetes",
        "breast cancer",
        "severe depression",
        "epilepsy",
        "HIV",
        "multiple sclerosis",
        "Crohn's disease",
        "schizophrenia",
        "hepatitis B",
        "an eating disorder (bulimia)",
    ),
    "de": (
        "Typ-1-Diabetes",
        "Brustkrebs",
        "eine schwere Depression",
        "Epilepsie",
        "HIV",
        "Multiple Sklerose",
        "Morbus Crohn",
        "Schizophrenie",
        "Hepatitis B",
        "Bulimie",
    ),
    "fr": (
        "un diabète de type 1",
        "un cancer du sein",
        "une dépression sévère",
        "une épilepsie",
        "le VIH",
        "une sclérose en plaques",
        "la maladie de Crohn",
        "une hépatite B",
    ),
    "es": (
        "diabetes tipo 1",
        "cáncer de mama",
        "una depresión grave",
        "epilepsia",
        "VIH",
        "esclerosis múltiple",
        "la enfermedad de Crohn",
        "hepatitis B",
    ),
}


class Values:
    """A source of made-up values; the same seed gives the same values."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._fakers = {name: Faker(name) for names in LOCALES.values() for name in names}
        for offset, faker in enumerate(self._fakers.values()):
            faker.seed_instance(seed + offset)

    def faker(self, lang: str) -> Faker:
        return self._fakers[self.random.choice(LOCALES[lang])]

    def digits(self, count: int) -> str:
        return "".join(self.random.choices(string.digits, k=count))

    def alnum(self, count: int, alphabet: str = _ALNUM) -> str:
        return "".join(self.random.choices(alphabet, k=count))

    def _until(self, make: Callable[[], str], valid: Callable[[str], bool]) -> str:
        while not valid(value := make()):
            pass
        return value

    def name(self, lang: str) -> str:
        faker = self.faker(lang)
        return f"{faker.first_name()} {faker.last_name()}"

    def email(self, lang: str) -> str:
        faker = self.faker(lang)
        first, last = (_ascii(part) for part in (faker.first_name(), faker.last_name()))
        local = self.random.choice(
            (f"{first}.{last}", f"{first[0]}.{last}", f"{last}{self.digits(2)}", f"{first}_{last}")
        )
        return f"{local}@{self.random.choice(_MAIL_HOSTS)}"

    def spelled_email(self, lang: str) -> str:
        local, host = self.email(lang).split("@")
        at = self.random.choice((" (at) ", " [at] ", " at ", "(at)", " AT ", " {at} "))
        dot = self.random.choice((" dot ", " (dot) ", " [dot] ", " DOT "))
        return local + at + host.replace(".", dot)

    def phone(self, lang: str) -> str:
        two, three = self.digits(2), str(self.random.randint(201, 989))
        plans = {
            "de": (
                f"+49 171 {self.digits(7)}",
                f"0151 {self.digits(8)}",
                f"030 {self.random.randint(2000000, 8999999)}",
                f"+43 664 {self.digits(7)}",
                f"079 {three} {two} {two}",
            ),
            "en": (
                f"(212) {three}-{self.digits(4)}",
                f"312-{three}-{self.digits(4)}",
                f"+1 415 {three} {self.digits(4)}",
                f"+44 7911 {self.random.randint(100000, 999999)}",
                f"020 7946 {self.digits(4)}",
            ),
            "fr": (
                f"06 {two} {self.digits(2)} {self.digits(2)} {self.digits(2)}",
                f"+33 6 {two} {self.digits(2)} {self.digits(2)} {self.digits(2)}",
                f"01.4{self.digits(1)}.{two}.{self.digits(2)}.{self.digits(2)}",
            ),
            "es": (
                f"6{self.digits(2)} {two} {self.digits(2)} {self.digits(2)}",
                f"+34 6{self.digits(2)} {self.digits(3)} {self.digits(3)}",
                f"6{self.digits(2)}-{self.digits(3)}-{self.digits(3)}",
            ),
        }
        return self.random.choice(plans[lang])

    def iban(self, lang: str) -> str:
        value = (
            self.faker(lang).iban()
            if self.random.random() < 0.7
            else self._iban_of("NL", "INGB" + self.digits(10))
        )
        return self.random.choice(
            (value, " ".join(value[place : place + 4] for place in range(0, len(value), 4)))
        )

    def _iban_of(self, country: str, account: str) -> str:
        number = int("".join(str(int(char, 36)) for char in account + country + "00"))
        return f"{country}{98 - number % 97:02d}{account}"

    def card(self, lang: str) -> str:
        prefix, count = self.random.choice((("4", 16), ("52", 16), ("37", 15), ("6011", 16), ("2223", 16)))
        value = self._until(lambda: prefix + self.digits(count - len(prefix)), checksums.luhn)
        cuts = (4, 10) if count == 15 else (4, 8, 12)
        spaced = " ".join(value[low:high] for low, high in zip((0, *cuts), (*cuts, count), strict=True))
        return self.random.choice((value, spaced, spaced.replace(" ", "-")))

    def national_id(self, lang: str) -> str:
        return self.random.choice(self._national_ids()[lang])()

    def _national_ids(self) -> dict[str, tuple[Callable[[], str], ...]]:
        rnd = self.random
        return {
            "de": (
                lambda: self._until(lambda: self.digits(11), checksums.steuer_id),
                lambda: self._until(
                    lambda: (
                        f"{rnd.randint(10, 89)}{rnd.randint(1, 28):02d}{rnd.randint(1, 12):02d}"
                        f"{self.digits(2)}{self.alnum(1, 'ABCDEFGHKLMNPRSTUVWZ')}{self.digits(3)}"
                    ),
                    checksums.rvnr,
                ),
                lambda: self._until(
                    lambda: (
                        f"{self.digits(4)}{rnd.randint(1, 28):02d}{rnd.randint(1, 12):02d}{self.digits(2)}"
                    ),
                    checksums.svnr,
                ),
                self._ahv,
            ),
            "en": (
                lambda: f"{rnd.randint(100, 665)}-{rnd.randint(10, 99)}-{rnd.randint(1000, 9999)}",
                lambda: (
                    f"{self.alnum(1, 'ABCEGHJKLMPRSTWXY')}{self.alnum(1, 'ACEHJKLMPRSTWXYZ')} "
                    f"{self.digits(2)} {self.digits(2)} {self.digits(2)} {self.alnum(1, 'ABCD')}"
                ),
                lambda: _grouped(self._until(lambda: self.digits(10), checksums.nhs), (3, 3, 4)),
            ),
            "fr": (self._nir,),
            "es": (
                lambda: (number := self.digits(8)) + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23],
                lambda: self._until(
                    lambda: f"{self.alnum(1, 'XYZ')}{self.digits(7)}{self.alnum(1, string.ascii_uppercase)}",
                    checksums.dni,
                ),
            ),
        }

    def _ahv(self) -> str:
        value = self._until(lambda: "756" + self.digits(10), checksums.ean13)
        return f"{value[:3]}.{value[3:7]}.{value[7:11]}.{value[11:]}"

    def _nir(self) -> str:
        month, department = self.random.randint(1, 12), self.random.randint(1, 95)
        body = f"{self.random.choice('12')}{self.digits(2)}{month:02d}{department:02d}{self.digits(6)}"
        return _grouped(f"{body}{97 - int(body) % 97:02d}", (1, 2, 2, 2, 3, 3, 2))

    def passport(self, lang: str) -> str:
        german = "C" + self.alnum(7, "CFGHJKLMNPRTVWXYZ0123456789") + self.digits(1)
        return {
            "de": german,
            "en": self.digits(9),
            "fr": f"{self.digits(2)}{self.alnum(2, 'ABCDEFGH')}{self.digits(5)}",
            "es": f"PA{self.alnum(1, 'ABC')}{self.digits(6)}",
        }[lang]

    def insurance(self, lang: str) -> str:
        return self._until(lambda: self.alnum(1, string.ascii_uppercase) + self.digits(9), checksums.kvnr)

    def sort_code(self, lang: str) -> str:
        return f"{self.digits(2)}-{self.digits(2)}-{self.digits(2)}"

    def account(self, lang: str) -> str:
        return self.digits(8)

    def aba(self, lang: str) -> str:
        return self._until(lambda: f"0{self.random.randint(1, 9)}{self.digits(7)}", checksums.aba)

    def ip(self, lang: str) -> str:
        if self.random.random() < 0.3:
            return "2a0" + ":".join(
                [self.alnum(1, "0123"), *(self.alnum(4, "123456789abcdef") for _ in range(7))]
            )
        network = self.random.choice((31, 46, 77, 84, 91, 178, 213))
        return ".".join(map(str, (network, *(self.random.randint(20, 250) for _ in range(3)))))

    def plate(self, lang: str) -> str:
        letters = self.alnum(5, "ABCDEFGHKLMNPRSTVWXY")
        return {
            "de": self.random.choice(
                (
                    f"{letters[:2]}-{letters[2:4]} {self.random.randint(10, 9999)}",
                    f"M {letters[:2]} {self.random.randint(100, 9999)}",
                    f"W-{self.digits(5)}{letters[0]}",
                )
            ),
            "en": self.random.choice(
                (
                    f"{letters[:2]}{self.digits(2)} {letters[2:5]}",
                    f"{letters[:3]}-{self.digits(4)}",
                    f"{self.digits(1)}{letters[:3]}{self.digits(3)}",
                )
            ),
            "fr": f"{letters[:2]}-{self.digits(3)}-{letters[2:4]}",
            "es": f"{self.digits(4)} {letters[:3]}",
        }[lang]

    def api_key(self, lang: str) -> str:
        return self.random.choice(
            (
                lambda: "sk-" + "proj-" + self.alnum(48),
                lambda: "gh" + "p_" + self.alnum(36),
                lambda: "AK" + "IA" + self.alnum(16, string.ascii_uppercase + string.digits),
                lambda: "glp" + "at-" + self.alnum(20),
                lambda: "xo" + "xb-" + self.digits(12) + "-" + self.alnum(24),
                lambda: "AI" + "za" + self.alnum(35),
                lambda: "h" + "f_" + self.alnum(34),
                lambda: "np" + "m_" + self.alnum(36),
                lambda: "sk_" + "live_" + self.alnum(24),
                lambda: "SG" + "." + self.alnum(22) + "." + self.alnum(43),
            )
        )()

    def random_secret(self, lang: str) -> str:
        return self.random.choice(
            (
                self.alnum(32),
                self.alnum(40, "0123456789abcdef"),
                base64.b64encode(self.random.randbytes(30)).decode(),
            )
        )

    def jwt(self, lang: str) -> str:
        parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": self.digits(8), "iat": 1_700_000_000})
        coded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*coded, self.alnum(43)])

    def private_key(self, lang: str) -> str:
        kind = self.random.choice(("", "RSA ", "EC ", "OPENSSH "))
        lines = "\n".join(base64.b64encode(self.random.randbytes(48)).decode() for _ in range(6))
        return f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{lines}\n-----END {kind}PRIVATE " + "KEY-----"

    def password(self, lang: str) -> str:
        word = self.random.choice(("Winter", "Zebra", "Kaktus", "Soleil", "Tiger", "Luna", "Monday", "Quarz"))
        return self.random.choice(
            (
                f"{word}{self.digits(4)}{self.random.choice('!?#$')}",
                self.alnum(6) + self.digits(2) + self.alnum(4),
                f"{self.alnum(5)}!{self.digits(2)}{self.alnum(3)}",
            )
        )

    def date(self, lang: str) -> str:
        born = self.faker(lang).date_of_birth(minimum_age=16, maximum_age=95)
        styles = {
            "de": ("%d.%m.%Y", "%Y-%m-%d", "%d.%m.%y"),
            "en": ("%m/%d/%Y", "%Y-%m-%d", "%d %B %Y", "%B %d, %Y"),
            "fr": ("%d/%m/%Y", "%d.%m.%Y"),
            "es": ("%d/%m/%Y", "%d-%m-%Y"),
        }
        return born.strftime(self.random.choice(styles[lang]))

    def address(self, lang: str) -> str:
        return (
            self.faker(lang).address().removeprefix("auch ").replace("\n", self.random.choice((", ", "\n")))
        )

    def health(self, lang: str) -> str:
        return self.random.choice(_CONDITIONS[lang])


def _grouped(value: str, sizes: tuple[int, ...]) -> str:
    parts, low = [], 0
    for size in sizes:
        parts.append(value[low : low + size])
        low += size
    return " ".join(parts)


def _ascii(name: str) -> str:
    folded = (
        name.lower().translate(str.maketrans("äöüéèêëàâçñíóúáôîïû", "aoueeeeaacniouaoiiu")).replace("ß", "ss")
    )
    return "".join(char for char in folded if char.isascii() and char.isalpha()) or "x"
