"""What a page's template uses is what its context has, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import msgspec
import pytest
from jinja2 import nodes

from dashboard.assets import folder
from dashboard.live import part_id
from dashboard.login import LoginContext
from dashboard.page import FILTERS, Health, Page, Shell
from dashboard.pages import ACTIONS, PAGES
from dashboard.router import ErrorContext, LandingContext
from tests.dashboard.template_types import Walk

TEMPLATES = folder("templates")
ENVIRONMENT = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
ENVIRONMENT.filters.update(FILTERS)
ALL = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))


def parsed(template: str) -> nodes.Template:
    return ENVIRONMENT.parse((TEMPLATES / template).read_text())


def reached(template: str) -> set[str]:
    """``template`` and all that it includes or imports; not the one it extends."""
    found, new = set[str](), {template}
    while new:
        name = new.pop()
        found.add(name)
        tree = parsed(name)
        for node in tree.find_all((nodes.Include, nodes.FromImport, nodes.Import)):
            assert isinstance(node, nodes.Include | nodes.FromImport | nodes.Import)
            assert isinstance(node.template, nodes.Const)
            new |= {node.template.value} - found
    return found


def used(templates: set[str], name: str) -> set[str]:
    """The attributes of the variable ``name`` that the templates speak of."""
    return {
        node.attr
        for template in templates
        for node in parsed(template).find_all(nodes.Getattr)
        if isinstance(node.node, nodes.Name) and node.node.name == name
    }


CONTEXTS = [(page.template, page.context) for page in PAGES] + [
    ("login.html", LoginContext),
    ("error.html", ErrorContext),
    ("landing.html", LandingContext),
]


@pytest.mark.parametrize(("template", "context"), CONTEXTS, ids=[name for name, _ in CONTEXTS])
def test_a_template_uses_what_its_context_has(template: str, context: type[msgspec.Struct]) -> None:
    templates = {name for name in reached(template) if name != "fragments/_health.html"}
    assert used(templates, "page") == set(context.__struct_fields__)


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_so_it_is_with_the_structs_within_the_context(page: Page) -> None:
    """However deep: nothing is used that is not there, and the dashboard's own structs hold nothing idle."""
    walk = Walk(parsed)
    walk.template(page.template, {"page": page.context})
    assert {use for use in walk.used if not hasattr(*use)} == set()
    structs = {struct for struct, _ in walk.used if struct.__module__.startswith("dashboard.pages")}
    assert page.context in structs
    for struct in structs - {page.context}:
        used = {attr for owner, attr in walk.used if owner is struct}
        assert set(struct.__struct_fields__) - used == set(), struct


def test_the_state_line_uses_what_its_context_has() -> None:
    assert used({"fragments/_health.html"}, "page") == {*Health.__struct_fields__, "worst"} - {"version"}


def test_the_shell_is_used_whole() -> None:
    templates = {"base.html", *(page.template for page in PAGES)}
    assert used(templates, "shell") == {*Shell.__struct_fields__, "may_change"}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_context_is_frozen_and_explained(page: Page) -> None:
    assert page.context.__struct_config__.frozen
    assert page.context.__doc__


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_a_live_part_is_an_element_of_its_page_without_the_session(page: Page) -> None:
    source = (TEMPLATES / page.template).read_text()
    for name in page.live:
        template = f"fragments/_{name}.html"
        assert f"include '{template}'" in source
        for one in reached(template):
            assert "shell" not in {node.name for node in parsed(one).find_all(nodes.Name)}, one
        body = re.sub(r"{%.*?%}|{#.*?#}", "", (TEMPLATES / template).read_text(), flags=re.S)
        body = re.sub(r"^.*?</section>\s*(?=<div id)", "", body, flags=re.S)
        root = re.match(r"\s*<(\w+) id=\"([a-z-]+)\"", body)
        assert root is not None, template
        assert root[2] == part_id(name)


@pytest.mark.parametrize("template", ALL)
def test_no_template_needs_what_the_policy_forbids(template: str) -> None:
    """No inline script or style, no handler attribute, nothing marked as safe, nothing of another host."""
    source = (TEMPLATES / template).read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|hx-on|<style|javascript:|\|\s*safe|autoescape false", source)
    assert not re.search(r"<script(?![^>]*\ssrc=)", source)
    assert not re.search(r"(src|href)=\"(https?:)?//", source)


def test_every_action_belongs_to_a_page() -> None:
    assert {action.page for action in ACTIONS} <= {page.name for page in PAGES}
    assert len({action.path for action in ACTIONS}) == len(ACTIONS)


def test_the_folders_are_found() -> None:
    assert (folder("templates") / "base.html").is_file()
    assert (folder("static") / "dashboard.css").is_file()
    assert Path(folder("static") / "vendor").is_dir()
