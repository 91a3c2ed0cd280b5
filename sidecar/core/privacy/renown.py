"""Tells names that the public knows, or that stand under a work, from those of private persons."""

from __future__ import annotations

import re
from typing import Final

CREDIT: Final = re.compile(
    r"^[ \t*#/;\"'>|.\\-]*--? ?|copyright|\(c\)|\xa9|@author|\bauthors?\b|\bauteurs?\b|\bautore?s?\b"
    r"|maintain|written by|contribut|translat"
    r"|\xfcbersetz|traduct|traduzion|\bet al\b|isbn|doi\b|arxiv|\bin: |\bvol\.|\bpp\. |licen[cs]e"
    r"|bug|reported by|patch|thanks to|autoren|credits? (?:to|go)|geschrieben|[e\xe9]crite? par"
    r"|escrit[oa] por|quot\w*|zitat\w*",
    re.IGNORECASE,
)
RENOWN: Final = re.compile(
    r"\b(?:nobel\w*|theorem|novels?|roman|novela|philosopher|philosoph\w*|physicist|physiker\w*"
    r"|mathematici\w*|mathematiker\w*"
    r"|composer|komponist\w*|compositeur|painter|maler\w*|peintre|poet|dichter\w*|po\xe8te"
    r"|playwright|emperor|kaiser\w*|empereur|king of|queen of"
    r"|k\xf6nig\w*|president of|prime minister|bundeskanzler\w*|bundespr\xe4sident\w*|chancellor"
    r"|premier ministre|pr\xe9sident de|presidente de|reign\w*"
    r"|album\w*|film\w*|movie|symphony|sinfonie|opera|oper|wrote|schrieb|\xe9crivit|escribi\xf3"
    r"|public\xf3|published|ver\xf6ffentlichte|publia|invented|erfand"
    r"|discovered|entdeckte|d\xe9couvr\w*|descubri\xf3|founded|gr\xfcndete|born in \d{4}"
    r"|\(\d{4}\s?[-\x96]\s?\d{4}\)|\d{4}\s?-\s?\d{4}|actor|actress|schauspieler\w*"
    r"|singer|s\xe4nger\w*|author of|autor von|auteur d\w+|century|jahrhundert|si\xe8cle"
    r"|siglo|world cup|olympic|championship|laureate)\b",
    re.IGNORECASE,
)
