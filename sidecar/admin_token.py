"""The admin token: made at first start, kept in the data directory, readable by its owner only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

FILE_NAME = "admin-token"
#: An operator may put a token here for those who are to see everything and change nothing.
VIEWER_FILE_NAME = "viewer-token"
_BYTES = 32


def load_or_create(data_dir: Path) -> str:
    """The token in ``data_dir``, made now if need be. Raises ``PermissionError`` if others may read it."""
    return load(data_dir) or _create(data_dir / FILE_NAME)


def load(data_dir: Path, name: str = FILE_NAME) -> str:
    """The token in the file ``name``; empty without one. Raises ``PermissionError`` if others may read it."""
    path = data_dir / name
    try:
        token = path.read_text().strip()
    except FileNotFoundError:
        return ""
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others; run: chmod 600 {path}")
    return token


def _create(path: Path) -> str:
    token = secrets.token_urlsafe(_BYTES)
    fresh = path.with_name(f"{FILE_NAME}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return token
