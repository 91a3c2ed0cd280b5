"""Finds identifiers that states and insurers give to persons, licence plates and dates of birth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from sidecar.core.privacy import checksums
from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.renown import RENOWN
from sidecar.core.privacy.rules import Rule, Validator, before, digits_of, listed

_ID_WORD: Final = re.compile(
    r"(?:steuer|idnr|tin\b|sozialv|sv-?n|svnr|versicher|rente|ahv|navs|avs\b|nino|\bni\b"
    r"|national insurance|nhs|ssn|social sec"
    r"|itin|\bnir\b|s[e\xe9]cu|insee|dni\b|nif\b|nie\b|codice fisc|\bc\.?f\.?\b|bsn|burgerserv"
    r"|sofi|kvnr|kranken|ehic|tax"
    r"|identi|kunde|customer|client|patient|employee|mitarbeiter|personal|citizen|b\xfcrger"
    r"|solicitante|insur)",
    re.IGNORECASE,
)


def _known(text: str, start: int) -> bool:
    return _ID_WORD.search(before(text, start, 60)) is not None


def _free(text: str, start: int, stop: int) -> bool:
    """Whether the value is no part of a longer number or identifier."""
    return not (
        (
            start
            and (
                text[start - 1].isalnum()
                or (text[start - 1] in "-_.+/" and text[max(0, start - 2)].isalnum())
            )
        )
        or text[stop : stop + 1].isalnum()
        or re.match(r"[-._]\w", text[stop : stop + 2]) is not None
    )


def _shaped(
    pattern: str, check: Callable[[str], bool], kind: str = "national_id", *, alone: bool | None = True
) -> Validator:
    """A validator for values of one shape. ``alone`` says what a valid one means without a cue.

    True: certain, False: doubtful, None: nothing. With a cue it is certain.
    """
    compiled = re.compile(pattern, re.IGNORECASE)

    def validate(text: str, start: int, end: int) -> Iterator[Hit]:
        match = compiled.match(text, start)
        if match is None or not _free(text, start, match.end()):
            return
        value = re.sub(r"[^0-9A-Z]", "", match[0].upper())
        if len(set(value)) <= 2 or not check(value):
            return
        if _known(text, start):
            yield Hit(start, match.end(), kind, True)
        elif alone is not None:
            yield Hit(start, match.end(), kind, alone)

    return validate


_NINO: Final = re.compile(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]\d{6}[A-D]$")


def _nino(value: str) -> bool:
    """HMRC's rules: letters and prefixes that are never given."""
    return _NINO.match(value) is not None


def _nir(value: str) -> bool:
    return value[0] in "12378" and (
        checksums.nir(value) if len(value) == 15 else len(value) == 13 and _nir_month(value)
    )


def _nir_month(value: str) -> bool:
    return 1 <= int(value[3:5]) <= 12 or 20 <= int(value[3:5]) <= 42


def _rvnr(value: str) -> bool:
    return 1 <= int(value[2:4]) <= 31 + 50 and 1 <= int(value[4:6]) <= 12 and checksums.rvnr(value)


def _ssn(value: str) -> bool:
    return checksums.ssn(value)


_SEP: Final = r"[ .-]?"

# A cue and its value may have words between them, in one sentence and at most one line break.
_GAP_MAX: Final = 48
_SENTENCE_END: Final = re.compile(r"[.!?]\s+[A-Z\xc0-\xde]|\n\s*\n|\n.*\n")
_ID_VALUE: Final = re.compile(
    r"(?<![\w./-])([A-Za-z]{0,3}[ -]?\d(?:[ ./-]{0,2}[A-Za-z]?\d){4,20}(?:[ -]?[A-Za-z]{1,2})?)(?![\w])"
    r"|(?<![\w./-])([A-Z]{2,6}[0-9A-Z]{0,6}\d[0-9A-Z]{3,10})(?!\w)"
)


def _announced(pattern: re.Pattern[str], text: str, end: int) -> tuple[int, int] | None:
    """Where the first value of a shape stands behind a cue that ends at ``end``."""
    window = text[end : end + _GAP_MAX + 24]
    match = pattern.search(window)
    if match is None or match.start() > _GAP_MAX or _SENTENCE_END.search(window, 0, match.start()):
        return None
    return end + match.start(), end + match.end()


