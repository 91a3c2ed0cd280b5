"""What an operator can do on a page, and how it can be refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from sidecar.services import Services

Form = Mapping[str, str]

REASON_CHARS_MAX: Final = 200


class Refused(Exception):
    """The change was not made; the message is for the operator. ``status`` is the answer's."""

    status = 400


class Stale(Refused):
    """Somebody else made a change since the form was shown; the message says what."""

    status = 409


Run = Callable[[Services, Form, str], Awaitable[str]]


class Action(msgspec.Struct, frozen=True):
    """A form that changes something: ``path`` below ``/dashboard``, and the page that it belongs to.

    ``run(services, form, actor)`` makes the change through the services and returns words for what was
    done, or raises ``Refused``. Only operators get that far, with a CSRF token.
    """

    path: str
    page: str
    run: Run


def field(form: Form, name: str) -> str:
    """A field that must be there. Raises ``Refused``."""
    text = form.get(name, "").strip()
    if not text:
        raise Refused(f"The field {name.replace('_', ' ')!r} is empty.")
    return text


def whole(form: Form, name: str) -> int:
    """A field that must be a whole number. Raises ``Refused``."""
    text = field(form, name)
    if not text.isdecimal() or len(text) > 18:
        raise Refused(f"The field {name.replace('_', ' ')!r} must be a whole number.")
    return int(text)


def reason(form: Form) -> str:
    """Why, for the audit log; may be empty. Raises ``Refused`` for a text that nobody would read there."""
    text = " ".join(form.get("reason", "").split())
    if len(text) > REASON_CHARS_MAX:
        raise Refused(f"The reason is {len(text)} characters long; write {REASON_CHARS_MAX} at most.")
    return text
