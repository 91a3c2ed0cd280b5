"""Reads what a browser sends along, and answers it with the headers that keep other sites out."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from litestar import Request, Response
from litestar.datastructures import Cookie, State
from litestar.exceptions import PermissionDeniedException

Browser = Request[Any, Any, State]
Answer = Response[bytes]

THEME_COOKIE: Final = "aegis-theme"
ZONE_COOKIE: Final = "aegis-zone"
THEMES: Final = ("light", "dark")

#: On every answer: no inline script or style, nothing from another host, no frames.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: browsers would send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
NEVER_KEPT: Final = {"Cache-Control": "no-store"}
KEPT_FOR_GOOD: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

FORM_BYTES_MAX: Final = 1_000_000

_COMPRESS_FROM_BYTES: Final = 1_000
_COMPRESS_LEVEL: Final = 4
_HTML: Final = "text/html; charset=utf-8"


def answer(
    request: Browser,
    body: bytes,
    content_type: str = _HTML,
    *,
    status: int = 200,
    headers: Mapping[str, str] = NEVER_KEPT,
    cookies: Sequence[Cookie] = (),
    compressed: bytes | None = None,
) -> Answer:
    """A whole answer, compressed where the browser takes that; ``compressed`` is the body so, if known."""
    sent = {**SECURITY_HEADERS, **headers}
    if len(body) >= _COMPRESS_FROM_BYTES:
        sent["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            body = compressed if compressed is not None else gzip.compress(body, _COMPRESS_LEVEL)
            sent["Content-Encoding"] = "gzip"
    return Response(body, status_code=status, headers=sent, cookies=cookies, media_type=content_type)


def to_bytes(html: str) -> bytes:
    """A page as it is sent. A lone surrogate in a foreign text must not cost the page."""
    return html.encode("utf-8", "replace")


def go(url: str, cookies: Sequence[Cookie] = ()) -> Answer:
    """Send the browser to ``url`` with a GET."""
    headers = {**SECURITY_HEADERS, **NEVER_KEPT, "Location": url}
    return Response(b"", status_code=303, headers=headers, cookies=cookies, media_type="text/plain")


def zone_of(request: Browser, otherwise: str) -> ZoneInfo:
    """The reader's time zone as the browser has it, else the one that the configuration names."""
    try:
        return ZoneInfo(request.cookies.get(ZONE_COOKIE) or otherwise)
    except (KeyError, ValueError, OSError):
        return ZoneInfo(otherwise)


def theme_of(request: Browser) -> str:
    """The theme that the reader chose; empty: as the system is."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else ""


def address_of(request: Browser) -> str:
    """Where a login comes from."""
    return request.client.host if request.client is not None else ""


def safe_path(url: str, root: str) -> str:
    """``url`` if it is a path of ours, else ``root``: a login must not lead to another site."""
    parts = urlsplit(url)
    inside = parts.path == root or parts.path.startswith(f"{root}/")
    plain = url.isascii() and url.isprintable() and "\\" not in url and len(url) <= 2_000
    return url if inside and plain and not parts.scheme and not parts.netloc else root


def session_cookie_name(request: Browser) -> str:
    """The session's cookie. Cookies are kept apart by host, not by port, and there may be two sidecars."""
    try:
        port = urlsplit(f"//{request.headers.get('host', '')}").port
    except ValueError:
        port = None
    return f"aegis-session-{port}" if port else "aegis-session"


def came_from_elsewhere(request: Browser) -> bool:
    """Whether a link on another site has led here. Browsers then keep ``SameSite=Strict`` cookies back."""
    return request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site"


def refuse_unseen(request: Browser) -> None:
    """Raise ``PermissionDeniedException`` for what a browser asks for without showing it to its user.

    An image or frame on another site must not use up login links or count as failed logins; nor must a
    browser that looks ahead.
    """
    shown = request.headers.get("sec-fetch-dest", "document") == "document"
    ahead = "prefetch" in request.headers.get("sec-purpose", "")
    if not shown or ahead:
        raise PermissionDeniedException("Open this link in a window of its own.")


def refuse_other_sites(request: Browser) -> None:
    """Raise ``PermissionDeniedException`` for a form that a page of another site has sent."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    same_origin = origin is None or urlsplit(origin).netloc == request.headers.get("host", "")
    if not same_origin or site not in (None, "same-origin", "none"):
        raise PermissionDeniedException("This form was sent by a page of another site.")