def _by_cue(kind: str, digits_min: int, digits_max: int) -> Validator:
    """A validator for a value that a cue announces; the check digit is not asked for.

    Somebody who writes the cue means the number, and a slip of the pen makes it no less personal.
    """

    def validate(text: str, start: int, end: int) -> Iterator[Hit]:
        place = _announced(_ID_VALUE, text, end)
        if place is None:
            return
        digits = digits_of(text[slice(*place)])
        if digits_min <= len(digits) <= digits_max and len(set(digits)) > 2 and digits not in _COUNTING:
            yield Hit(*place, kind, True)

    return validate


_COUNTING: Final = "01234567890123456789"
_PASSPORT_VALUE: Final = re.compile(
    r"(?<![\w-])(?:[A-Z]{0,3} ?[0-9][A-Z0-9]{5,9}|[A-Z0-9]{7,10}|[A-Z]{1,2} \d{6,8}"
    r"|\d{2} ?[A-Z]{2} ?\d{5})(?!\w)"
)
_GERMAN_SERIAL: Final = re.compile(r"[CFGHJ-NPRTV-Z0-9]{8,10}$")


def passport(text: str, start: int, end: int) -> Iterator[Hit]:
    """A serial behind a word for a passport or an identity card; German ones may have no digit."""
    place = _announced(_PASSPORT_VALUE, text, end)
    if place is None:
        return
    value = text[slice(*place)].replace(" ", "")
    if len(set(value)) > 2 and (sum(map(str.isdigit, value)) >= 3 or _GERMAN_SERIAL.match(value)):
        yield Hit(*place, "passport", True)


_PLATE: Final = re.compile(
    r"(?:[A-Z\xc4\xd6\xdc]{1,3}[ -][A-Z]{1,2} ?-?\d{1,4} ?[EH]?|[A-Z]{1,2}[ -]?\d{1,5} ?[A-Z]{1,3}"
    r"|[A-Z]{2}\d{2} ?[A-Z]{3}"
    r"|[A-Z]{2}[- ]?\d{3}[- ]?[A-Z]{2}|\d{4}[ -]?[A-Z]{3}|[A-Z]{2}[ -]?\d{3,6}"
    r"|\d{1,3}[- ][A-Z]{2,3}[- ]\d{1,3}"
    r"|[A-Z]{1,3}[ -]\d{3,5}[A-Z]?"
    r"|\d{3}[ -]?[A-Z]{3}|[A-Z]\d{1,3} ?[A-Z]{3}|[A-Z]{3} ?\d{1,4}[A-Z]?|\d[A-Z]{3}\d{3}"
    r"|[A-Z0-9]{2,4}[ -][A-Z0-9]{2,5}(?:-[A-Z0-9]{2})?"
    r"|[A-Z]{1,3}[ -][A-Z]{1,2}\d{1,4})(?![\w-])"
)


def plate(text: str, start: int, end: int) -> Iterator[Hit]:
    """A plate of any of the countries behind a word that means one, or a strict one just before it."""
    place = end
    for _ in range(12):
        match = _PLATE.match(text, place)
        if match is not None and any(map(str.isdigit, match[0])) and any(map(str.isalpha, match[0])):
            yield Hit(place, match.end(), "licence_plate", True)
            return
        gap = _NEXT_WORD.match(text, place)
        if gap is None or gap.end() - end > 48:
            break
        place = gap.end()
    low = max(0, start - 60)
    for match in _STRICT_PLATE.finditer(text[low:start]):
        yield Hit(low + match.start(), low + match.end(), "licence_plate", True)


def plate_of_vehicle(text: str, start: int, end: int) -> Iterator[Hit]:
    """A strict plate near a word for a vehicle: likely, but parts have such numbers too."""
    low = max(0, start - 40)
    for match in _STRICT_PLATE.finditer(text[low : end + 48]):
        yield Hit(low + match.start(), low + match.end(), "licence_plate", False)


