"""Finds street addresses, and lets those of offices and monuments pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, before, listed, words

_HOME: Final = re.compile(
    r"\b(?:wohn\w*|adress\w*|anschrift|zu ?hause|privat\w*|liefer\w*|address\w*|live[sd]?"
    r"|living|resid\w*|home|ship\w*|deliver\w*|mail(?:ing|ed)?"
    r"|moved?|domicil\w*|demeur\w*|habit\w*|livr\w*|adresse|r[e\xe9]sid\w*|direcci[o\xf3]n"
    r"|domicilio|vivo|vive|vivimos|reside|env[i\xed]\w*|entrega"
    r"|indirizzo|abit\w*|woon\w*|adres|kund\w*|customer|client\w*|mieter\w*|tenant|locataire"
    r"|inquilin\w*|patient\w*|empf[a\xe4]nger\w*"
    r"|recipient|destinat\w*|nachbar\w*|neighbou?r|umgezogen|zieh\w*|einsatzort|my|mein\w*"
    r"|mon|mi|strasse|street|plz|zip|billing|postcode)\b",
    re.IGNORECASE,
)
_HOME_SURELY: Final = re.compile(
    r"\b(?:wohnhaft|wohn(?:t|e|en|st)|lebe|lives? (?:at|in|on)|living|resid(?:es?|ing|ence)"
    r"|home address|demeurant|habit\w*|domicili\w*"
    r"|vivo|vive|reside\w*|abit[ao]|residente|woon\w*|zuhause|zu hause|privat\w*)\b",
    re.IGNORECASE,
)
_OFFICE: Final = re.compile(
    r"\b(?:GmbH|AG|KG|SE|Inc|Ltd|LLC|Corp|S\.?A\.?R\.?L|SARL|SAS|S\.L|S\.A|S\.p\.A|B\.?V"
    r"|plc|Amt|Firma|(?i:head ?office|headquarter\w*|hauptsitz"
    r"|sitz|si[e\xe8]ge|sede|museum|museo|mus[e\xe9]e|rathaus|mairie|ayuntamiento|university"
    r"|universit\w*|ministr\w*|bundes\w*|\w+amt|court|gericht"
    r"|theat\w*|hotel|restaurant|caf[e\xe9]|filiale|branch|store|shop|office|b\xfcro|bureau"
    r"|oficina|impressum|imprint|station|bahnhof|schule|school"
    r"|\xe9cole|church|kirche|embassy|botschaft|library|bibliothek|company|entreprise|empresa"
    r"|conference|venue|stadion|stadium|registered at))\b"
)
_POSTAL: Final = re.compile(
    r"[^\n]{0,36}?\n?[^\n]{0,8}?(?<![\w-])(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b|(?:"
    r"[A-Z]{1,2}-)?\d{4,5}(?:-\d{4})?(?!\d)[\s,|\"':a-z]{0,24}[A-Z\xc0-\xde]"
    r"|\d{4} ?[A-Z]{2}\b|[A-Z][a-z]+(?: [A-Z][a-z]+)?, [A-Z]{2} \d{5})"
)
_POSTAL_NEAR: Final = re.compile(
    r"\b(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{5}(?:-\d{4})? [A-Z\xc0-\xde][a-z]|\d{4} ?[A-Z]{2}\b"
    r"|[A-Z]{2} \d{5}\b|\d{4} [A-Z\xc0-\xde][a-z])"
)


def _judged(text: str, start: int, stop: int) -> Iterator[Hit]:
    """Certain with a cue for a home or a postal code, nothing where an office is meant, else doubtful."""
    head = before(text, start, 110).rpartition("\n\n")[2]
    home = _HOME.search(head) is not None
    postal = _POSTAL.match(text, stop) is not None or _POSTAL_NEAR.search(before(text, start, 40)) is not None
    office = _OFFICE.search(head[-60:]) or _OFFICE.search(text, stop, stop + 60)
    if _HOME_SURELY.search(head) or (home and not office):
        yield Hit(start, stop, "address", True)
    elif not office:
        yield Hit(start, stop, "address", postal)
    elif home or postal:
        yield Hit(start, stop, "address", False)


_WORD: Final = r"[A-Z\xc0-\xde][\w\xc0-\xff.'-]*"
_GERMAN_SUFFIXES: Final = listed(
    """straße, strasse, str., weg, platz, allee, gasse, ring, damm, ufer, hof, steig, chaussee, promenade,
    markt, zeile, berg, graben, kai, park, winkel, pfad, stieg, wall, tor, siedlung, anger, feld, twiete,
    straat, laan, plein, gracht, kade, singel, dreef, dijk, steeg, plantsoen, pad, baan, boulevard"""
)
_GERMAN_HEAD: Final = re.compile(
    r"(?:(?:Am|An der|An den|Auf dem|Auf der|Im|In der|Zum|Zur|Unter den|De|Van|Am alten) )?(?:"
    + _WORD
    + r"[ -]){0,3}?[A-Z\xc0-\xde]?[\w\xc0-\xff.-]*$"
)
_DIGIT: Final = re.compile(r"\d")
_HOUSE: Final = re.compile(r"\d{1,4}(?: ?[a-zA-Z](?![\w]))?(?: ?[/-] ?\d{1,4}){0,2}(?![\w%\xb0]|[.,:]\d)")


# Endings of many words that are no streets: they count only with a cue for a home or a postal code.
_VAGUE: Final = re.compile(
    r"(?:tor|zeile|feld|platz|hof|berg|park|ring|wall|markt|pad|baan|anger|winkel|kai)$", re.IGNORECASE
)


def german_street(text: str, start: int, end: int) -> Iterator[Hit]:
    """``Lindenstra\xdfe 5``, ``Am Ring 3/2``: a street's name, a blank, a house number. Dutch streets too."""
    house = _HOUSE.match(text, end - 1)
    if house is None:
        return
    head = _GERMAN_HEAD.search(before(text, end - 1, 60).rpartition("\n")[2].rstrip(" "))
    if head is None or not head[0] or not re.search(r"[A-Z\xc0-\xde]", head[0]):
        return
    if re.match(
        r"\s?(?:Uhr|Euro|EUR|Prozent|km|Meter|m\b|\w+en\b|Jahre|Tage)", text[house.end() : house.end() + 12]
    ):
        return
    hits = _judged(text, end - 1 - len(head[0]), house.end())
    yield from (hit for hit in hits if hit.certain) if _VAGUE.search(head[0]) else hits


