"""Finds public IP addresses, and lets versions, resolvers and documentation ranges pass."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from sidecar.core.privacy.findings import Hit
from sidecar.core.privacy.rules import Rule, before

_RESOLVERS: Final = frozenset(
    [
        "8.8.8.8",
        "8.8.4.4",
        "1.1.1.1",
        "1.0.0.1",
        "9.9.9.9",
        "149.112.112.112",
        "208.67.222.222",
        "208.67.220.220",
        "4.2.2.1",
        "4.2.2.2",
    ]
)
_VERSION_WORD: Final = re.compile(
    r"(?:version|build|release|assembly|rev|oid|identifier|section|rfc|chapter|kapitel)\W{0,4}[\w.]{0,8}\W{0,2}$"
    r"|[A-Za-z)][/_v-]v?$|\bv$",
    re.I,
)
_OBJECT_IDENTIFIER: Final = re.compile(r"1\.(?:2\.840|3\.(?:6|14|101|132))\.|2\.(?:5|16)\.")
_IPV4: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d$")
_IPV4_REST: Final = re.compile(r"\d{0,2}(?![\w]|\.\d)")
_IPV6: Final = re.compile(r"[0-9a-fA-F]{4}(?::{1,2}[0-9a-fA-F]{1,4}){2,7}(?![\w:])")


def ipv4(text: str, start: int, end: int) -> Iterator[Hit]:
    """A public address that is not a version, a resolver or from a documentation range (RFC 5737)."""
    head = _IPV4.search(before(text, end, 14))
    rest = _IPV4_REST.match(text, end)
    if head is None or rest is None:
        return
    value = head[0] + rest[0]
    first = end - len(head[0])
    if any((len(part) > 1 and part[0] == "0") or int(part) > 255 for part in value.split(".")):
        return
    address = ipaddress.IPv4Address(value)
    if not address.is_global or address.is_multicast or value in _RESOLVERS or value.endswith(".0"):
        return
    if _VERSION_WORD.search(before(text, first, 24)):
        return
    if max(map(int, value.split("."))) < 20 or _OBJECT_IDENTIFIER.match(value):
        return
    yield Hit(first, rest.end(), "ip_address", True)


def ipv6(text: str, start: int, end: int) -> Iterator[Hit]:
    """A global unicast address outside the documentation ranges (RFC 3849, RFC 9637)."""
    match = _IPV6.match(text, start)
    if match is None:
        return
    try:
        address = ipaddress.IPv6Address(match[0])
    except ValueError:
        return
    if address.is_global and not match[0].lower().startswith(
        ("2001:db8", "2001:4860:4860", "2606:4700:4700", "2620:fe::")
    ):
        yield Hit(start, match.end(), "ip_address", True)


INTERNET_RULES: Final = (
    Rule(
        "ipv4",
        ipv4,
        shapes=(
            r"\d\.\d{1}\.\d{1}\.\d",
            r"\d\.\d{1}\.\d{2}\.\d",
            r"\d\.\d{1}\.\d{3}\.\d",
            r"\d\.\d{2}\.\d{1}\.\d",
            r"\d\.\d{2}\.\d{2}\.\d",
            r"\d\.\d{2}\.\d{3}\.\d",
            r"\d\.\d{3}\.\d{1}\.\d",
            r"\d\.\d{3}\.\d{2}\.\d",
            r"\d\.\d{3}\.\d{3}\.\d",
        ),
    ),
    Rule("ipv6", ipv6, shapes=(r"\b[23][0-9a-f]{3}:",)),
)
