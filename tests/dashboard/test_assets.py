"""The files for the browser are found, named by content, and those of others are as published."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import msgspec
import pytest

from dashboard.assets import Assets, folder


class Vendored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a file of somebody else's is from; ``path`` is the one inside the npm package."""

    file: str
    npm: str
    version: str
    path: str
    license: str
    license_file: str
    sha256: str


STATIC = folder("static")
TESTED = Path(__file__).parent / "vendor"
VENDORED = [
    (root, one)
    for root in (STATIC, TESTED)
    for one in msgspec.json.decode((root / "VENDORED.json").read_bytes(), type=list[Vendored])
]


@pytest.mark.parametrize(("root", "one"), VENDORED, ids=[one.file for _, one in VENDORED])
def test_a_vendored_file_is_as_published_and_has_its_licence(root: Path, one: Vendored) -> None:
    assert hashlib.sha256((root / one.file).read_bytes()).hexdigest() == one.sha256
    assert (root / one.license_file).read_text().strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", one.version)


def test_every_vendored_file_is_recorded() -> None:
    recorded = {one.file for root, one in VENDORED if root == STATIC}
    there = {
        path.relative_to(STATIC).as_posix()
        for path in (STATIC / "vendor").iterdir()
        if path.suffix != ".LICENSE"
    }
    assert there == recorded


def test_addresses_hold_a_hash_of_the_content() -> None:
    assets = Assets("/static")
    url = assets.url("dashboard.css")
    asset = assets.at(url)
    assert asset is not None
    assert hashlib.sha256(asset.body).hexdigest()[:12] in url
    assert gzip.decompress(asset.compressed) == asset.body
    assert assets.at(url.replace(url.split("/")[2], "0" * 12)) is None
    assert assets.at("/static/../pyproject.toml") is None
    with pytest.raises(KeyError):
        assets.url("VENDORED.json")


def test_the_stylesheet_asks_nobody_for_anything() -> None:
    css = (STATIC / "dashboard.css").read_text()
    assert not re.search(r"url\(|@import|https?:", css)
