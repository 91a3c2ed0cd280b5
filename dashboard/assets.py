"""Finds the templates and the files for the browser; the latter have addresses that never go stale."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Final

import msgspec

_PACKAGE: Final = Path(__file__).parent
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_COMPRESS_LEVEL: Final = 9


def folder(name: str) -> Path:
    """``templates`` or ``static``: inside the package once installed, at the root of a checkout."""
    installed = _PACKAGE / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


class Asset(msgspec.Struct, frozen=True):
    """One file for the browser. ``url`` holds a hash of its content, so that it may be cached for good."""

    url: str
    content_type: str
    body: bytes
    compressed: bytes


class Assets:
    """All files of ``static/`` that a browser may ask for, in memory."""

    def __init__(self, prefix: str) -> None:
        """``prefix`` is the path they are served under, such as ``/dashboard/static``."""
        root = folder("static")
        self._by_name: dict[str, Asset] = {}
        self._by_url: dict[str, Asset] = {}
        for path in sorted(root.rglob("*")):
            if path.suffix in _TYPES:
                name = path.relative_to(root).as_posix()
                body = path.read_bytes()
                digest = hashlib.sha256(body).hexdigest()[:12]
                asset = Asset(
                    f"{prefix}/{digest}/{name}",
                    _TYPES[path.suffix],
                    body,
                    gzip.compress(body, _COMPRESS_LEVEL, mtime=0),
                )
                self._by_name[name] = self._by_url[asset.url] = asset

    def url(self, name: str) -> str:
        """Where ``name`` is served. Raises ``KeyError`` for a file that is not there."""
        return self._by_name[name].url

    def at(self, url: str) -> Asset | None:
        """What is served at ``url``; None for an unknown file, or an older content of a known one."""
        return self._by_url.get(url)
