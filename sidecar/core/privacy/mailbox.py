"""Finds e-mail addresses, plain and spelled out, and lets those of offices and documentation pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, before, words

_TOP_LEVEL: Final = frozenset(
    words(
        """com net org edu gov mil int info biz name pro io ai app dev tech cloud online site store shop xyz
        blog email live me co tv mobi jobs travel museum coop aero cat asia eu berlin hamburg koeln bayern
        wien tirol swiss saarland nrw ruhr paris bzh alsace corsica london scot wales cymru amsterdam
        brussels vlaanderen gent madrid barcelona eus gal nyc vegas miami tokyo one top club vip work world
        today life email agency company group gmbh ltd llc digital media news studio design health care
        clinic dental doctor hospital legal law finance bank tax team solutions systems services consulting
        software network international center social zone art"""
    )
)
_COUNTRY: Final = frozenset(
    words(
        """ac ad ae af ag al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by
        bz ca cc cd cf cg ch ci ck cl cm cn cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et fi fj
        fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gt gu gw gy hk hm hn hr ht hu id ie il im in iq
        ir is it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md mg
        mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf
        pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st
        su sv sx sy sz tc td tg th tj tk tl tm tn to tr tt tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf
        ws ye yt za zm zw"""
    )
)
# RFC 2606 and RFC 6761, and what other languages write in their place. Somebody's mailbox may be at any other
# host, also at one whose name sounds like an example.
_RESERVED_HOST: Final = re.compile(
    r"(?:^|\.)(?:example(?:\.[a-z]{2,3}){0,2}|test|invalid|localhost|local|internal|lan"
    r"|home|corp|your-?\w*\.\w+|domain\.tld"
    r"|beispiel\.\w+|muster\w*\.\w+"
    r"|exemple\.\w+|ejemplo\.\w+|esempio\.\w+|voorbeeld\.\w+|noreply\.\w+\.com)$"
)
# A mailbox that belongs to an office, not to a person.
_ROLE: Final = re.compile(
    r"(?:info|support|kontakt|contact|contacto|contatto|office|hello|hallo|sales|vertrieb"
    r"|service|services|admin"
    r"|administrator|webmaster|postmaster|hostmaster|abuse|security|press|presse|prensa"
    r"|media|marketing|jobs|careers"
    r"|karriere|bewerbung|hr|billing|invoice|rechnung|buchhaltung|accounting|feedback|help"
    r"|helpdesk|hilfe|team|mail"
    r"|email|no-?reply|do-?not-?reply|newsletter|news|datenschutz|privacy|dpo|dsb|legal"
    r"|git|svn|hg|root|www|ftp|bugs?"
    r"|bug-[\w-]+|[\w-]+-(?:list|dev|devel|users|announce|help|discuss|owner|bugs|request"
    r"|maintainers?|team)|dev|list"
    r"|enquiries|inquiries|anfrage|bestellung|orders?|shop|kundenservice|kundendienst|service-?client"
    r"|atencion"
    r"|customer-?(?:service|care)|reception|empfang|poststelle|rathaus|mairie|ayuntamiento"
    r"|secretariat|sekretariat)"
    r"(?:[.+-][\w.]*)?$",
    re.IGNORECASE,
)
_PLACEHOLDER_LOCAL: Final = re.compile(
    r"(?:your|my|the)?[-_.]?(?:user|username|name|e?mail|address|someone|somebody|you|me"
    r"|foo|bar|baz|test|tester|local)"
    r"(?:[-_.]?(?:name|part|\d))?$",
    re.IGNORECASE,
)
_PLACEHOLDER_HOST: Final = re.compile(
    r"(?:my-?\w+|host|hostname|server|foo|bar|baz|site|acme|somewhere|someplace|provider|mail|email"
    r"|test\w*|\w*domain\w*"
    r"|\w*company\w*|organization|org)\.\w+$"
)
_LOCAL: Final = re.compile(r"[A-Za-z0-9\xc0-\xff_.%+'-]{1,64}$")
_DOMAIN: Final = re.compile(
    r"((?:[A-Za-z0-9\xc0-\xff](?:[A-Za-z0-9\xc0-\xff-]{0,62}\.))+)([A-Za-z]{2,24})(?![A-Za-z0-9-])"
)
_MAILBOX_WORD: Final = re.compile(
    r"(?:e-?mail|contact|kontakt|mail|correo|courriel|schreib|reach|write)\W[^\n]{0,40}$", re.I
)


def _known_tld(tld: str) -> bool:
    return tld in _COUNTRY or tld in _TOP_LEVEL


def _is_nobody(local: str, host: str) -> bool:
    return (
        _RESERVED_HOST.search(host) is not None
        or _ROLE.match(local) is not None
        or (_PLACEHOLDER_LOCAL.match(local) is not None and _PLACEHOLDER_HOST.search(host) is not None)
    )


def email(text: str, start: int, end: int) -> Iterator[Hit]:
    """An ``@`` with a mailbox before it and a host under a known top level behind it."""
    gap = 0
    while gap < 2 and text[end + gap : end + gap + 1] in (" ", "\n"):
        gap += 1
    domain = _DOMAIN.match(text, end + gap)
    if domain is None or not _known_tld(domain[2].lower()):
        domain = _DOMAIN.match(text[end : end + 90].replace("\n", "", 1))
    if domain is None:
        return
    head = before(text, start, 66)
    stripped = head.rstrip(" ")
    local = _LOCAL.search(stripped)
    if local is None or len(head) - len(stripped) > 2 or not local[0].strip(".'"):
        return
    host, tld = domain[0].lower(), domain[2].lower()
    if not _known_tld(tld) or _is_nobody(local[0].strip(".'"), host):
        return
    spaced = gap or stripped != head
    if spaced and local[0].islower() and local[0].isalpha() and tld not in _COMMON_TLD:
        return
    name_start = start - len(head) + local.start()
    if text[max(0, name_start - 3) : name_start] == "://" or (before(text, name_start, 2) == "//"):
        return
    if (
        text[domain.end() : domain.end() + 1] == ":"
        and text[domain.end() + 1 : domain.end() + 2].isalpha()
        and not spaced
    ):
        return  # scp and git: user@host:path
    if re.match(r"[:/]\d*/", text[domain.end() : domain.end() + 7]):
        return  # a URL with user information; passwords in it have their own rule
    yield Hit(name_start, domain.end(), "email", True)


_COMMON_TLD: Final = frozenset(words("com net org de at ch fr es it nl uk us io me eu info be dk se pl ca"))
_FREE_MAIL: Final = re.compile(
    r"(?:g(?:oogle)?mail|gmx|web|t-online|freenet|yahoo|ymail|outlook|hotmail|live|msn|icloud"
    r"|me|mac|aol|proton(?:mail)?|pm"
    r"|posteo|mailbox|orange|wanadoo|free|laposte|sfr|bluewin|libero|virgilio|tiscali|telefonica"
    r"|ziggo|kpnmail|xs4all"
    r"|zoho|fastmail|tutanota|mail|yandex|qq|163|btinternet|sky|comcast|verizon|att|arcor|aon|chello|a1)$",
    re.I,
)
#: What a spelled domain begins with: told in a glance, as most that stands behind " at " is none.
_DOTTED: Final = re.compile(
    r" {0,2}[a-z0-9\xc0-\xff][a-z0-9\xc0-\xff-]{0,40} {0,2}"
    r"[\[({<_-]?(?:\.| {0,2}(?:dot|pun[kt]t?o?|poi?nto?))",
    re.I,
)
_SPELLED_DOMAIN: Final = re.compile(
    r" {0,2}([a-z0-9\xc0-\xff][a-z0-9\xc0-\xff-]{0,40}(?: {0,2}(?:\.|[\[({<_-]? {0,2}(?:dot"
    r"|punkt|punto|point|ponto|punt)"
    r" {0,2}[\])}>_-]?) {0,2}[a-z0-9-]{2,40}){0,2}?)"
    r"( {0,2}(?:\.|[\[({<_-]? {0,2}\b(?:dot|punkt|punto|point|ponto|punt)\b {0,2}[\])}>_-]?) {0,2})"
    r"([a-z]{2,12})\b",
    re.I,
)
_SPELLED_LOCAL: Final = re.compile(
    r"([a-z0-9\xc0-\xff][a-z0-9\xc0-\xff_.+-]*(?: {0,2}[\[({<]? ?(?:dot|punkt|punto|point"
    r"|ponto|punt|underscore|unterstrich"
    r"|minus|dash|bindestrich|guion|tiret)\b ?[\])}>]? {0,2}[a-z0-9\xc0-\xff_+-]+){0,3})"
    r" {0,2}[\[({<_-]? {0,2}$",
    re.I,
)


def spelled_email(text: str, start: int, end: int) -> Iterator[Hit]:
    """``name (at) domain dot com`` in the spellings that people use against harvesters."""
    domain = _SPELLED_DOMAIN.match(text, end) if _DOTTED.match(text, end) else None
    if domain is None:
        return
    local = _SPELLED_LOCAL.search(before(text, start + 1, 66))
    if local is None:
        return
    tld = domain[3].lower()
    host = re.sub(r"[\s\[({<_>})\]]+|\b(?:dot|punkt|punto|point|ponto|punt)\b", ".", domain[1].lower())
    host = re.sub(r"\.+", ".", host).strip(".") + "." + tld
    if not _known_tld(tld) or _is_nobody(local[1], host):
        return
    bracketed = (
        text[start] in "[({<_"
        or text[end - 1] in "])}>_"
        or before(text, start + 1, 3).rstrip()[-1:] in "[({<"
    )
    spelled = "." not in domain[2]
    telling = bool(re.search(r"[._+\d-]|dot|punkt|punto|underscore", local[1]))
    free = _FREE_MAIL.search(host.rsplit(".", 1)[0]) is not None
    asked = _MAILBOX_WORD.search(before(text, start, 60)) is not None
    if not (bracketed or spelled or telling or (free and asked)):
        return
    hit_start = start + 1 - len(local[0])
    yield Hit(
        max(0, hit_start),
        domain.end(),
        "email",
        bracketed or (telling and (spelled or free or asked)) or free,
    )


MAILBOX_RULES: Final = (
    Rule("email", email, shapes=("@",)),
    Rule(
        "spelled_email",
        spelled_email,
        shapes=(
            r"[ (\[{<_-]at[ )\]}>_-]",
            "[ (\\[{<_-][\xe4\xc4]t[ )\\]}>_-]",
            r"[ (\[{<_-]arroba[ )\]}>_-]",
            r"[ (\[{<_-]arobase[ )\]}>_-]",
            r"[ (\[{<_-]chiocciola[ )\]}>_-]",
            r"[ (\[{<_-]klammeraffe[ )\]}>_-]",
        ),
    ),
)
