"""Finds passwords that are set, told, or ride in URLs and on command lines."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, is_placeholder, listed, words

_PASSWORD_VALUE: Final = re.compile(
    r"([\"'\]`*)]{0,3})(?:\s{0,3}(:=|=>|->|[:=])\s{0,3}|[ \t]{1,3}(?:for [\w@.-]+ |f\xfcr [\w@.-]+ "
    r"|pour [\w@.-]+ |para [\w@.-]+ )?"
    r"(is|ist|lautet|est|es|was|war|era|:|to|auf|set to|\xe8|sigue siendo|reste|bleibt|remains"
    r"|now|jetzt|neu)\b:?\s{0,2}(?:now |jetzt |still |noch )?|[ \t]{1,2})"
    r"([\"'`*\xab(]{0,3})([^\s\"'`<>,;\xbb]{4,64})"
)
_PLAIN_WORD: Final = re.compile(r"[A-Za-z\xc0-\xff_.:-]+[).,;:!?]*$")
_CODE_VALUE: Final = re.compile(
    r"[\w.]*[A-Za-z_]\w*[(\[]|self\.|os\.|\$(?:[A-Za-z_]+$|[({])|[A-Za-z_]+(?:\.[A-Za-z_]+)+$|/[\w./-]+$|[A-Za-z_]+="
    r"|0x|https?:|@|--?[a-z]|[A-Z_]+_[A-Z_]+$|%\(|\\"
)


_ESCAPED_BREAK: Final = re.compile(r"\\+[nrt]")

# A few words may stand between the cue and a value that cannot be a word itself.
_STRONG_NEAR: Final = re.compile(
    r"[\"']?(?:[ :=]{1,3}[a-z\xdf-\xff]{1,14}){0,3}[ :=]{1,3}[\"']?([^\s\"'<>,]{8,40})"
)


def _is_strong(value: str) -> bool:
    """Both cases and digits, and nothing of code, a path or a placeholder."""
    return (
        any(map(str.islower, value))
        and any(map(str.isupper, value))
        and sum(map(str.isdigit, value)) >= 2
        and not _CODE_VALUE.match(value)
        and not re.search(r"[()\[\]{}/\\=]|\.[a-z]|_[a-z]", value)
        and not is_placeholder(value)
    )


def password(text: str, start: int, end: int) -> Iterator[Hit]:
    """A value that looks chosen or random behind a word for a password, set or told."""
    near = _STRONG_NEAR.match(text, end)
    if near is not None and _is_strong(near[1].rstrip(".,;:)")):
        yield Hit(near.start(1), near.end(1), "password", True)
        return
    match = _PASSWORD_VALUE.match(text, end)
    if match is None:
        return
    quote, operator, verb, opening, value = match.groups()
    value = value.rstrip(",;)") if opening else value.rstrip(".,;:)]}*")
    head = _ESCAPED_BREAK.split(value, maxsplit=1)[0]
    if _PLAIN_WORD.match(head):
        value = head  # the next line's words are no part of it
    if len(value) < 4 or is_placeholder(value) or _CODE_VALUE.match(value):
        return
    first, stop = match.start(5), match.start(5) + len(value)
    has_digit = any(map(str.isdigit, value))
    told = bool(operator or opening or (verb and (verb not in ("to", "es", "was") or has_digit)))
    if value.isdigit():
        chosen = bool(operator or verb)
    else:
        chosen = _is_mixed(value, 2 if told else 3) or (told and _is_scrambled(value))
    if chosen:
        yield Hit(first, stop, "password", True)
    elif operator and (_is_quoted_word(value) if opening else not quote and _ends_line(text, stop, value)):
        yield Hit(first, stop, "password", False)


def _is_mixed(value: str, classes_min: int) -> bool:
    """At least so many of lower case, upper case, digits and signs, and not a word with a dot behind it."""
    tests = (str.islower, str.isupper, str.isdigit, lambda char: not char.isalnum())
    classes = sum(any(map(test, value)) for test in tests)
    return len(value) >= 6 and classes >= classes_min and not _PLAIN_WORD.match(value)


def _is_scrambled(value: str) -> bool:
    """Letters alone, in cases that no word and no name in code has."""
    return value.isalpha() and len(value) >= 10 and len(re.findall(r"[a-z][A-Z]", value)) >= 2


def _is_quoted_word(value: str) -> bool:
    return value.isalnum() and len(value) >= 6 and value.lower() not in _TYPE_WORDS


def _ends_line(text: str, stop: int, value: str) -> bool:
    """Whether ``value`` is a plain word, of no type or state, that ends its line."""
    plain = value.isalpha() and value.islower() and len(value) >= 6 and value not in _TYPE_WORDS
    return plain and text[stop : stop + 1] in ("", "\n")


_TYPE_WORDS: Final = frozenset(
    words(
        """string text bool none null true false varchar required optional hidden masked secret password
        passwort number integer object any undefined default empty missing invalid incorrect wrong
        expired disabled enabled username falsch erforderlich leer unbekannt vergessen obligatoire
        requis requerido obligatorio value self token input kwargs passwd password1 password2
        newpassword oldpassword stdin prompt file vault"""
    )
)

_URL_LOGIN: Final = re.compile(r"[^\s/@:\"'<>]{0,64}:([^\s/@\"'<>]{3,128})@[\w.\[-]")


def url_password(text: str, start: int, end: int) -> Iterator[Hit]:
    """``scheme://user:password@host``."""
    match = _URL_LOGIN.match(text, end)
    if match is None:
        return
    value = match[1]
    if is_placeholder(value) or value.lower() in (
        "password",
        "pass",
        "passwd",
        "pwd",
        "secret",
        "pw",
        "user",
        "token",
    ):
        return
    yield Hit(
        match.start(1), match.end(1), "password", not (value.isalpha() and value.islower() and len(value) < 9)
    )


