"""Opens the ledger's SQLite file: one writer, readers apart, one process."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from importlib import resources
from pathlib import Path

import aiosqlite

from sidecar.storage.database import CACHE_KIB, StorageError

log = logging.getLogger("sidecar.budget")


class LedgerUnavailable(StorageError):
    """The ledger cannot be read or written now: locked, full, broken. The message says why."""


class LedgerInUse(LedgerUnavailable):
    """Another process has the ledger open; two could spend the same money twice."""


class LedgerFile:
    """The open ledger. ``writer`` is in autocommit: each statement is a transaction of its own."""

    def __init__(self, lock: int, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._lock = lock
        self.writer = writer
        self.reader = reader

    @classmethod
    async def open(cls, path: Path, busy_s: float) -> LedgerFile:
        """Open or create the ledger at ``path``; a lock of another connection is waited for ``busy_s``.

        Raises ``LedgerInUse`` when a process has it open already, ``LedgerUnavailable`` when it cannot be
        opened.
        """
        lock = _lock(path)
        connections: list[aiosqlite.Connection] = []
        try:
            writer = await aiosqlite.connect(path, isolation_level=None, timeout=busy_s)
            connections.append(writer)
            # FULL: a commit is on the disk when it returns, not merely with the operating system.
            await writer.executescript(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -{CACHE_KIB};"
            )
            await _migrate(writer)
            reader = await aiosqlite.connect(path, isolation_level=None, timeout=busy_s)
            connections.append(reader)
            await reader.executescript(f"PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE_KIB};")
        except sqlite3.Error as error:
            await _close(lock, connections)
            raise LedgerUnavailable(f"{path.name}: {error}") from error
        except BaseException:
            await _close(lock, connections)
            raise
        return cls(lock, writer, reader)

    async def close(self) -> None:
        """Close the connections and let other processes have the file."""
        await _close(self._lock, [self.writer, self.reader])


def _lock(path: Path) -> int:
    """Take the file's lock; the system lets go of it when this process ends, however it ends."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise LedgerInUse(f"{path.name} is open in another process") from error
    return lock


async def _close(lock: int, connections: list[aiosqlite.Connection]) -> None:
    try:
        for connection in connections:
            await connection.close()
    finally:
        os.close(lock)


async def _migrate(writer: aiosqlite.Connection) -> None:
    rows = list(await writer.execute_fetchall("PRAGMA user_version"))
    for version, script in _scripts():
        if version > rows[0][0]:
            try:
                await writer.executescript(
                    f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {version}; COMMIT;"
                )
            except sqlite3.Error:
                await writer.rollback()
                raise
            log.info("the ledger's schema is now at version %d", version)


def _scripts() -> list[tuple[int, str]]:
    """The numbered schema files, lowest first."""
    files = (resources.files("sidecar.storage") / "schema").iterdir()
    return sorted(
        (int(file.name.removeprefix("ledger_").removesuffix(".sql")), file.read_text("utf-8"))
        for file in files
        if file.name.startswith("ledger_")
    )