# USPS Publication 28, appendix C1, with the commonest abbreviations, and British ones.
_ENGLISH_SUFFIXES: Final = tuple(
    words(
        """Alley Annex Arcade Avenue Ave Bayou Beach Bend Bluff Bluffs Bottom Boulevard Blvd Branch Bridge
        Brook Brooks Burg Burgs Bypass Camp Canyon Cape Causeway Center Centers Circle Circles Cliff Cliffs
        Club Common Commons Corner Corners Course Court Courts Cove Coves Creek Crescent Crest Crossing
        Crossroad Curve Dale Dam Divide Drive Drives Estate Estates Expressway Extension Extensions Fall
        Falls Ferry Field Fields Flat Flats Ford Fords Forest Forge Forges Fork Forks Fort Freeway Garden
        Gardens Gateway Glen Glens Green Greens Grove Groves Harbor Harbors Haven Heights Highway Hill Hills
        Hollow Inlet Island Islands Isle Junction Junctions Key Keys Knoll Knolls Lake Lakes Land Landing
        Lane Ln Light Lights Loaf Lock Locks Lodge Loop Mall Manor Manors Meadow Meadows Mews Mill Mills
        Mission Motorway Mount Mountain Mountains Neck Orchard Oval Overpass Park Parks Parkway Parkways
        Pass Passage Path Pike Pine Pines Place Plain Plains Plaza Point Points Port Ports Prairie Radial
        Ramp Ranch Rapid Rapids Rest Ridge Ridges River Road Rd Roads Route Row Rue Run Shoal Shoals Shore
        Shores Skyway Spring Springs Spur Spurs Square Squares Station Stravenue Stream Street St Streets
        Summit Terrace Throughway Trace Track Trafficway Trail Trailer Tunnel Turnpike Underpass Union
        Unions Valley Valleys Via Viaduct View Views Village Villages Ville Vista Walk Walks Wall Way Ways
        Well Wells Close Rise Broadway Dr Ct Pl Sq"""
    )
)
_ENGLISH_HEAD: Final = re.compile(
    r"(?:(?:Flat|Studio|Unit|Apt\.?|Suite|Apartment) \d{1,4}[A-Za-z]?,? \n?)?(?<![\w.,-])\d{1,6}"
    r"[A-Za-z]?,? (?:[NSEW]\.? "
    r"|North |South |East |West )?"
    r"(?:(?:[A-Z][A-Za-z.'-]+|\d{1,3}(?:st|nd|rd|th)) ){1,4}$|(?:Flat|Studio|Unit|Apt\.?"
    r"|Suite|Apartment) ?\d{1,4}[A-Za-z]?,?\s(?:[A-Z][A-Za-z.'-]+ ){1,3}$"
)


