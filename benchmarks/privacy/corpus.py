"""Fills templates with values and, where asked, disguises them; reads labelled texts from a file."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from benchmarks.privacy.negatives import FILLER, NEGATIVES
from benchmarks.privacy.templates import Templates
from benchmarks.privacy.values import Values
from sidecar.wire.call_text import CallText

_SLOT: Final = re.compile(r"\{(?:(\w+):)?(\w+)\}")
_CYRILLIC: Final = str.maketrans("aeopcxyABEKMHOPCTX", "аеорсхуАВЕКМНОРСТХ")
_WIDE: Final = {point: point + 0xFEE0 for point in range(0x21, 0x7F)}


class Sample(msgspec.Struct, frozen=True):
    """One labelled text; ``kind`` of a negative is its class."""

    text: str
    sensitive: bool
    kind: str
    lang: str


def disguise(trick: str, value: str, values: Values) -> str:
    """``value`` in a spelling that a reader understands and a naive pattern does not."""
    place = values.random.randint(2, len(value) - 2)
    if trick == "wide":
        return value.translate(_WIDE)
    if trick == "zero":
        return value[:place] + "\u200b" + value[place:]
    if trick == "cyrillic":
        return value.translate(_CYRILLIC)
    if trick == "base64":
        return base64.b64encode(f"value {value} kept here".encode()).decode()
    if trick == "percent":
        return quote(value, safe="")
    if trick == "broken":
        return value[:place] + "\n" + value[place:]
    raise ValueError(trick)


def filled(template: str, lang: str, values: Values) -> str:
    def put(slot: re.Match[str]) -> str:
        make = getattr(values, slot[2], None)
        if make is None:
            return slot[0]
        value = str(make(lang))
        return disguise(slot[1], value, values) if slot[1] else value

    return _SLOT.sub(put, template)


def generated(templates: Templates, values: Values, per_template: int) -> Iterator[Sample]:
    """``per_template`` samples of every template, most of them amid other sentences, and the negatives."""
    for kind, by_language in templates.items():
        for lang, sentences in by_language.items():
            for sentence in sentences:
                for _ in range(per_template):
                    yield Sample(_amid(filled(sentence, lang, values), lang, values), True, kind, lang)
    for kind, makers in NEGATIVES.items():
        for make in makers:
            for _ in range(per_template):
                lang = values.random.choice(tuple(FILLER))
                yield Sample(_amid(make(values), lang, values), False, kind, lang)


def _amid(sentence: str, lang: str, values: Values) -> str:
    before = values.random.choices(FILLER[lang], k=values.random.randint(0, 3))
    behind = values.random.choices(FILLER[lang], k=values.random.randint(0, 3))
    gap = values.random.choice((" ", "\n", "\n\n"))
    return gap.join([*before, sentence, *behind])


def _nested(text: str) -> str:
    return json.dumps({"note": f"See below:\n{text}\nEnd"}, ensure_ascii=False)


#: Ways in which programs rewrite a text on its way to a model, by name.
REWRITINGS: Final[dict[str, Callable[[str], str]]] = {
    "nested JSON": _nested,
    "nested JSON, ASCII": lambda text: json.dumps({"note": f"See below:\n{text}\nEnd"}),
    "nested JSON twice": lambda text: json.dumps({"result": _nested(text)}),
    "two blanks": lambda text: text.replace(" ", "  "),
    "tabs": lambda text: text.replace(" ", "\t"),
    "quoted lines": lambda text: "> " + text.replace("\n", "\n> "),
    "table cells": lambda text: "".join(f"<td>{word}</td>" for word in text.split(" ")),
    "base64 of UTF-8": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of UTF-16": lambda text: base64.b64encode(text.encode("utf-16-le")).decode(),
}

#: Members of an object and what their values are.
_FIELDS: Final = {
    **{"password": "password", "date_of_birth": "date", "passportNumber": "passport", "iban": "iban"},
    **{"e_mail": "email", "phone": "phone", "api_key": "api_key", "creditCard": "card"},
}


def rewritten(samples: Iterable[Sample]) -> Iterator[Sample]:
    """Each of ``samples`` in every rewriting, which is its kind."""
    for sample in samples:
        for name, rewrite in REWRITINGS.items():
            yield Sample(rewrite(sample.text), sample.sensitive, name, sample.lang)


def fields(values: Values, count: int) -> Iterator[Sample]:
    """Values in the members of an object, as a tool is called with; read as the gate reads a call."""
    for name, kind in _FIELDS.items():
        for _ in range(count):
            text = CallText()
            text.take({"metadata": {"ticket": values.digits(4), name: getattr(values, kind)("de")}})
            yield Sample("\n\n".join(text.texts), True, "field of an object", "de")


def labelled(path: Path) -> Iterator[Sample]:
    """Rows of ``text``, ``sensitive``, ``kinds``, ``lang`` from a gzipped JSON-lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            yield Sample(row["text"], row["sensitive"], "+".join(row["kinds"]), row["lang"])