_NEXT_WORD: Final = re.compile(r"[^\s:=\"'(,|]*[\s:=\"'(,|]+")
_STRICT_PLATE: Final = re.compile(
    r"(?<![\w-])(?:[A-Z\xc4\xd6\xdc]{1,3}[- ][A-Z]{1,2} \d{1,4}[EH]?|[A-Z]{2}\d{2} [A-Z]{3}"
    r"|[A-Z]{2}-\d{3}-[A-Z]{2}|\d{4} [B-DF-HJ-NP-TV-Z]{3}"
    r"|[A-Z]{1,2}[- ]\d{3,5} ?[A-Z]{1,3})(?![\w-])"
)


_MONTH: Final = (
    r"(?:jan|feb|m[a\xe4]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]|januar|jänner|j\xe4n"
    r"|f\xe9v|fev|mars|avr|juin|juil|ao[u\xfb]"
    r"|d[e\xe9]c|ene|abr|ago|dic|gen|mag|giu|lug|set|ott|mrt|mei|feber)[a-z\xe0-\xff]{0,8}\.?"
)
_DATE: Final = (
    rf"(?:\d{{1,2}}\s?[./-]\s?\d{{1,2}}\s?[./-]\s?(?:\d{{4}}|\d{{2}})(?!\d)|(?:18|19|20)\d\d"
    rf"[./-]\d{{1,2}}[./-]\d{{1,2}}"
    rf"|(?:19|20)\d{{6}}(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th|er|\.|\xba|o)?,? ?(?:de |of )?{_MONTH}(?: de| del|,)? ?\d{{2,4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})"
)
_BIRTH_VALUE: Final = re.compile(
    r"[\"'\])]{0,2}(?:[^\d\n]{0,26}?|\s?[:=|,]\s?\n?\s?[\"']?)(?<![\w.])(" + _DATE + r")", re.IGNORECASE
)
_BIRTH_BEFORE: Final = re.compile(r"(?<![\w.])(" + _DATE + r")(?: in [\w\xc0-\xff]+)? $", re.IGNORECASE)
_LONG_AGO: Final = re.compile(r"\b1[0-8]\d\d\b")


def date_of_birth(text: str, start: int, end: int) -> Iterator[Hit]:
    """A whole date behind a word for birth; of a person in an encyclopaedia it is doubtful at most."""
    match = _BIRTH_VALUE.match(text, end)
    place = 0
    if match is None:
        window = before(text, start, 44)
        match, place = _BIRTH_BEFORE.search(window), start - len(window)
    if match is None or _LONG_AGO.search(match[1]):
        return
    first, stop = place + match.start(1), place + match.end(1)
    line = text[stop : stop + 80].partition("\n")[0]
    yield Hit(first, stop, "date_of_birth", RENOWN.search(line) is None)


_TAX_WORDS: Final = listed(
    """sozialversicherungsausweis, versicherungsausweis, versicherungsnr, versicherungs-nr,
    sozialversicherungsnr, steuernr, steuer-nr, vers-nr, nir, n.i. number, matrícula fiscal, curp,
    steuer-id, steuerid, steuer id, idnr, id-nr, steueridentifikationsnummer, identifikationsnummer,
    steuer-identifikationsnummer, steuernummer, st.-nr, tax id, tax_id, tin, tax number, utr, tax
    identification number, sozialversicherungsnummer, sv-nummer, sv-nr, svnr, sv nr, svn,
    rentenversicherungsnummer, rvnr, rv-nummer, ahv-nummer, ahv-nr, ahv nr, ahv, navs, avs, no avs, ni
    number, nino, national insurance number, national insurance no, national insurance, ssn, social
    security number, social security no, social security, itin, numéro de sécurité sociale, sécurité
    sociale, n° sécu, numéro de sécu, sécu, numéro insee, dni, nif, nie, codice fiscale, cod. fisc, bsn,
    burgerservicenummer, sofinummer, national id, national_id, personal id, id number, identity number,
    número de la seguridad social, seguridad social, pesel, personnummer, driver's license, drivers
    license, driver license, driving licence, führerschein, führerscheinnummer, permis de conduire,
    permiso de conducir, carnet de conducir, numéro fiscal, sozialvers.-nr, sozialvers.nr,
    versicherungsnummer, steuer-idnr, steuer-identnr, steuerliche id, tax file number, vsnr, vers.-nr"""
)

