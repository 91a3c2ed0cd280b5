"""Values in disguise: other alphabets, invisible characters, codings, and splits over lines and texts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest

from benchmarks.privacy.corpus import disguise
from benchmarks.privacy.values import Values
from sidecar.core.privacy.detector import PatternDetector
from sidecar.core.privacy.normalise import origins, plain
from sidecar.core.vocabulary import Verdict, VerdictState

Judge = Callable[..., Verdict]

IBAN = "DE89 3704 0044 0532 0130 00"


@pytest.mark.parametrize("trick", ["wide", "zero", "cyrillic", "base64", "percent", "broken"])
@pytest.mark.parametrize("kind", ["email", "iban"])
def test_disguised_values_are_found(judge: Judge, trick: str, kind: str) -> None:
    values = Values(21)
    for _ in range(25):
        made = disguise(trick, getattr(values, kind)("de"), values)
        assert judge(f"value: {made} end").state is VerdictState.SENSITIVE, made


@pytest.mark.parametrize(
    "text",
    [
        "DE𝟖𝟗 𝟑𝟕𝟎𝟒 𝟎𝟎𝟒𝟒 𝟎𝟓𝟑𝟐 𝟎𝟏𝟑𝟎 𝟎𝟎",
        "GB82\u2009WEST\u20091234\u20095698\u20097654\u200932",
        "anna.kurz&#64;gmx.de",
        "anna.kurz\\u0040gmx.de",
        "YW5uYS5rdXJ6QGdteC5kZSBsaXZlcyBoZXJl",
        "616e6e612e6b75727a40676d782e6465206c69766573",
        "my number is ٠٠٤٩ 171 5558123",
        "anna.kurz@gm\u00adx.de",
    ],
)
def test_codings_and_scripts(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.SENSITIVE


@pytest.mark.parametrize("cut", range(1, len(IBAN)))
def test_an_iban_split_over_two_texts_at_any_place(judge: Judge, cut: int) -> None:
    parts = ("Please refund " + IBAN[:cut], IBAN[cut:] + " today")
    assert judge(*parts).state is VerdictState.SENSITIVE


def test_a_value_split_over_many_small_texts(judge: Judge) -> None:
    assert judge(*IBAN.split(" ")).state is VerdictState.SENSITIVE
    assert judge(*IBAN.replace(" ", "")).state is VerdictState.SENSITIVE


def test_a_card_split_over_three_texts(judge: Judge) -> None:
    assert judge("card 5425 ", "2334", "3010 9903 ok").state is VerdictState.SENSITIVE


def test_a_cue_in_one_text_and_the_value_in_the_next(judge: Judge) -> None:
    assert (
        judge("What is your passport number?", "passport number", "C01X00T47").state is VerdictState.SENSITIVE
    )


def test_parts_that_share_nothing_stay_clean(judge: Judge) -> None:
    assert judge("Version 4.1.", "11 of 23 tests passed.", "See line 42.").state is VerdictState.CLEAN


@pytest.mark.parametrize("filler", [4_090, 8_000, 16_370, 16_384, 33_000])
def test_values_across_chunk_borders(judge: Judge, filler: int) -> None:
    text = "a b" * (filler // 3) + " " + IBAN + " " + "c d" * 8_000
    assert judge(text).state is VerdictState.SENSITIVE


def test_a_name_and_its_fact_across_a_chunk_border(judge: Judge) -> None:
    for filler in range(16_300, 16_420, 7):
        text = "x" * filler + " Tanja Vogel was fired. " + "y z" * 3_000
        assert judge(text).state is VerdictState.SENSITIVE, filler


@pytest.mark.parametrize("filler", [15_000, 30_000, 30_001, 30_002])
def test_a_long_encoded_text_is_read_to_its_end(judge: Judge, filler: int) -> None:
    hidden = b64encode(
        b"harmless words, " * (filler // 16) + b" " * (filler % 16) + IBAN.encode() + b" end" * 9
    )
    assert judge(hidden.decode()).state is VerdictState.SENSITIVE


def test_plain_folds_to_one_byte_per_character() -> None:
    text = "Ｗide Łukasz “q” – 𝟑 a\u0308 x\u200by ﬁ… 日本"
    folded = plain(text)
    assert folded.encode("latin-1")
    assert folded.startswith('Wide Lukasz "q" - 3 ä xy fi...')


def test_origins_lead_back_to_the_text() -> None:
    text = "mail \u200b“ａnna.kurz@gmx.de” a\u0308 end"
    places = origins(text)
    folded = plain(text)
    assert len(places) == len(folded) + 1
    start = folded.index("anna")
    assert text[places[start] : places[start + 4]] == "ａnna"
    assert text[places[folded.index("end")] :] == "end"


def test_findings_point_into_the_original_text(detector: PatternDetector) -> None:
    texts = ["nothing here", "ｍail: anna.kurz@ｇmx.de and more", "DE89 3704 0044 0532", "0130 00 over"]
    spans = {
        (found.text_index, found.kind): texts[found.text_index][found.start : found.end]
        for found in detector.find(texts)
    }
    assert spans[1, "email"] == "anna.kurz@ｇmx.de"
    assert spans[2, "iban"] == "DE89 3704 0044 0532"


PHONE = "+49  171  1234567"


@pytest.mark.parametrize(
    "text",
    [
        "Konto DE89  3704  0044  0532  0130  00",
        "Konto\tDE89\t3704\t0044\t0532\t0130\t00",
        PHONE,
        PHONE.replace("  ", "\t"),
        "Konto **DE89** **3704** **0044** **0532** **0130** **00**",
        "DE89 37<b>04 0044 0532 0130 00</b>",
        "<tr><td>DE89</td><td>3704</td><td>0044</td><td>0532</td><td>0130</td><td>00</td></tr>",
        "> Please pay to DE89 3704 0044\n> 0532 0130 00 soon",
        ">> pay to DE89 3704 0044\r\n>> 0532 0130 00",
        "note:\n    pay to DE89 3704 0044\n    0532 0130 00",
        "DE8937040\x0004405320\x0113000",
        "DE8937\u2800040044053\u31642013\u115f000",
        "DE89 3704 00\x7f44 0532 0130 00",
    ],
)
def test_setting_does_not_hide_a_value(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.SENSITIVE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a  b\tDE89 3704 0044 0532 0130 00 z", "DE89 3704 0044 0532 0130 00"),
        ("ä <td>DE89  3704\x00 0044 0532 0130 00</td>", "DE89  3704\x00 0044 0532 0130 00"),
        ("x\r\n > **DE89 3704 0044 0532 0130 00**", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_findings_in_a_text_that_was_set_lead_back(detector: PatternDetector, text: str, found: str) -> None:
    assert len(origins(text)) == len(plain(text)) + 1
    assert any(text[each.start : each.end].startswith(found) for each in detector.find([text]))


def _decoys(count: int) -> str:
    return " ".join(b64encode(f"lorem ipsum {number:06}".encode()).decode() for number in range(count))


@pytest.mark.parametrize(
    "text",
    [
        '{"note":"Konto:\\nDE89370400440532013000\\nEnde"}',
        '{"note":"Konto:\\tDE89370400440532013000"}',
        '{"note":"Karte:\\r\\n5425233430109903"}',
        '{"a":"{\\"b\\":\\"x\\\\nDE89370400440532013000\\"}"}',
        '{"a":"{\\"password\\": \\"Sommer2024!xy\\"}"}',
        "b'Konto:\\nDE89370400440532013000'",
        "\\x44\\x45\\x38\\x39370400440532013000",
        "PG\\ud835\\udfd4 IBAN DE\\ud835\\udfd6\\ud835\\udfd7370400440532013000",
        "Reisepass\\nC01X00T47",
        "b'anna.kurz@gm\\xc2\\xadx.de'",
        "IBAN DE89=C2=A03704=C2=A00044=C2=A00532=C2=A00130=C2=A000",
        "call +49=E2=80=91170=E2=80=911234567",
    ],
)
def test_escapes_do_not_hide_a_value(judge: Judge, text: str) -> None:
    assert judge(text).state is VerdictState.SENSITIVE


def test_findings_behind_escapes_lead_back(detector: PatternDetector) -> None:
    text = '{"a": "\\u00e4\\n\\nx  y\\nDE89370400440532013000\\nEnde"}'
    (found,) = {text[each.start : each.end] for each in detector.find([text]) if each.kind == "iban"}
    assert found == "DE89370400440532013000"


@pytest.mark.parametrize("count", [250, 300, 600])
def test_no_number_of_codings_hides_one_more(judge: Judge, count: int) -> None:
    real = b64encode(b"Kundin: anna.schneider83@gmail.com").decode()
    assert judge(_decoys(count) + " " + real).state is VerdictState.SENSITIVE
    percent = " ".join(["a%20b"] * count) + " anna.schneider83%40gmail.com"
    assert judge(percent).state is VerdictState.SENSITIVE
    lines = "\n".join(["12"] * count) + "\nx\ncall DE89 3704 0044 0532\n0130 00 now"
    assert judge(lines).state is VerdictState.SENSITIVE


def test_more_codings_than_are_looked_at_are_unknown(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.core.privacy.decoding.PIECES_MAX", 100)
    verdict = judge(_decoys(200))
    assert (verdict.state, verdict.why) == (VerdictState.UNKNOWN, "too many matches to look at")


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16", "latin-1"])
@pytest.mark.parametrize(
    "said", ["Kundin Jörg Müßig, anna.schneider83@gmail.com", "Konto DE89370400440532013000"]
)
def test_base64_of_other_codings(judge: Judge, coding: str, said: str) -> None:
    assert judge(b64encode(said.encode(coding)).decode()).state is VerdictState.SENSITIVE


@pytest.mark.parametrize(
    "said",
    [
        "anna.sch@gmail.com",
        "5425233430109903",
        "IBAN DE89\xa03704\xa00044\xa00532\xa00130\xa000",
        "Пациентка Анна Иванова, anna.schneider83@gmail.com",
    ],
)
def test_base64_that_is_short_or_in_another_script(judge: Judge, said: str) -> None:
    assert judge(b64encode(said.encode()).decode()).state is not VerdictState.CLEAN
