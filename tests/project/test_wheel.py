"""What `pip install` gets: everything that the sidecar reads at run time, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from email.message import Message
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

from sidecar import __version__

ROOT = Path(__file__).parents[2]
DIST_INFO = f"aegis_sidecar-{__version__}.dist-info"

#: Where a folder of the checkout stands in the wheel.
PLACES = {
    "sidecar": "sidecar",
    "dashboard": "dashboard",
    "templates": "dashboard/templates",
    "static": "dashboard/static",
    "config": "sidecar/config",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, built from the checkout, and the wheel, built from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` says where it is
    assert uv, "the wheel is built by uv: run the tests by `uv run`, or put uv on the PATH"
    subprocess.run([uv, "build", "--quiet", "--out-dir", folder, ROOT], check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Iterator[ZipFile]:
    with ZipFile(built / f"aegis_sidecar-{__version__}-py3-none-any.whl") as archive:
        yield archive


def sources(folder: str) -> Iterator[Path]:
    """The files below ``folder``, without what Python leaves there."""
    return (path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel: ZipFile) -> None:
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PLACES.items()
        for path in sources(folder)
    }
    packed = {name for name in wheel.namelist() if not name.startswith(DIST_INFO)}
    assert packed == expected


@pytest.mark.parametrize(
    "name",
    [
        "sidecar/py.typed",
        "dashboard/py.typed",
        "sidecar/config/sidecar.yaml",
        "sidecar/storage/schema/001_decisions.sql",
        "sidecar/core/privacy/data/given_names.txt",
        "sidecar/core/privacy/data/NOTICE.md",
        "dashboard/templates/base.html",
        "dashboard/static/dashboard.css",
        "dashboard/static/vendor/htmx.LICENSE",
        f"{DIST_INFO}/licenses/LICENSE",
    ],
)
def test_what_is_read_at_run_time_or_owed_to_others_is_in_the_wheel(wheel: ZipFile, name: str) -> None:
    assert wheel.getinfo(name).file_size > 0 or name.endswith("py.typed")


def test_the_wheel_says_what_it_is(wheel: ZipFile) -> None:
    metadata: Message = Parser().parsestr(wheel.read(f"{DIST_INFO}/METADATA").decode())
    assert metadata["Name"] == "aegis-sidecar"
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# Aegis Sidecar")
    entry_points = wheel.read(f"{DIST_INFO}/entry_points.txt").decode()
    assert entry_points.split() == ["[console_scripts]", "sidecar", "=", "sidecar.cli:main"]


def test_the_sdist_holds_what_the_wheel_and_the_tests_are_made_of(built: Path) -> None:
    with tarfile.open(built / f"aegis_sidecar-{__version__}.tar.gz") as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    for folder in (*PLACES, "tests"):
        assert {path.relative_to(ROOT).as_posix() for path in sources(folder)} <= packed
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"} <= packed
