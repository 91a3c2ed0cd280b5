"""What was said in one call, as far as spans may show it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Said(msgspec.Struct, frozen=True):
    """The messages of a call, each its role and text, and the text of its answer.

    ``withheld`` says why there is no answer although one was given; empty otherwise.
    """

    messages: tuple[tuple[str, str], ...]
    answer: str = ""
    withheld: str = ""


#: Finds out what was said; called once, away from the serving path.
Hear = Callable[[], Said]