_OPTION_VALUE: Final = re.compile(r"\s*[\"']?([^\s\"'<>$]{4,64})")


def option_password(text: str, start: int, end: int) -> Iterator[Hit]:
    """``sshpass -p secret``, ``mysql -psecret``, ``curl -u user:secret``."""
    match = _OPTION_VALUE.match(text, end)
    if match is None or is_placeholder(match[1]) or _PLAIN_WORD.match(match[1]):
        return
    if text[start:end].endswith("-u") and ":" not in match[1]:
        return
    yield Hit(match.start(1), match.end(1), "password", True)


def basic_auth(text: str, start: int, end: int) -> Iterator[Hit]:
    match = re.compile(r"\s+([A-Za-z0-9+/]{8,}={0,2})").match(text, end)
    if match is None:
        return
    try:
        pair = binascii.a2b_base64(match[1])
    except binascii.Error:
        return
    if re.match(rb"[\x21-\x7e]{1,60}:[\x20-\x7e]{3,}$", pair):
        yield Hit(match.start(1), match.end(1), "password", True)


PASSWORD_RULES: Final = (
    Rule("basic_auth", basic_auth, words=("basic",)),
    Rule(
        "password",
        password,
        words=listed(
            """password, passwort, kennwort, passwd, pwd, pass, passphrase, passcode, pw, mot de passe,
            mdp, contraseña, contrasena, clave, pin, pin-code, pincode, wachtwoord, senha, parola
            d'ordine, zugangscode, passwörter, db_pass, userpassword, login, logindaten, zugangsdaten,
            credentials, pass phrase, secret, puk, tan, kennung, parola, code secret, otp,
            einmalpasswort, wlan-schlüssel, wifi key, netzwerkschlüssel, wpa2"""
        ),
        shapes=(
            r"_password\b",
            r"_passwd\b",
            r"_pass\b",
            r"_pwd\b",
            r"-password\b",
            r"-passwort\b",
            r"-kennwort\b",
            r"[a-z]passwort\b",
            r"[a-z]kennwort\b",
            r"[a-z]password\b",
        ),
    ),
    Rule("url_password", url_password, parts=("://",)),
    Rule(
        "option_password",
        option_password,
        parts=("sshpass -p", "--password=", "--password ", "mysql -u root -p", "curl -u", "--user ", " -pw "),
    ),
)
