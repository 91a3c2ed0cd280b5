"""Finds API keys, tokens and private keys, and lets placeholders for them pass."""

from __future__ import annotations

import binascii
import math
import re
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, Validator, before, is_mostly_placeholder, listed

# Prefix and rest as the vendors document them, or as their tokens have looked for years.
_VENDOR_KEYS: Final = (
    ("sk-", r"(?:proj-|svcacct-|admin-|ant-(?:api|admin)\d\d-|or-v1-|lf-)?[A-Za-z0-9_-]{20,}"),
    ("pk-lf-", r"[0-9a-f-]{30,}"),
    *(
        (prefix, r"[A-Z0-9]{16}(?![A-Za-z0-9])")
        for prefix in ("AKIA", "ASIA", "AROA", "AIDA", "ABIA", "ACCA")
    ),
    *((f"gh{letter}_", r"[A-Za-z0-9]{30,}") for letter in "pousr"),
    ("github_pat_", r"[A-Za-z0-9_]{22,}"),
    *(
        (prefix, r"[A-Za-z0-9_.-]{18,}")
        for prefix in ("glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glsoat-", "glft-")
    ),
    *((f"xox{letter}-", r"[A-Za-z0-9-]{10,}") for letter in "abcdeoprs"),
    ("xapp-", r"\d-[A-Z0-9]+-\d+-[a-z0-9]{20,}"),
    ("SG.", r"[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),
    ("AIza", r"[A-Za-z0-9_-]{30,}"),
    ("ya29.", r"[A-Za-z0-9_-]{20,}"),
    ("GOCSPX-", r"[A-Za-z0-9_-]{20,}"),
    *((f"{kind}_{mode}_", r"[A-Za-z0-9]{14,}") for kind in ("sk", "rk", "pk") for mode in ("live", "test")),
    ("whsec_", r"[A-Za-z0-9+/=]{20,}"),
    ("npm_", r"[A-Za-z0-9]{30,}"),
    ("pypi-", r"[A-Za-z0-9_-]{30,}"),
    *((f"do{kind}_v1_", r"[0-9a-f]{40,}") for kind in "opr"),
    ("hf_", r"[A-Za-z0-9]{28,}"),
    ("gsk_", r"[A-Za-z0-9]{30,}"),
    ("r8_", r"[A-Za-z0-9]{30,}"),
    ("xai-", r"[A-Za-z0-9]{30,}"),
    ("pplx-", r"[A-Za-z0-9]{30,}"),
    ("nvapi-", r"[A-Za-z0-9_-]{30,}"),
    ("fw_", r"[A-Za-z0-9]{20,}"),
    ("tvly-", r"[A-Za-z0-9-]{20,}"),
    ("lsv2_", r"[a-z]{2}_[0-9a-f_]{30,}"),
    *((f"shp{kind}_", r"[0-9a-fA-F]{30,}") for kind in ("at", "ca", "pa", "ss")),
    *((f"sq0{kind}-", r"[A-Za-z0-9_-]{20,}") for kind in ("atp", "csp", "idp")),
    ("EAAA", r"[A-Za-z0-9_-]{56,}"),
    ("EAAC", r"[A-Za-z0-9]{40,}"),
    ("key-", r"[0-9a-f]{32}(?![0-9a-f])"),
    ("dckr_pat_", r"[A-Za-z0-9_-]{20,}"),
    ("lin_api_", r"[A-Za-z0-9]{30,}"),
    ("figd_", r"[A-Za-z0-9_-]{30,}"),
    ("ntn_", r"[A-Za-z0-9]{40,}"),
    ("secret_", r"[A-Za-z0-9]{40,}"),
    ("ATATT3", r"[A-Za-z0-9_=-]{40,}"),
    ("ATBB", r"[A-Za-z0-9]{28,}"),
    *((prefix, r"[A-Za-z0-9_-]{20,}") for prefix in ("hvs.", "hvb.", "hvr.")),
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{40,}"),
    ("dapi", r"[0-9a-f]{32}(?![0-9a-f])"),
    *((f"dp.{kind}.", r"[A-Za-z0-9]{40,}") for kind in ("pt", "st", "ct", "sa")),
    ("NRAK-", r"[A-Z0-9]{25,}"),
    *(
        (prefix, r"[A-Za-z0-9_=+/-]{30,}")
        for prefix in ("sntrys_", "sntryu_", "glsa_", "glc_", "rubygems_", "PMAK-")
    ),
    *(
        (prefix, r"[A-Za-z0-9_-]{24,}")
        for prefix in ("sbp_", "pscale_tkn_", "pscale_pw_", "pul-", "tfp_", "CFPAT-")
    ),
    *(
        (prefix, r"[A-Za-z0-9_.-]{24,}")
        for prefix in ("sendinblue-", "xkeysib-", "pat-na1-", "pat-eu1-", "v1.0-", "nfp_", "vercel_")
    ),
    ("hooks.slack.com/services/", r"[A-Z0-9]{6,}/[A-Z0-9]{6,}/[A-Za-z0-9]{16,}"),
    ("hooks.slack.com/workflows/", r"[\w/]{30,}"),
    ("discord.com/api/webhooks/", r"\d{10,}/[\w-]{30,}"),
    ("discordapp.com/api/webhooks/", r"\d{10,}/[\w-]{30,}"),
    ("webhook.office.com/", r"[\w@/-]{40,}"),
    ("AccountKey=", r"[A-Za-z0-9+/]{40,}={0,2}"),
    ("SharedAccessKey=", r"[A-Za-z0-9+/]{30,}={0,2}"),
    ("sig=", r"[A-Za-z0-9%+/]{40,}"),
    ("ABSK", r"[A-Za-z0-9+/]{60,}"),
    ("ops_ey", r"[A-Za-z0-9_-]{60,}"),
)


def entropy(value: str) -> float:
    """Shannon's bits per character."""
    total = len(value)
    return -sum(count / total * math.log2(count / total) for count in Counter(value).values())


_IN_WORDS: Final = re.compile(r"[A-Z]?[a-z]*|[A-Z]+")


def _is_words(body: str) -> bool:
    """Whether ``body`` is words with hyphens or underscores between, as names of packages are."""
    words = re.split("[-_]", body)
    return body.islower() or (len(words) > 1 and all(map(_IN_WORDS.fullmatch, words)))


def _vendor(prefix: str, rest: str) -> Validator:
    compiled = re.compile(re.escape(prefix) + "(" + rest + ")")

    def validate(text: str, start: int, end: int) -> Iterator[Hit]:
        match = compiled.match(text, start)
        if match is None or (
            start and (text[start - 1].isalnum() or text[start - 1] in "_-") and prefix[-1] != "="
        ):
            return
        body = match[1]
        if is_mostly_placeholder(body) or entropy(body) < 2.6:
            return
        if not any(map(str.isdigit, body)) and _is_words(body):
            return  # sk-learn-contrib-something
        yield Hit(start, match.end(), "api_key", True)

    return validate


_OLLAMA: Final = re.compile(r"\.[A-Za-z0-9_-]{24}(?![A-Za-z0-9_-])")


def ollama_key(text: str, start: int, end: int) -> Iterator[Hit]:
    """Ollama Cloud's keys: 32 hexadecimal digits, a dot, 24 random characters."""
    match = _OLLAMA.match(text, end - 1)
    if match is None or text[start - 1 : start].isalnum() or is_mostly_placeholder(match[0]):
        return
    if entropy(match[0]) >= 3 and any(map(str.isupper, match[0])):
        yield Hit(start, match.end(), "api_key", True)


_JWK: Final = re.compile(r"\\?\"\s?:\s?\\?\"([A-Za-z0-9_-]{40,})\\?\"")


def jwk(text: str, start: int, end: int) -> Iterator[Hit]:
    """The private part of a JSON web key (RFC 7518): ``d`` in an object that has a ``kty``."""
    match = _JWK.match(text, end)
    if match is not None and "kty" in text[max(0, start - 2048) : match.end() + 2048]:
        yield Hit(start, match.end(), "private_key", True)


_COOKIE: Final = re.compile(r"\s?[^\n]{0,200}?=([A-Za-z0-9+/_.~%-]{16,})")


def cookie(text: str, start: int, end: int) -> Iterator[Hit]:
    """A value in a ``Cookie`` header that is too random to be a setting."""
    match = _COOKIE.match(text, end)
    if match is None or is_mostly_placeholder(match[1].replace("%", "")):
        return
    if entropy(match[1]) >= 3 and any(map(str.isdigit, match[1])) and not _CODE_NAME.match(match[1]):
        yield Hit(match.start(1), match.end(1), "api_key", True)


_TELEGRAM: Final = re.compile(r"\d{8,10}:AA[A-Za-z0-9_-]{32,}")
_DISCORD: Final = re.compile(r"[MNO][A-Za-z\d]{23,27}\.[\w-]{6}\.[\w-]{27,}")
_TWILIO: Final = re.compile(r"(?:AC|SK)[0-9a-f]{32}(?![0-9a-zA-Z])")


def discord_token(text: str, start: int, end: int) -> Iterator[Hit]:
    match = _DISCORD.match(text, start)
    if match is not None and entropy(match[0]) >= 4 and any(map(str.isdigit, match[0])):
        yield Hit(start, match.end(), "api_key", True)


def telegram_token(text: str, start: int, end: int) -> Iterator[Hit]:
    head = re.search(r"\b\d{8,10}:AA$", before(text, end, 13))
    if head is not None and (match := _TELEGRAM.match(text, end - len(head[0]))):
        yield Hit(match.start(), match.end(), "api_key", True)


def twilio_key(text: str, start: int, end: int) -> Iterator[Hit]:
    match = _TWILIO.match(text, start)
    if match is not None and not (start and text[start - 1].isalnum()):
        yield Hit(start, match.end(), "api_key", True)


_JWT: Final = re.compile(
    r"(eyJ[A-Za-z0-9_-]{8,})\s?\.\s?(eyJ[A-Za-z0-9_-]{6,}|[A-Za-z0-9_-]{20,})(?:\s?\.\s?[A-Za-z0-9_-]+)*"
)


def jwt(text: str, start: int, end: int) -> Iterator[Hit]:
    """A JOSE header that decodes to an object with ``alg``, and a payload (RFC 7515, RFC 7519)."""
    match = _JWT.match(text[start : start + 2048].replace("\n", ""))
    if match is None:
        return
    try:
        header = urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except (binascii.Error, ValueError):
        return
    if b'"alg"' in header or b'"enc"' in header or b'"typ"' in header:
        yield Hit(start, start + match.end() + text.count("\n", start, start + match.end()), "jwt", True)


_PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----\s*((?:[A-Za-z-]+: "
    r"[^\n]*\n){0,4}\s*[A-Za-z0-9+/=\s\\-]{0,200})"
)
_PEM_END: Final = re.compile(r"-----END [A-Z ]*")


def pem(text: str, start: int, end: int) -> Iterator[Hit]:
    """A PEM private key with a body; a header followed by dots or nothing is documentation."""
    match = _PEM.match(text, start)
    if match is None:
        return
    body = re.sub(r"[^A-Za-z0-9+/=]|\\n", "", _PEM_END.split(match[1])[0])
    if len(body) >= 16 and not is_mostly_placeholder(body):
        yield Hit(start, match.end(), "private_key", True)


def putty_key(text: str, start: int, end: int) -> Iterator[Hit]:
    match = re.compile(r"-\d: \S+").match(text, end)
    if match is not None:
        yield Hit(start, match.end(), "private_key", True)


_ASSIGN: Final = (
    r"[\"'\]`*]{0,3}(?:\s{0,3}(?::=|=>|->|[:=])\s{0,3}|\s{1,3}(?:is|ist|lautet|est|es|value"
    r"|von|of|to|auf|a|\xe8|was|war)\b:?\s{0,2}|\s{1,2})[\"'`(*]{0,3}"
)
_SECRET_VALUE: Final = re.compile(
    _ASSIGN + r"(?:Bearer\s+|Basic\s+|Token\s+)?([A-Za-z0-9+/_=.~-]{16,})", re.IGNORECASE
)
_CODE_NAME: Final = re.compile(
    r"[A-Za-z_]+(?:[._-][A-Za-z_]+)*\d{0,2}$|[A-Z][A-Z0-9_]+$|(?:\w+\.)+[A-Za-z_]\w*$|[\d.]+$"
    r"|/?(?:[\w.-]+/)+[\w.-]*$"
)
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", re.I)


def cued_secret(text: str, start: int, end: int) -> Iterator[Hit]:
    """A value too random to be a name, set to something called key, secret or token."""
    match = _SECRET_VALUE.match(text, end)
    if match is None:
        return
    value = match[1].rstrip(".-")
    if is_mostly_placeholder(value) or text[match.end(1) : match.end(1) + 1] == "(":
        return
    if _UUID.match(value):
        yield Hit(match.start(1), match.end(1), "api_key", False)
        return
    if _CODE_NAME.match(value) and not _random(value):
        return
    digits = sum(map(str.isdigit, value))
    if digits < 2 and not (
        any(map(str.islower, value)) and any(map(str.isupper, value)) and entropy(value) > 4
    ):
        return
    if entropy(value) >= 3:
        yield Hit(match.start(1), match.end(1), "api_key", True)


def _random(value: str) -> bool:
    """Whether ``value`` is too random for the code name or path that its characters would allow."""
    if len(value) < 20:
        return False
    if sum(map(str.isdigit, value)) >= 3:
        return value.isalnum() or _mixed(value)
    # Words in camel case change their case once or twice a word, random letters at every other place.
    changes = sum(one.islower() != two.islower() for one, two in pairwise(value))
    return changes >= len(value) / 3 and _mixed(value)


def _mixed(value: str) -> bool:
    """Whether ``value`` has both cases and the spread of letters that no path or name has."""
    return any(map(str.islower, value)) and any(map(str.isupper, value)) and entropy(value) > 4.2


_BEARER: Final = re.compile(r"\s+([A-Za-z0-9+/_=.~-]{16,})")


def authorization(text: str, start: int, end: int) -> Iterator[Hit]:
    """The credentials of an ``Authorization`` header."""
    match = _BEARER.match(text, end)
    if match is None or is_mostly_placeholder(match[1]):
        return
    if _CODE_NAME.match(match[1]) and not _random(match[1]):
        return
    if entropy(match[1]) >= 3 and any(map(str.isdigit, match[1])):
        yield Hit(match.start(1), match.end(1), "api_key", True)


_SECRET_WORDS: Final = listed(
    """api key, api-key, api_key, apikey, api token, api_token, api-token, apitoken, access key, access_key,
    accesskey, access token, access_token, access-token, accesstoken, auth token, auth_token, authtoken,
    auth-token, secret, secret key, secret_key, secretkey, secret-key, client secret, client_secret,
    clientsecret, client-secret, token, refresh_token, refresh token, refreshtoken, bearer token, private
    key, private_key, private-key, privatekey, session_token, session token, sessionid, session_id,
    webhook_secret, signing_secret, signing key, signing_key, encryption_key, encryption key, master_key,
    master key, license key, license_key, credential, credentials, auth, subscription-key, account_key,
    accountkey, storage_key, app_secret, appsecret, consumer_secret, consumer key, csrf_token, deploy key,
    deploy_token, personal access token, pat, schlüssel, api-schlüssel, zugangsschlüssel, clé, clé api, clé
    secrète, jeton, clave de api, clave api, clave secreta, chiave, chiave api, sleutel, geheim"""
)

CREDENTIAL_RULES: Final = (
    *(Rule(f"vendor {prefix}", _vendor(prefix, rest), parts=(prefix,)) for prefix, rest in _VENDOR_KEYS),
    Rule("ollama_key", ollama_key, shapes=(r"[0-9a-f]{32}\.",)),
    Rule("jwk", jwk, parts=('"d',)),
    Rule("cookie", cookie, words=("cookie:",)),
    Rule(
        "discord_token",
        discord_token,
        shapes=tuple(
            rf"\b[MNO][a-z0-9]{{{count}}}\.[a-z0-9_-]{{6}}\.[a-z0-9_-]{{27}}" for count in (23, 25, 27)
        ),
    ),
    Rule("telegram_token", telegram_token, shapes=(r"\d:AA",)),
    Rule("twilio_key", twilio_key, shapes=(r"\bAC[0-9a-f]{32}", r"\bSK[0-9a-f]{32}")),
    Rule("jwt", jwt, parts=("eyJ",)),
    Rule("pem", pem, parts=("-----BEGIN ",)),
    Rule("putty_key", putty_key, parts=("PuTTY-User-Key-File",)),
    Rule(
        "secret",
        cued_secret,
        words=_SECRET_WORDS,
        shapes=(
            r"_key\b",
            r"_token\b",
            r"_secret\b",
            r"_apikey\b",
            r"-key\b",
            r"-token\b",
            r"-secret\b",
            r"[a-z]Token\b",
            r"[a-z]Secret\b",
            r"[a-z]ApiKey\b",
            r"[a-z]AccessKey\b",
            r"[a-z]SecretKey\b",
            r"[a-z]PrivateKey\b",
            r"\bcohere key\b",
            r"\bmistral key\b",
            r"\bopenai key\b",
            r"\banthropic key\b",
            r"\bgemini key\b",
            r"\bazure key\b",
            r"\baws key\b",
        ),
    ),
    Rule(
        "authorization",
        authorization,
        words=("bearer", "authorization: token", "x-api-key:", "authorization:"),
    ),
)
