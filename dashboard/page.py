"""What a page is: a loader, a frozen context, a template; and how the three become HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

import jinja2
import msgspec
from markupsafe import Markup

from dashboard.assets import Assets, folder
from dashboard.wording import (
    ago,
    count,
    cut,
    full_moment,
    iso,
    moment,
    ms,
    number,
    percent,
    tier_title,
    usd,
    usd_exact,
    utc,
)
from sidecar.services import Services
from sidecar.storage.decision_summary import DecisionSummary

#: How many rows of decisions are kept as HTML, 1 kB each: twenty pages of them.
_ROWS_KEPT: Final = 1_000


class Ask(msgspec.Struct, frozen=True):
    """What a loader may know of the request: the URL's query and path, the reader's zone, the time now.

    ``base_url`` is the address that the browser has reached the sidecar by.

    Nothing of the reader's session is in it, so that what is loaded can be shown to every reader alike.
    """

    query: Mapping[str, str]
    zone: ZoneInfo
    now_ns: int
    base_url: str

    def get(self, key: str, default: str = "") -> str:
        """One value of the query, without blanks around it."""
        return self.query.get(key, default).strip()


Loader = Callable[[Services, Ask], Awaitable[msgspec.Struct]]


class Page(msgspec.Struct, frozen=True):
    """One page.

    ``path`` is below ``/dashboard``; ``template`` is ``pages/<name>.html``, which sees the context that
    ``load`` returns, an instance of ``context``, as ``page``. ``live`` names the fragments that are sent
    anew when something has changed, at most every ``live_every_s`` seconds, unless ``live_unless`` is in
    the query; ``live_first`` pages have a share of the time for that of their own. ``under`` is the page
    whose entry in the navigation is lit, for pages that have none.
    ``takes_form`` lets the page be asked for by a form too, whose fields then are the query: for what
    should not stand in an address.
    """

    name: str
    path: str
    title: str
    context: type[msgspec.Struct]
    load: Loader
    live: tuple[str, ...] = ()
    live_every_s: float = 0.5
    live_unless: str = ""
    live_first: bool = False
    under: str = ""
    takes_form: bool = False

    @property
    def template(self) -> str:
        return f"pages/{self.name}.html"


class Missing(Exception):
    """What a page is asked to show is not there; the message says so."""


class Concern(msgspec.Struct, frozen=True):
    """Something that an operator should look at. ``level`` is ``error``, ``warning`` or ``note``."""

    level: str
    text: str
    href: str = ""
    details: tuple[str, ...] = ()


class Health(msgspec.Struct, frozen=True):
    """How the sidecar is, on every page: what is of concern, and where the rollout stands."""

    concerns: tuple[Concern, ...]
    percent: float
    version: str

    @property
    def worst(self) -> str:
        """The gravest level: ``error``, ``warning`` or ``good``."""
        levels = {concern.level for concern in self.concerns}
        return next((level for level in ("error", "warning") if level in levels), "good")


class Shell(msgspec.Struct, frozen=True):
    """What stands around every page, and belongs to the reader's session alone.

    ``theme`` is ``light``, ``dark`` or empty: as the system is. ``csrf`` goes into every form. ``done`` and
    ``refused`` tell what became of the reader's last change. ``live_url`` is the page's event stream.
    """

    title: str
    here: str
    theme: str
    health: Health | None = None
    nav: tuple[tuple[str, str, str], ...] = ()
    role: str = ""
    name: str = ""
    csrf: str = ""
    done: str = ""
    refused: str = ""
    live_url: str = ""
    zone: str = "UTC"

    @property
    def may_change(self) -> bool:
        return self.role == "operator"


class Renderer:
    """Renders pages and their fragments. Everything is escaped; an unknown name is an error, not a blank."""

    def __init__(self, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder("templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            # The files do not change under a running sidecar: nobody needs to look whether they have.
            auto_reload=False,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(
            asset=assets.url, tier_title=tier_title, decision_row=_rows_of(self._environment)
        )

    def page(self, template: str, shell: Shell, page: msgspec.Struct, ask: Ask) -> str:
        """A whole page."""
        return self._environment.get_template(template).render(shell=shell, page=page, **_clock(ask))

    def fragment(self, name: str, page: msgspec.Struct, ask: Ask) -> str:
        """One part of a page, as ``fragments/_<name>.html`` has it; it sees no session."""
        template = self._environment.get_template(f"fragments/_{name}.html")
        return template.render(page=page, **_clock(ask))


def _rows_of(environment: jinja2.Environment) -> Callable[..., Markup]:
    """Renders a decision's row of a table, once: it stays what it is, but for how its time is told.

    Live tables show mostly rows that they showed before, and rendering them is what costs most of a page.
    """

    @lru_cache(maxsize=_ROWS_KEPT)
    def rendered(row: DecisionSummary, colour: str, when: str) -> Markup:
        template = environment.get_template("fragments/_decision_row.html")
        return Markup(template.render(row=row, colour=colour, when=when))  # noqa: S704

    @jinja2.pass_context
    def decision_row(context: jinja2.runtime.Context, row: DecisionSummary, colour: str) -> Markup:
        return rendered(row, colour, moment(row.started_ns, context["zone"], context["now_ns"]))

    return decision_row


def _clock(ask: Ask) -> dict[str, Any]:
    """What templates need to show times: the zone, and what counts as now."""
    return {"zone": ask.zone, "now_ns": ask.now_ns}


@jinja2.pass_context
def _when(context: jinja2.runtime.Context, at_ns: int) -> str:
    return moment(at_ns, context["zone"], context["now_ns"])


@jinja2.pass_context
def _ago(context: jinja2.runtime.Context, at_ns: int) -> str:
    return ago(at_ns, context["now_ns"])


@jinja2.pass_context
def _full(context: jinja2.runtime.Context, at_ns: int) -> str:
    return full_moment(at_ns, context["zone"])


FILTERS: Final[dict[str, Callable[..., object]]] = {
    "usd": usd,
    "usd_exact": usd_exact,
    "ms": ms,
    "count": count,
    "percent": percent,
    "number": number,
    "cut": cut,
    "utc": utc,
    "iso": iso,
    "tier": tier_title,
    "when": _when,
    "ago": _ago,
    "full": _full,
}
