"""Serves the pages: their routes, logins, changes, event streams, and the files for the browser."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Router, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotFoundException,
    PermissionDeniedException,
    ServiceUnavailableException,
)
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from dashboard.action import Action, Refused
from dashboard.assets import Assets
from dashboard.auth import Logins, Session, csrf_fits
from dashboard.browser import (
    FORM_BYTES_MAX,
    KEPT_FOR_GOOD,
    NEVER_KEPT,
    SECURITY_HEADERS,
    THEME_COOKIE,
    THEMES,
    Answer,
    Browser,
    answer,
    came_from_elsewhere,
    go,
    refuse_other_sites,
    safe_path,
    session_cookie_name,
    theme_of,
    to_bytes,
    zone_of,
)
from dashboard.export import DOWNLOADS, Download
from dashboard.health import assess
from dashboard.live import Live, TooManyStreams
from dashboard.login import LoggingIn, LoginContext, session_cookie
from dashboard.page import Ask, Missing, Page, Renderer, Shell
from dashboard.pages import ACTIONS, PAGES
from sidecar.services import Services
from sidecar.storage.database import StorageError
from sidecar.storage.ledger_file import LedgerUnavailable

log = logging.getLogger(__name__)

ROOT: Final = "/dashboard"
_YEAR_S: Final = 365 * 86_400


class ErrorContext(msgspec.Struct, frozen=True):
    """An error page: what happened, in words."""

    status: int
    title: str
    words: str


class LandingContext(msgspec.Struct, frozen=True):
    """The page that leads on to ``url``, a path of ours."""

    url: str


class _NotLoggedIn(Exception):
    """There is no session; a page leads to the login."""


class Dashboard:
    """Everything under ``/dashboard``. Register ``router()``; print ``login_path()`` at the start."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._assets = Assets(f"{ROOT}/static")
        self._renderer = Renderer(self._assets)
        self._logins = Logins(
            services.admin_token, services.viewer_token, clock_ns=time.time_ns, entropy=secrets.token_bytes
        )
        self._logging_in = LoggingIn(ROOT, self._logins, self._show_login, self._land)
        self._live = Live(services, self._renderer, time.time_ns)
        self._pages = {page.name: page for page in PAGES}
        self._nav = tuple(
            (page.name, f"{ROOT}{page.path}".rstrip("/"), page.title) for page in PAGES if not page.under
        )

    def __deepcopy__(self, _: object) -> Dashboard:
        """Litestar copies a router that it registers, and with it everything that a bound method holds."""
        return self

    def login_path(self) -> str:
        """The path that logs an operator in, with its one-time token; good once, within an hour."""
        return f"{ROOT}/login?{urlencode({'token': self._logins.mint_link_token()})}"

    def router(self) -> Router:
        """The handlers, for the app to register."""
        pages = [self._page(page) for page in PAGES]
        forms = [self._form_page(page) for page in PAGES if page.takes_form]
        actions = [self._action(action) for action in ACTIONS]
        downloads = [self._download(download) for download in DOWNLOADS]
        return Router(
            ROOT,
            route_handlers=[
                self._static(),
                *self._logging_in.handlers(),
                self._log_out(),
                self._theme(),
                self._stream(),
                *pages,
                *forms,
                *actions,
                *downloads,
                self._nowhere(),
            ],
            before_request=self._check_host,
            exception_handlers={
                _NotLoggedIn: self._to_login,
                HTTPException: self._http_error,
                StorageError: self._storage_error,
                LedgerUnavailable: self._storage_error,
                Exception: self._unexpected_error,
            },
            include_in_schema=False,
        )

    # Pages

    def _page(self, page: Page) -> HTTPRouteHandler:
        @get(page.path, name=f"dashboard-{page.name}")
        async def show(request: Browser) -> Answer:
            session = self._session(request)
            return await self._show(request, page, session, done=session.take_done())

        return show

    def _form_page(self, page: Page) -> HTTPRouteHandler:
        @post(page.path, status_code=200, request_max_body_size=FORM_BYTES_MAX)
        async def show(request: Browser) -> Answer:
            session, form = await self._form(request)
            return await self._show(request, page, session, query=form)

        return show

    async def _show(
        self,
        request: Browser,
        page: Page,
        session: Session,
        *,
        query: Mapping[str, str] | None = None,
        done: str = "",
        refused: str = "",
        status: int = 200,
    ) -> Answer:
        ask = self._ask(
            request, {**(request.query_params if query is None else query), **request.path_params}
        )
        try:
            context = await page.load(self._services, ask)
        except Missing as missing:
            raise NotFoundException(str(missing)) from None
        live_url = ""
        if page.live and query is None and page.live_unless not in request.query_params:
            live_url = f"{ROOT}/live/{page.name}?{urlencode(dict(request.query_params))}"
        shell = Shell(
            title=page.title,
            here=page.under or page.name,
            theme=theme_of(request),
            health=await assess(self._services, ask.now_ns),
            nav=self._nav,
            role=session.role,
            name=session.name,
            csrf=session.csrf,
            done=done,
            refused=refused,
            live_url=live_url,
            zone=ask.zone.key,
        )
        html = self._renderer.page(page.template, shell, context, ask)
        return answer(request, to_bytes(html), status=status)

    def _ask(self, request: Browser, query: Mapping[str, str] | None = None) -> Ask:
        zone = zone_of(request, self._services.in_force.settings.budgets.timezone)
        given = dict(request.query_params) if query is None else query
        base_url = f"{request.url.scheme}://{request.headers.get('host', '')}"
        return Ask(given, zone, time.time_ns(), base_url)

    # Changes

    def _action(self, action: Action) -> HTTPRouteHandler:
        page = self._pages[action.page]

        @post(action.path, request_max_body_size=FORM_BYTES_MAX)
        async def act(request: Browser) -> Answer:
            session, form = await self._form(request)
            if session.role != "operator":
                raise PermissionDeniedException("Viewers can see everything and change nothing.")
            try:
                session.done = await action.run(self._services, form, session.actor)
            except Refused as refused:
                return await self._show(
                    request, page, session, query={}, refused=str(refused), status=refused.status
                )
            return go(f"{ROOT}{page.path}")

        return act

    async def _form(self, request: Browser) -> tuple[Session, dict[str, str]]:
        """The session and the fields of a form that our own page has sent."""
        refuse_other_sites(request)
        session = self._session(request)
        data = await request.form()
        form = {key: value for key, value in data.items() if isinstance(value, str)}
        given = form.pop("csrf", "") or request.headers.get("x-csrf-token", "")
        if not csrf_fits(session, given):
            raise PermissionDeniedException("This form is not from your session; load the page again.")
        return session, form

    # Logins

    def _log_out(self) -> HTTPRouteHandler:
        @post("/logout")
        async def log_out(request: Browser) -> Answer:
            await self._form(request)
            self._logins.end(request.cookies.get(session_cookie_name(request)))
            return go(f"{ROOT}/login", [session_cookie(request, "")])

        return log_out

    def _show_login(self, request: Browser, then: str, wrong: str, retry_after_s: int) -> Answer:
        context = LoginContext(self._services.token_file, then, wrong)
        shell = Shell(title="Log in", here="", theme=theme_of(request))
        html = self._renderer.page("login.html", shell, context, self._ask(request))
        status = 429 if retry_after_s else 403 if wrong else 200
        headers = {**NEVER_KEPT, **({"Retry-After": str(retry_after_s)} if retry_after_s else {})}
        return answer(request, to_bytes(html), status=status, headers=headers)

    def _land(self, request: Browser, url: str, cookies: Sequence[Cookie] = ()) -> Answer:
        """A page that leads on to ``url``: asked for by a page of ours, a browser sends our cookies again."""
        shell = Shell(title="One moment", here="", theme=theme_of(request))
        html = self._renderer.page("landing.html", shell, LandingContext(url), self._ask(request))
        return answer(request, to_bytes(html), cookies=cookies)

    def _find(self, request: Browser) -> Session | None:
        return self._logins.find(request.cookies.get(session_cookie_name(request)))

    def _session(self, request: Browser) -> Session:
        session = self._find(request)
        if session is None:
            raise _NotLoggedIn
        return session

    # The rest

    def _stream(self) -> HTTPRouteHandler:
        @get("/live/{name:str}")
        async def stream(request: Browser) -> Stream:
            self._session(request)
            page = self._pages.get(request.path_params["name"])
            if page is None or not page.live:
                raise NotFoundException
            query = dict(request.query_params)
            last_id = request.headers.get("last-event-id", "")
            try:
                events = self._live.open(
                    page, self._ask(request, query), last_id, lambda: self._looked_at(request)
                )
            except TooManyStreams as full:
                raise ServiceUnavailableException(str(full), headers={"Retry-After": "10"}) from None
            headers = {**SECURITY_HEADERS, **NEVER_KEPT}
            return Stream(events, headers=headers, media_type="text/event-stream")

        return stream

    def _looked_at(self, request: Browser) -> bool:
        return self._find(request) is not None and not self._services.draining

    def _download(self, download: Download) -> HTTPRouteHandler:
        @get(download.path)
        async def send(request: Browser) -> Stream:
            self._session(request)
            try:
                rows = await download.open(self._services, self._ask(request))
            except ValueError as error:
                raise ClientException(str(error)) from None
            headers = {
                **SECURITY_HEADERS,
                **NEVER_KEPT,
                "Content-Disposition": f'attachment; filename="{download.path.rpartition("/")[2]}"',
            }
            return Stream(rows, headers=headers, media_type=download.content_type)

        return send

    def _theme(self) -> HTTPRouteHandler:
        @post("/theme")
        async def choose_theme(request: Browser) -> Answer:
            refuse_other_sites(request)
            form = await request.form()
            theme = str(form.get("theme", ""))
            cookie = Cookie(
                THEME_COOKIE,
                path=ROOT,
                value=theme if theme in THEMES else "",
                max_age=_YEAR_S if theme in THEMES else 0,
                httponly=True,
                samesite="strict",
            )
            return go(safe_path(str(form.get("back", ROOT)), ROOT), [cookie])

        return choose_theme

    def _static(self) -> HTTPRouteHandler:
        @get("/static/{rest:path}")
        async def static(request: Browser) -> Answer:
            asset = self._assets.at(request.url.path)
            if asset is None:
                raise NotFoundException
            return answer(
                request,
                asset.body,
                asset.content_type,
                headers=KEPT_FOR_GOOD,
                compressed=asset.compressed,
            )

        return static

    def _nowhere(self) -> HTTPRouteHandler:
        @get("/{rest:path}")
        async def nowhere(request: Browser) -> Answer:
            raise NotFoundException

        return nowhere

    # What goes wrong

    async def _check_host(self, request: Browser) -> Answer | None:
        """Refuse a foreign ``Host``: a name of another site that was made to lead here."""
        if self._services.host_is_ours(request.headers.get("host", "")):
            return None
        words = b"This host name is not allowed; name it in listen.allowed_hosts.\n"
        return answer(request, words, "text/plain; charset=utf-8", status=403)

    def _to_login(self, request: Browser, _: _NotLoggedIn) -> Answer:
        if request.method != "GET" or request.url.path.startswith(f"{ROOT}/live/"):
            return self._error(request, 401, "Logged out", "Your session has ended. Log in again.")
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if came_from_elsewhere(request):
            return self._land(request, safe_path(wanted, ROOT))
        then = "" if wanted == ROOT else "?" + urlencode({"then": wanted})
        return go(f"{ROOT}/login{then}")

    def _http_error(self, request: Browser, error: HTTPException) -> Answer:
        title, words = _TITLES.get(error.status_code, ("Refused", ""))
        own = error.detail if error.detail not in ("", _phrase(error)) else ""
        return self._error(request, error.status_code, title, own or words, error.headers or {})

    def _storage_error(self, request: Browser, error: Exception) -> Answer:
        log.error("%s %s: %s", request.method, request.url.path, error)
        return self._error(
            request,
            503,
            "The database does not answer",
            f"{error}. Calls go on being served; the page comes back with the database.",
        )

    def _unexpected_error(self, request: Browser, error: Exception) -> Answer:
        log.error("%s %s failed inside", request.method, request.url.path, exc_info=error)
        return self._error(request, 500, "A fault of ours", "The page could not be made; the log says why.")

    def _error(
        self, request: Browser, status: int, title: str, words: str, headers: Mapping[str, Any] | None = None
    ) -> Answer:
        shell = Shell(title=title, here="", theme=theme_of(request))
        context = ErrorContext(status, title, words)
        html = self._renderer.page("error.html", shell, context, self._ask(request))
        return answer(request, to_bytes(html), status=status, headers={**NEVER_KEPT, **(headers or {})})


_TITLES: Final = {
    400: ("That cannot be read", "The address or the form is not one of ours."),
    403: ("Not allowed", "You may not do that."),
    404: ("Nothing here", "There is no such page."),
    405: ("Not that way", "This address takes no such request."),
    413: ("Too much", "The form is too large."),
    503: ("Not now", "Try again in a moment."),
}


def _phrase(error: HTTPException) -> str:
    """The words that Litestar has for a status when it was given none."""
    return type(error)(status_code=error.status_code).detail