def english_street(text: str, start: int, end: int) -> Iterator[Hit]:
    """``12 Oak Lane``, ``Flat 3, Willow Crest``: a number, names, and a word for a street."""
    window = before(text, start, 80)
    if _DIGIT.search(window) is None:
        return
    head = _ENGLISH_HEAD.search(window)
    if head is not None and not re.search(
        r"\d (?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
        head[0],
    ):
        yield from _judged(text, start - len(head[0]), end)


_ROMANCE_NAMES: Final = (
    r"(?:(?:de|du|des|del|della|delle|dei|degli|di|la|le|les|los|las|el|l'|d'|da|y|et|e)[ ]?){0,4}"
)
_FRENCH_TAIL: Final = re.compile(r" " + _ROMANCE_NAMES + _WORD)
_FRENCH_NUMBER: Final = re.compile(
    r"(?<![\d.,])\d{1,4}(?: ?(?:bis|ter|quater|[A-D]))?,? (?:de |de la )?$", re.I
)
_SPANISH_TAIL: Final = re.compile(
    r"\.? (?:"
    + _ROMANCE_NAMES
    + _WORD
    + r"[ ,]{1,2}){1,6}(?:n[\xbao\xb0.]{1,2} ?|num(?:ero|\.)? ?|n\xfam\.? ?)?(\d{1,4})(?![\w%\xb0]|[.,:]\d)"
)


_NUMBER_BEHIND: Final = re.compile(
    r" "
    + _ROMANCE_NAMES
    + _WORD
    + r"(?:[ -](?:"
    + _ROMANCE_NAMES
    + _WORD
    + r"))?,? (\d{1,4})(?![\w%\xb0]|[.,:]\d)"
)


def romance_street(text: str, start: int, end: int) -> Iterator[Hit]:
    """``12, rue de la Paix`` with the number before, or ``Calle Mayor 12`` with the number behind."""
    number = _FRENCH_NUMBER.search(before(text, start, 16))
    if number is not None and (tail := _FRENCH_TAIL.match(text, end)):
        yield from _judged(text, start - len(number[0]), tail.end())
        return
    behind = (_SPANISH_TAIL if text[start].isupper() else _NUMBER_BEHIND).match(text, end, end + 90)
    if behind is not None and not re.match(r"1[5-9]\d\d|20\d\d", behind[1]):
        yield from _judged(text, start, behind.end())


_POSTAL_CODE: Final = re.compile(
    r"\b(?:\d{5}(?:-\d{4})?|\d{4}(?= ?[A-Z])|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b"
)
_NO_PLACE: Final = re.compile(r"[={}()<>#;*_\[\]]|: ")
_LEAD_IN: Final = re.compile(r"[\"']?\s?[:=]?\s?")


