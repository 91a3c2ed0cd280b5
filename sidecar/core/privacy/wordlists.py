"""The packaged lists of given names, surnames and public figures, read once; they are constants.

Where they come from and under which licence they are shipped is said in ``data/NOTICE.md``.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

_PACKAGE: Final = "sidecar.core.privacy"


class NameLists(msgspec.Struct, frozen=True):
    """Names as Latin-1 bytes, in the spelling of ``normalise.plain``.

    ``weak`` given names are words or places too; they count only before a known surname.
    ``public_figures`` holds (first, last) of persons whom encyclopaedias treat.
    """

    given: frozenset[bytes]
    weak: frozenset[bytes]
    surnames: frozenset[bytes]
    public_figures: frozenset[tuple[str, str]]


def _words(name: str) -> frozenset[bytes]:
    return frozenset((files(_PACKAGE) / "data" / name).read_text("utf-8").encode("latin-1").split())


@cache
def name_lists() -> NameLists:
    """Read the lists; about 50,000 words, 4 MB."""
    figures = (files(_PACKAGE) / "data" / "public_figures.txt").read_text("utf-8").splitlines()
    return NameLists(
        given=_words("given_names.txt"),
        weak=_words("given_names_weak.txt"),
        surnames=_words("surnames.txt"),
        public_figures=frozenset((name.split()[0], name.split()[-1]) for name in figures if " " in name),
    )
