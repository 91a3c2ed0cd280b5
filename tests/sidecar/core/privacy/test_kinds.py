"""Per kind: what must be found, made with right check digits, and what looks alike and must not be."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

import pytest

from benchmarks.privacy.negatives import NEGATIVES
from benchmarks.privacy.values import Values
from sidecar.core.privacy.detector import PatternDetector
from sidecar.core.privacy.findings import Confidence
from sidecar.core.vocabulary import Verdict, VerdictState

Judge = Callable[..., Verdict]

FOUND = [
    ("email", "email", "en", "Write to {} today."),
    ("email", "email", "fr", "<{}>"),
    ("spelled_email", "email", "en", "mail: {}"),
    ("phone", "phone", "de", "Tel. {}"),
    ("phone", "phone", "en", "call me on {}"),
    ("phone", "phone", "fr", "portable {}"),
    ("phone", "phone", "es", "teléfono {}"),
    ("iban", "iban", "de", "auf {} bitte"),
    ("iban", "iban", "fr", "{}"),
    ("card", "card", "en", "card {}"),
    ("national_id", "national_id", "de", "Steuer-ID oder SVNR {}"),
    ("national_id", "national_id", "en", "Social security or tax number: {}"),
    ("national_id", "national_id", "fr", "{}"),
    ("national_id", "national_id", "es", "{}"),
    ("passport", "passport", "de", "Reisepass-Nr. {}"),
    ("passport", "passport", "en", "passport number {}"),
    ("passport", "passport", "fr", "passeport n° {}"),
    ("passport", "passport", "es", "pasaporte {}"),
    ("insurance", "health_insurance", "de", "{}"),
    ("aba", "bank_account", "en", "routing {}"),
    ("account", "bank_account", "en", "account number {}"),
    ("sort_code", "bank_account", "en", "sort code {}"),
    ("ip", "ip_address", "en", "request from {} at noon"),
    ("plate", "licence_plate", "de", "Kennzeichen {}"),
    ("plate", "licence_plate", "en", "licence plate {}"),
    ("plate", "licence_plate", "fr", "immatriculé {}"),
    ("plate", "licence_plate", "es", "matrícula {}"),
    ("api_key", "api_key", "en", "use {} please"),
    ("random_secret", "api_key", "en", "api_key={}"),
    ("jwt", "jwt", "en", "Cookie: {}"),
    ("private_key", "private_key", "en", "{}"),
    ("password", "password", "en", "password: {}"),
    ("password", "password", "de", "Das Kennwort lautet {}"),
    ("date", "date_of_birth", "en", "born on {}"),
    ("date", "date_of_birth", "de", "geb. {}"),
    ("date", "date_of_birth", "fr", "née le {}"),
    ("date", "date_of_birth", "es", "fecha de nacimiento: {}"),
]


@pytest.mark.parametrize(("value", "kind", "lang", "sentence"), FOUND)
def test_values_of_each_kind_are_sensitive(
    detector: PatternDetector, value: str, kind: str, lang: str, sentence: str
) -> None:
    values = Values(11)
    for _ in range(25):
        made = getattr(values, value)(lang)
        text = f"Bonjour. {sentence.format(made)} -- end"
        kinds = {found.kind for found in detector.find([text]) if found.confidence is Confidence.CERTAIN}
        assert kind in kinds, text


@pytest.mark.parametrize(
    "text",
    [
        "curl -H 'Authorization: Bearer Q8vLz2TnR4kWm7XsB1/yHpCdJgFoAuEiNtKxVw' https://x.test/",
        "access token: qKwTnBvLdZpRxHsMfJgYcEaUWiOoTbN7",
    ],
)
def test_a_random_credential_is_seen_in_the_shape_of_a_path_or_a_word(judge: Judge, text: str) -> None:
    assert judge(text).kinds == {"api_key": 1}


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer getUserAccountTokenFromRequest",
        "access token: refreshTokenExchangeGrantTypeHandler",
        "token: AbstractSingletonProxyFactoryBean2",
    ],
)
def test_a_name_in_camel_case_is_no_credential(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.CLEAN


@pytest.mark.parametrize("kind", NEGATIVES)
def test_hard_negatives_are_never_sensitive(judge: Judge, kind: str) -> None:
    values = Values(12)
    for make in NEGATIVES[kind]:
        for _ in range(20):
            text = make(values)
            assert judge(text).state is not VerdictState.SENSITIVE, text


@pytest.mark.parametrize(
    "question",
    [
        "How can I flatten a nested list in JavaScript without a library?",
        "Warum schlägt mein Docker-Build mit Exit-Code 137 fehl?",
        "Explain the CAP theorem and give an example with three nodes.",
        "Écris une fonction Rust qui inverse une liste chaînée.",
        "Resume este texto en tres puntos, por favor.",
        "SELECT id, email FROM users WHERE created_at > now() - interval '7 days';",
        "Which planets have rings?",
    ],
)
def test_a_plain_question_is_clean(judge: Judge, question: str) -> None:
    assert judge(question) == Verdict(VerdictState.CLEAN)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ich wohne in der Lindenstraße 12, 50674 Köln.", "address"),
        ("Ship it to Oliver Grant, 48 Willow Crossing, 30412 Eastborough.", "address"),
        ("J'habite 12, rue des Lilas, 69003 Lyon.", "address"),
        ("Vivo en Calle de Alcalá 94, 28009 Madrid.", "address"),
        ("My mother has epilepsy.", "health"),
        ("Bei mir wurde Diabetes festgestellt.", "health"),
        ("Peter Novak is on chemotherapy.", "health"),
        ("Gehalt von Tanja Vogel: 41.250 €", "person_fact"),
        ("Oliver Grant was fired on Monday.", "person_fact"),
        ("MRN 40718265, seen on the ward", "patient_record"),
    ],
)
def test_a_person_tied_to_private_facts_is_sensitive(judge: Judge, text: str, kind: str) -> None:
    verdict = judge(text)
    assert verdict.state is VerdictState.SENSITIVE
    assert kind in verdict.kinds


@pytest.mark.parametrize(
    "text",
    [
        "Helen Carter left early again.",
        "Bis morgen\nTanja Vogel",
        "Frau Vogel kommt morgen.",
        "La señora Navarro llega tarde.",
        "Vogel, Tanja",
    ],
)
def test_a_name_alone_is_unknown_and_public_relaxes_it(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.UNKNOWN
    assert judge(text, declared_public=True).state is VerdictState.CLEAN


def test_public_relaxes_nothing_but_names(judge: Judge) -> None:
    assert (
        judge("card 5105 1051 0510 5100, mail to anna.kurz@gmx.de", declared_public=True).state
        is VerdictState.SENSITIVE
    )


def test_public_figures_are_unknown_at_most(judge: Judge) -> None:
    assert (
        judge("Lise Meitner, born in Vienna in 1878, explained nuclear fission.").state is VerdictState.CLEAN
    )
    assert judge("Konrad Adenauer, born 5 January 1876, was chancellor.").state is not VerdictState.SENSITIVE


@pytest.mark.parametrize(
    ("prefix", "length", "signs"), [("sk-proj-", 156, "-_"), ("sk-ant-api03-", 95, "-_"), ("ghp_", 36, "")]
)
def test_a_random_key_is_found_whatever_its_letters_seem_to_say(
    judge: Judge, prefix: str, length: int, signs: str
) -> None:
    """By chance one in a hundred long keys holds ``xxx``, ``my_`` or ``todo`` in some case."""
    dice = random.Random(4)
    alphabet = string.ascii_letters + string.digits + signs
    bodies = ["".join(dice.choices(alphabet, k=length)) for _ in range(200)]
    bodies += [f"{body[:12]}{word}{body[16:]}" for word in ("Xxx3", "tOdO", "YoUr") for body in bodies[:3]]
    for body in bodies:
        assert judge(f"use this: {prefix}{body}").state is VerdictState.SENSITIVE, body


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("use sk-proj-abcdefghijklmnopqrstuvwxyz0123456789", VerdictState.SENSITIVE),
        ("OPENAI_API_KEY=sk-1234567890abcdef1234567890abcdef", VerdictState.SENSITIVE),
        ("use sk-your-api-key-here", VerdictState.CLEAN),
        ("ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", VerdictState.CLEAN),
        ("AKIAIOSFODNN7EXAMPLE", VerdictState.CLEAN),
        ("ask jane.doe@company.com", VerdictState.SENSITIVE),
        ("ask anna@mycompany.io", VerdictState.SENSITIVE),
        ("ask your.name@company.com", VerdictState.CLEAN),
        ("ask jane.doe@example.com", VerdictState.CLEAN),
        ("My card number is 4111 1111 1111 1111", VerdictState.SENSITIVE),
        ("card number 4242-4242-4242-4242 exp 12/27", VerdictState.SENSITIVE),
        ("Stripe's test card is 4242 4242 4242 4242", VerdictState.CLEAN),
    ],
)
def test_what_only_looks_like_a_placeholder_is_none(judge: Judge, text: str, state: VerdictState) -> None:
    assert judge(text).state is state


#: Random values, put together here so that no scanner of repositories takes them for real ones.
RANDOM = "wJkL9rXUtnFEMIzK7MDENGxbPxRfiCYq3v8s2Tz1"


@pytest.mark.parametrize(
    "text",
    [
        "0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c" + ".Zk3Jq9LmX2vT8wB5nR7cY1dF",
        '{"SecretAccessKey": "' + RANDOM + '"}',
        '{"kty":"EC","crv":"P-256","d":"' + RANDOM + 'abc"}',
        "cohere key: " + RANDOM,
        "Cookie: session=" + RANDOM,
        "glpat-" + "ZxQvmNkLpRsTuWyBcDfG",
        "AIza" + "SyDfGhJkLqWeRtYuIoPaZxCvBnMqWeRtYu-",
        "M" + "JNAM83uZRf7SSw2dNiI8uye.IZP8bt.dSf9cKcmggeFGgK8AHDJijKgXaW",
        "password: $aB3!xYz9q",
        "password: %eMIb4ZSwSFK",
        "password: kL$TQA8%zR!p",
        "-----BEGIN PRIVATE KEY-----\n> MIIEvQIBADANBgkqhkiG9w0BAQEF\n> " + RANDOM,
    ],
)
def test_more_shapes_of_secrets(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.SENSITIVE


@pytest.mark.parametrize(
    "text",
    [
        "password: $DB_PASSWORD",
        "password: %PASSWORD%",
        '{"code": "class User:\\n    password: SecretStr\\n    age: int"}',
        "password = ${DB_PASS}",
        "password = '%s' % value",
        "use glpat-your-token-goes-here",
        "pip install sk-learn-contrib-extra-trees",
        "Cookie: theme=dark; lang=de",
        "sha256 0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c.tar.gz",
    ],
)
def test_what_stands_for_a_secret_is_none(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.CLEAN
