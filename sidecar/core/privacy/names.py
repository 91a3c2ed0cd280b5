"""Finds names of persons by lists and by how people are addressed; alone they are doubtful only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy.findings import NAME_KIND, Hit
from sidecar.core.privacy.renown import CREDIT, RENOWN
from sidecar.core.privacy.rules import Rule, before, listed, words
from sidecar.core.privacy.wordlists import NameLists, name_lists

#: Leaves letters only, so that what is left can be split into words; faster than to search for them.
_LETTERS: Final = bytes(byte if chr(byte).isalpha() else 0x20 for byte in range(0x100))
_PARTICLE: Final = (
    r"(?:von|vom|zu|zur|van|der|den|de|del|della|di|da|dos|du|des|la|le|el|al|bin|ibn|ten"
    r"|ter|y|Mc|Mac|St\.|Le|La|De|Del|Di|Van|Von|Du|O')"
)
_CAPITAL: Final = r"[A-Z\xc0-\xd6\xd8-\xde][a-z\xdf-\xf6\xf8-\xff]+(?:['-]?[A-Z\xc0-\xde][a-z\xdf-\xff]+)*"
_REST: Final = re.compile(
    rf"(?:-{_CAPITAL})?((?:[ \n]{_CAPITAL})??)(?: [A-Z]\.?(?= [A-Z]))?(?:[ \n]{_PARTICLE}){{0,3}}"
    rf"[ \n]?(?<=[ \n'])((?:[OD]')?{_CAPITAL})(?![\w@]"
    rf"|\.\w|\()"
)
_BROKEN_OFF: Final = re.compile(r"-?\n([a-z\xdf-\xff]{1,12})\b")
_REVERSED: Final = re.compile(rf"(?<![\w.])({_CAPITAL}), ?$")
_NEVER: Final = frozenset(
    words(
        """Street Avenue Road University Institute Institut Museum Foundation Stiftung Award Prize Theorem
        Lemma Syndrome Disease GmbH Inc Ltd Corp Straße Strasse Platz Allee Universität Preis And The
        Und Der Die Das With For"""
    )
)
# Words that stand behind a given name in names of things.
_THING: Final = frozenset(
    words(
        """Street Avenue Road Lane Drive Park Square Bridge Hill Island River Lake Bay Beach County City
        Town State Station University College School Institute Institut Museum Hospital Church Cathedral
        Library Foundation Stiftung Award Prize Medal Day Night Week Month Year Theorem Lemma Law
        Equation Method Algorithm Transform Code Language Script Server Client Data File Files System
        Systems Software Project License Licence Public Press Books Edition Journal Review Times News
        Post Magazine Group Company Corporation Inc Ltd GmbH Bank Insurance Airlines Hotel Cup Open Gate
        Test Tests Table Series Number Function Class Object Type Module Package Version Release Library
        Framework Tree Disease Syndrome Scale Effect Process Model Mode Key Keys Value Values Version
        Manual Guide Unicode Standard Time Standardzeit Straße Strasse Platz Weg Allee Gasse Ring Ufer
        Brücke Universität Schule Haus Kirche Preis Zeit Jahr Tag Nacht And The Und Der Die Das Von Les
        Des El Los Las With For From This That Is Was Has Are Not"""
    )
)


class PeopleFinder:
    """Names of persons in plain text, by the packaged lists."""

    __slots__ = ("_known", "_lists")

    def __init__(self, lists: NameLists) -> None:
        self._lists = lists
        self._known = lists.given | lists.weak

    def find(self, text: str, data: bytes, limit: int) -> Iterator[Hit]:
        """Pairs of a given name and a surname, at most ``limit`` of them, in no order."""
        count = 0
        for given in self._known.intersection(data.translate(_LETTERS).split()):
            weak = given in self._lists.weak
            word = given.decode("latin-1")
            place = text.find(word)
            while place >= 0:
                hit = self._at(text, place, word, weak)
                if hit is not None:
                    count += 1
                    yield hit
                    if count >= limit:
                        return
                place = text.find(word, place + len(word))

    def _at(self, text: str, place: int, word: str, weak: bool) -> Hit | None:
        stop = place + len(word)
        if (place and (text[place - 1].isalpha() or text[place - 1] in "_$/\\")) or text[
            stop : stop + 1
        ].isalpha():
            return None
        rest = _REST.match(text, stop)
        start = place
        last = rest[2] if rest is not None else ""
        if rest is not None and self._is_surname(last, weak):
            stop = rest.end()
        elif (
            rest is not None
            and (broken := _BROKEN_OFF.match(text, rest.end()))
            and self._listed(last + broken[1])
        ):
            stop = broken.end()
        elif (turned := _REVERSED.search(before(text, place, 40))) and not weak and self._listed(turned[1]):
            start, last = place - len(turned[0]), turned[1]
        else:
            return None
        if (word, last) in self._lists.public_figures:
            return None
        line = text[text.rfind("\n", 0, start) + 1 : start][-80:] + text[stop : stop + 30].partition("\n")[0]
        if CREDIT.search(line) or self._is_renowned(text, start, stop):
            return None
        return Hit(start, stop, NAME_KIND, False)

    def _listed(self, word: str) -> bool:
        return word.encode("latin-1", "replace") in self._lists.surnames

    def _is_surname(self, word: str, weak: bool) -> bool:
        if len(word) < 2 or word in _NEVER or (weak and word in _THING):
            return False
        if self._listed(word) or any(self._listed(part) for part in re.split("['-]", word)):
            return True
        return (
            not weak
            and len(word) >= 3
            and word not in _THING
            and word.encode("latin-1", "replace") not in self._lists.weak
        )

    def _is_renowned(self, text: str, start: int, stop: int) -> bool:
        head = text[max(0, start - 90) : start].rpartition("\n\n")[2]
        return RENOWN.search(head + text[start : stop + 110].partition("\n\n")[0]) is not None


_TITLED: Final = re.compile(
    rf"\.?[ \n](?:(?:Dr|Prof|Mag|Ing|Dipl|med|Lic|Mme|Herr|Frau)\b[.-]*(?:-Ing\.)? ?){{0,3}}"
    rf"(?:{_PARTICLE} ){{0,2}}({_CAPITAL})(?: {_CAPITAL})?"
)
_LOWER_TITLES: Final = frozenset(
    words(
        """señor señora señorita señores doña monsieur madame mademoiselle signor signora signorina meneer
        mevrouw dhr mevr sra"""
    )
)
_NOT_A_NAME: Final = frozenset(
    words(
        """President Präsident Präsidentin Speaker Chairman Secretary Minister Kollege Kollegin Doctor
        Doktor Professor Right Wrong Universe World Bundeskanzler Bundeskanzlerin Bürgermeister
        Bürgermeisterin Justice Ambassador Madam Sir Nachbar Nachbarin Holle Ringe The This And Or In
        For Is Not Direktor Director Directrice Président Présidente Who General Captain Coordinator
        Robot Smiley Spock Data Beat Green Gott Pfarrer Richter Und Oder Aber Sie Ihr Name"""
    )
)


def titled(text: str, start: int, end: int) -> Iterator[Hit]:
    """``Frau Vogel``, ``Dr. Smith``: a form of address and a name."""
    if not text[start].isupper() and text[start:end] not in _LOWER_TITLES:
        return
    match = _TITLED.match(text, end)
    if match is None or match[1] in _NOT_A_NAME or match[1] in _THING:
        return
    line = text[text.rfind("\n", 0, start) + 1 : start]
    if not re.match(r"\s*-- ", line):
        yield Hit(start, match.end(), NAME_KIND, False)


def initial_titled(text: str, start: int, end: int) -> Iterator[Hit]:
    """Short forms that mean other things too (``M.``, ``Sr.``, ``Don``): only before a known surname."""
    match = _TITLED.match(text, end)
    if match is not None and match[1].encode("latin-1", "replace") in name_lists().surnames:
        yield Hit(start, match.end(), NAME_KIND, False)


_INTRODUCED: Final = re.compile(
    rf"[ :]{{1,2}}(?:{_PARTICLE} )?({_CAPITAL})(?: (?:{_PARTICLE} )?{_CAPITAL}){{0,3}}"
)


def introduced(text: str, start: int, end: int) -> Iterator[Hit]:
    """``My name is Helen``: somebody says who they are."""
    match = _INTRODUCED.match(text, end)
    if match is not None and match[1] not in _THING and match[1] not in _NOT_A_NAME:
        word = match[1].encode("latin-1", "replace")
        lists = name_lists()
        yield Hit(match.start(1), match.end(), NAME_KIND, word in lists.given or word in lists.weak)


_FIELD: Final = re.compile(
    rf"[\"'*]{{0,2}}\s?[:=;|]\s?[\"'*]{{0,2}}((?:{_CAPITAL}|[A-Z]{{2,}})(?:,? (?:{_PARTICLE} )?(?:{_CAPITAL}"
    rf"|[A-Z]{{2,}}|[A-Z]\.)){{0,3}})(?=[\"',;|\n.<)(]|$)"
)


def named_field(text: str, start: int, end: int) -> Iterator[Hit]:
    """``Name: SMITH John`` where one of the words is a known name and no other a thing."""
    match = _FIELD.match(text, end)
    if match is None:
        return
    lists = name_lists()
    words = [word.title() for word in re.split(r"[ ,]+", match[1])]
    if any(word in _THING for word in words):
        return
    known = [word.encode("latin-1", "replace") for word in words]
    if any(word in lists.given for word in known) or (
        len(known) > 1 and any(word in lists.surnames for word in known)
    ):
        yield Hit(match.start(1), match.end(1), NAME_KIND, False)


def stated(text: str, start: int, end: int) -> Iterator[Hit]:
    """``I am Helen``: may go on with anything, so only a known given name counts."""
    match = _INTRODUCED.match(text, end)
    if match is not None and match[1].encode("latin-1", "replace") in name_lists().given:
        yield Hit(match.start(1), match.end(), NAME_KIND, False)


NAME_RULES: Final = (
    Rule(
        "titled",
        titled,
        words=listed(
            """herr, herrn, frau, mr, mrs, ms, miss, mx, dr, prof, monsieur, madame, mademoiselle, mme,
            mlle, señor, señora, señorita, signor, signora, signorina, meneer, mevrouw, dhr, mevr, sra,
            doña, maestra"""
        ),
    ),
    Rule(
        "initial_titled",
        initial_titled,
        words=listed("m, mm, sr, don, sig, hr, fr, sir, lady, maître, me, d.ª"),
        capital=True,
    ),
    Rule(
        "introduced",
        introduced,
        words=listed(
            """my name is, i am called, my full name is, mein name ist, je m'appelle, mon nom est, me
            llamo, mi nombre es, mi chiamo, il mio nome è, ik heet, mijn naam is, heiße ich, ich heiße,
            ich heisse, her name is, his name is, sein name ist, ihr name ist, il s'appelle, elle
            s'appelle, se llama"""
        ),
    ),
    Rule(
        "stated",
        stated,
        words=listed("""this is, je suis, soy, ich bin, i am, i'm, call me, hier ist, c'est, sono, ik ben"""),
    ),
    Rule(
        "named_field",
        named_field,
        words=listed(
            """name, nachname, vorname, surname, first name, last name, full name, full_name, first_name,
            last_name, nom, prénom, nombre, apellido, apellidos, cognome, nome, naam, kontoinhaber,
            account holder, cardholder, inhaber, patient, patientin, kunde, kundin, customer, client,
            cliente, employee, mitarbeiter, mitarbeiterin, teilnehmer, attendees, participants,
            participantes, versicherte, versicherter, mieter, tenant, locataire, empfänger, recipient"""
        ),
    ),
)