def led_address(text: str, start: int, end: int) -> Iterator[Hit]:
    """Words and a postal code behind a phrase that announces where somebody lives or gets parcels."""
    first = _LEAD_IN.match(text, end).end()  # type: ignore[union-attr] # it matches the empty text too
    window = text[first : first + 150].partition("\n\n")[0]
    code = _POSTAL_CODE.search(window)
    if code is None or code.start() < 5 or window.count("\n", 0, code.start()) > 3:
        return
    place = window[: code.start()]
    if not re.search(r"[A-Z\xc0-\xde][a-z]", place) or _NO_PLACE.search(place) or _OFFICE.search(place):
        return
    if any(map(str.isdigit, place)) or "," in place or "\n" in place:
        yield Hit(first, first + code.end(), "address", True)


_MILITARY: Final = re.compile(r",? A[AEP],? \d{5}")


def military_address(text: str, start: int, end: int) -> Iterator[Hit]:
    """``FPO AE 09123``: the United States' post to its forces and embassies."""
    match = _MILITARY.match(text, end)
    if match is not None:
        yield Hit(start, match.end(), "address", True)


_FIELD_VALUE: Final = re.compile(
    r"[\"']?\s{0,2}[:=]\s{0,2}[\"']?([A-Z\xc0-\xde\d][\w\xc0-\xff .,'/-]{3,60}?\d[\w/-]*"
    r"|\d{1,5},? [\w\xc0-\xff .'-]{4,50})(?=[\"'\n,;|}])"
)


def address_field(text: str, start: int, end: int) -> Iterator[Hit]:
    """A field named street or address with a value that has a number and a name."""
    match = _FIELD_VALUE.match(text, end)
    if (
        match is not None
        and re.search(r"[A-Za-z]{3}", match[1])
        and not re.match(r"[\d.:/-]+$|0x|\d+ (?:bytes|bit)|[\d ]*\b0\d? ", match[1])
    ):
        yield Hit(match.start(1), match.end(1), "address", False)


def _street_shape(suffix: str) -> str:
    return suffix.replace(".", r"\.").replace("\xdf", "[\xdf]") + r" \d"


ADDRESS_RULES: Final = (
    Rule(
        "german_street",
        german_street,
        shapes=tuple(_street_shape(suffix) for suffix in _GERMAN_SUFFIXES),
    ),
    Rule("english_street", english_street, words=_ENGLISH_SUFFIXES, capital=True),
    Rule(
        "romance_street",
        romance_street,
        words=listed(
            """rue, avenue, boulevard, chemin, place, allée, impasse, quai, cours, square, passage, sentier,
            faubourg, esplanade, montée, voie, résidence, calle, c/, avenida, avda, av, plaza, paseo,
            pasaje, ronda, camino, carretera, glorieta, alameda, cañada, acceso, vial, via, vía,
            urbanización, rambla, cuesta, callejón, travesía, pasadizo, plazoleta, carrer, rua, viale,
            piazza, corso, largo, vicolo, strada, contrada, lungomare, piazzale, borgo, canale, incrocio,
            rotonda, stretto, vico, c., andador, cerrada, privada, retorno, prolongación, calzada, viaducto,
            corredor, eje vial, circuito, carrera, diagonal, transversal, ampliación, periferico,
            periférico, bajada, costanilla"""
        ),
    ),
    Rule("military_address", military_address, words=("apo", "fpo", "dpo")),
    Rule(
        "led_address",
        led_address,
        words=listed(
            """wohnhaft, wohnhaft in, wohne in, wohnt in, wohnen in, anschrift, adresse, adresse lautet,
            umgezogen nach, lieferadresse, rechnungsadresse, privatanschrift, wohnort, zustellung an,
            liefern an, live at, lives at, living at, home address, home, reside at, resides at, residing
            at, moved to, ship to, deliver to, delivered to, parcel at, address is, address, demeurant,
            domicilié, domiciliée, habite, habite au, livraison chez, livrer à, adresse est, domicilio,
            domicilio en, vivo en, vive en, reside en, dirección, enviar a, envío a, entrega en, residente
            in, abito in, indirizzo, woonachtig, adres"""
        ),
    ),
    Rule(
        "address_field",
        address_field,
        words=listed(
            """street, strasse, straße, address, adresse, anschrift, direccion, dirección, indirizzo, adres,
            street_address, addressline, address_line, address1, domicilio"""
        ),
    ),
)