IDENTITY_RULES: Final = (
    Rule("ssn", _shaped(r"\d{3}[- .]\d{2}[- .]\d{4}", _ssn), shapes=(r"\b\d{3}-\d{2}-\d{4}\b",)),
    Rule(
        "spaced_ssn",
        _shaped(r"\d{3}[ .]\d{2}[ .]\d{4}", _ssn, alone=False),
        shapes=(r"\b\d{3}[ .]\d{2}[ .]\d{4}\b",),
    ),
    Rule(
        "ahv",
        _shaped(r"756[ .-]?\d{4}[ .-]?\d{4}[ .-]?\d{2}", checksums.ean13),
        shapes=(r"\b756[ .-]\d{4}", r"\b756\d{10}\b"),
    ),
    Rule(
        "nir",
        _shaped(r"[12378] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3}(?: ?/?-? ?\d\d)", _nir),
        shapes=(
            r"\b[12378] \d\d \d\d \d",
            r"\b[12]\d{4}[0-9ab]{2}\d{8}\b",
            r"\b[12]\d{4}[0-9ab]{2}\d{6} \d\d\b",
        ),
    ),
    Rule(
        "dni",
        _shaped(r"\d\d\.?\d{3}\.?\d{3}[ -]?[A-Z]", checksums.dni),
        shapes=(
            r"\b\d{8}[a-z]\b",
            r"\b\d{8}[ -][a-z]\b",
            r"\b\d{2}\.\d{3}\.\d{3}[ -][a-z]\b",
            r"\b\d{2}\.\d{3}\.\d{3}[a-z]\b",
        ),
    ),
    Rule(
        "nie",
        _shaped(r"[XYZ][ -]?\d\.?\d{3}\.?\d{3}[ -]?[A-Z]", checksums.dni),
        shapes=(r"\b[xyz]\d{7}", r"\b[xyz][ -]\d{7}"),
    ),
    Rule(
        "codice_fiscale",
        _shaped(r"[A-Z]{6} ?\d\d ?[A-Z]\d\d ?[A-Z]\d{3}[A-Z]", checksums.codice_fiscale),
        shapes=(
            r"\b[a-z]{6}\d{2}[a-z]\d{2}[a-z]\d{3}[a-z]\b",
            r"\b[a-z]{6} \d{2}[a-z]\d{2} [a-z]\d{3}[a-z]\b",
        ),
    ),
    Rule(
        "nino",
        _shaped(r"[A-Z]{2}[ .-]?\d\d[ .-]?\d\d[ .-]?\d\d[ .-]?[A-D]", _nino),
        shapes=(
            r"\b[a-z]{2}\d{6}[a-d]\b",
            r"\b[a-z]{2}[ -]\d\d[ -]\d\d[ -]\d\d[ -][a-d]\b",
            r"\b[a-z]{2} \d{6} [a-d]\b",
            r"\b[a-z]{2}\d\d \d\d \d\d[a-d]\b",
            r"\b[a-z]{2}\d\d \d\d \d\d [a-d]\b",
        ),
    ),
    Rule("nhs", _shaped(r"\d{3}[ -]\d{3}[ -]\d{4}", checksums.nhs), shapes=(r"\b\d{3}[ -]\d{3}[ -]\d{4}\b",)),
    Rule(
        "rvnr",
        _shaped(r"\d\d ?\d{6} ?[A-Z] ?\d{3}", _rvnr),
        shapes=(r"\b\d{8}[a-z]\d{3}\b", r"\b\d\d \d{6} [a-z] \d{3}\b", r"\b\d\d \d{6} [a-z]\d{3}\b"),
    ),
    Rule("kvnr", _shaped(r"[A-Z]\d{9}", checksums.kvnr, "health_insurance"), shapes=(r"\b[a-z]\d{9}\b",)),
    Rule("svnr", _shaped(r"\d{4} ?\d{6}", checksums.svnr), shapes=(r"\b\d{4} \d{6}\b",)),
    Rule(
        "steuer_id",
        _shaped(r"\d\d ?\d{3} ?\d{3} ?\d{3}", checksums.steuer_id),
        shapes=(r"\b\d\d \d{3} \d{3} \d{3}\b",),
    ),
    Rule("bare_steuer_id", _shaped(r"\d{11}", checksums.steuer_id, alone=False), shapes=(r"\b\d{11}\b",)),
    Rule("national_id", _by_cue("national_id", 5, 18), words=_TAX_WORDS),
    Rule(
        "health_insurance",
        _by_cue("health_insurance", 6, 20),
        words=listed(
            """kvnr, krankenversichertennummer, krankenversicherungsnummer, versichertennummer,
            versicherten-nr, versichertennr, ehic, health insurance number, insurance number, member id,
            medicare number, mbi, krankenkassennummer, krankenversicherung nr, versicherten-id, policy
            number, nhs number, nhs no, nhs, carte vitale, tarjeta sanitaria, tessera sanitaria,
            polisnummer, numéro d'assuré, versichertenkarte"""
        ),
    ),
    Rule(
        "patient_record",
        _by_cue("patient_record", 4, 16),
        words=listed(
            """mrn, medical record, medical record number, patient id, patient no, patient number, pat.-nr,
            pat-nr, patientennummer, patienten-nr, patienten-id, patient_id, fallnummer, dossier
            patient, dossier médical, historia clínica, historia clinica, nº de historia, cartella
            clinica, patientnummer, aufnahmenummer, numéro de patient, numéro patient, ipp, pat.nr,
            hospital number, nhc, patientenakte, krankenakte"""
        ),
    ),
    Rule(
        "passport",
        passport,
        words=listed(
            """passport, passport number, passport no, passport no., passport_number, passeport, pasaporte,
            passaporto, paspoort, paspoortnummer, reisepass, reisepass-nr, reisepassnummer,
            reisepass-nr., passnummer, pass-nr, personalausweis, personalausweisnummer, ausweisnummer,
            ausweis-nr, identity card, id card, identity document, carte d'identité, carta d'identità,
            carta identità, documento de identidad, perso-nr, ausweis, cni, passport #"""
        ),
    ),
    Rule(
        "licence_plate",
        plate,
        words=listed(
            """kennzeichen, kfz-kennzeichen, kfz-kz, kennz, placa, kfz, nummernschild, autonummer, licence
            plate, license plate, number plate, plate, plates, registration, reg no, vehicle reg,
            immatriculation, immatriculé, immatriculée, plaque, matrícula, matricula, targa, targata,
            kenteken, licence_plate, license_plate, plate_number, vrm, vrn, registered as, polizeiliches
            kennzeichen, kontrollschild, reg:, reg."""
        ),
    ),
    Rule(
        "plate_of_vehicle",
        plate_of_vehicle,
        words=listed(
            """wagen, auto, pkw, lkw, fahrzeug, motorrad, car, van, vehicle, truck, motorbike, parked,
            voiture, véhicule, camion, coche, vehículo, furgoneta, macchina, veicolo, halter,
            fahrzeughalter, falschparker, unfallgegner, abgeschleppt"""
        ),
    ),
    Rule(
        "date_of_birth",
        date_of_birth,
        words=listed(
            """dob, d.o.b, d.o.b., date of birth, birth date, birthdate, birthday, born, date_of_birth,
            birth_date, born on, geboren, geb, geb., geburtsdatum, geburtstag, geb.-datum, gebdat,
            geboren am, né, née, né(e), date de naissance, naissance, nacido, nacida, nacimiento, nació,
            nací, fecha de nacimiento, f. nac, nato il, nata il, nato, nata, data di nascita,
            geboortedatum, geburts-datum, birth, dateofbirth, fecha nac, fec. nac, f. nacimiento,
            geb-datum, date of birth is, geboren wurde, datum der geburt, né le, née le, nato a, fecha
            nacimiento, d. o. b."""
        ),
    ),
)
