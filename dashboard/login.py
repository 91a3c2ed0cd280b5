"""Lets people in: by the link that the sidecar prints, or by a token."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar import get, post
from litestar.datastructures import Cookie
from litestar.handlers import HTTPRouteHandler

from dashboard.auth import SESSION_S, Logins, TooManyAttempts
from dashboard.browser import (
    FORM_BYTES_MAX,
    Answer,
    Browser,
    address_of,
    came_from_elsewhere,
    go,
    refuse_other_sites,
    refuse_unseen,
    safe_path,
    session_cookie_name,
)

#: Shows the login page: where to go afterwards, what was wrong, how long to wait before trying again.
ShowLogin = Callable[[Browser, str, str, int], Answer]


#: Leads on to a path by a page of ours, with cookies to set.
Land = Callable[[Browser, str, list[Cookie]], Answer]


class LoginContext(msgspec.Struct, frozen=True):
    """The login page: where the admin token lies, the page to go to, and what was wrong, if anything."""

    token_file: str
    then: str
    wrong: str


class LoggingIn:
    """The login page's two handlers; everything else asks for a session."""

    def __init__(self, root: str, logins: Logins, show: ShowLogin, land: Land) -> None:
        self._root = root
        self._logins = logins
        self._show = show
        self._land = land

    def handlers(self) -> list[HTTPRouteHandler]:
        """For the router."""
        return [self._by_link(), self._by_token()]

    def _by_link(self) -> HTTPRouteHandler:
        @get("/login")
        async def login_form(request: Browser) -> Answer:
            then = safe_path(request.query_params.get("then", self._root), self._root)
            token = request.query_params.get("token", "")
            if not token:
                session = self._logins.find(request.cookies.get(session_cookie_name(request)))
                return go(then) if session is not None else self._show(request, then, "", 0)
            refuse_unseen(request)
            try:
                cookie = self._logins.follow_link(token, address_of(request))
            except TooManyAttempts as brake:
                return self._show(request, then, str(brake), brake.retry_after_s)
            if cookie is None:
                return self._show(request, then, "This link has been used or is too old.", 0)
            return self._begin(request, then, cookie)

        return login_form

    def _by_token(self) -> HTTPRouteHandler:
        @post("/login", request_max_body_size=FORM_BYTES_MAX)
        async def log_in(request: Browser) -> Answer:
            refuse_other_sites(request)
            form = await request.form()
            then = safe_path(str(form.get("then", self._root)), self._root)
            try:
                cookie = self._logins.log_in(
                    str(form.get("token", "")), str(form.get("name", "")), address_of(request)
                )
            except TooManyAttempts as brake:
                return self._show(request, then, str(brake), brake.retry_after_s)
            if cookie is None:
                return self._show(request, then, "That is not the token.", 0)
            return self._begin(request, then, cookie)

        return log_in

    def _begin(self, request: Browser, then: str, cookie: str) -> Answer:
        """Go on with the new session; one that the browser had before ends."""
        self._logins.end(request.cookies.get(session_cookie_name(request)))
        cookies = [session_cookie(request, cookie)]
        return self._land(request, then, cookies) if came_from_elsewhere(request) else go(then, cookies)


def session_cookie(request: Browser, value: str) -> Cookie:
    """The session's cookie, or its removal when ``value`` is empty."""
    return Cookie(
        session_cookie_name(request),
        path="/dashboard",
        value=value,
        max_age=SESSION_S if value else 0,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
