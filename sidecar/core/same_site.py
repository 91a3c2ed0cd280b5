"""Keeps other web sites out: a page in a browser must not spend the operator's money or steer the sidecar."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from sidecar.core.errors import CrossSiteRequest


def host_is_ours(host: str, allowed_hosts: Collection[str]) -> bool:
    """Whether a ``Host`` header names this machine's loopback or a name that the operator allows.

    Guards against DNS rebinding: a foreign name that resolves to 127.0.0.1 is still a foreign name.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name in allowed_hosts:
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_cross_site(headers: Mapping[str, str], allowed_hosts: Collection[str]) -> None:
    """Raise ``CrossSiteRequest`` when a browser sends this on another site's behalf.

    Programs send neither ``Origin`` nor ``Sec-Fetch-Site``; browsers send one or both and pages cannot
    forge them (https://www.w3.org/TR/fetch-metadata/).
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and site is None:
        return
    host = headers.get("host", "")
    same_origin = origin is None or origin.partition("://")[2] == host
    if site in (None, "same-origin", "none") and same_origin and host_is_ours(host, allowed_hosts):
        return
    raise CrossSiteRequest(
        "this request comes from a web page of another site; call the sidecar from a program, "
        "or name the page's host in listen.allowed_hosts"
    )
