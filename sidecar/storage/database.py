"""Opens the sidecar's one SQLite file: its lock, its migrations, one writer and a few readers.

::

    StorageError
    +-- DataDirInUse       another sidecar has the data directory
    +-- DatabaseTooNew     a newer sidecar wrote it
    +-- DatabaseCorrupt    the file is damaged, or no database
    +-- DatabaseReadOnly   the file or its directory cannot be written
    +-- DatabaseFull       the disk is full
    +-- DatabaseBusy       something else holds the write lock
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Final
from urllib.parse import quote

import aiosqlite

from sidecar.core.ports import StorageError as StorageError
from sidecar.storage.histogram import PercentilesAggregate, QuantilesAggregate, merge_stored

Clock = Callable[[], int]
"""Returns the time as Unix nanoseconds."""

FILE_NAME: Final = "sidecar.sqlite"
LOCK_NAME: Final = "sidecar.lock"

#: How long a statement waits for a lock that something outside the sidecar holds, in milliseconds.
BUSY_TIMEOUT_MS: Final = 1_000
#: How much of a file each connection keeps in memory.
CACHE_KIB: Final = 1_024


class DataDirInUse(StorageError):
    """Another sidecar has this data directory open."""


class DatabaseTooNew(StorageError):
    """A newer sidecar has migrated the database further than this one can read."""


class DatabaseCorrupt(StorageError):
    """The file is damaged or is no SQLite database."""


class DatabaseReadOnly(StorageError):
    """The file or its directory cannot be written."""


class DatabaseFull(StorageError):
    """The disk, or the quota, is full."""


class DatabaseBusy(StorageError):
    """Another program holds the write lock."""


_BY_SQLITE_CODE: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_CORRUPT: (DatabaseCorrupt, "the database is damaged"),
    sqlite3.SQLITE_NOTADB: (DatabaseCorrupt, "the file is not a SQLite database"),
    sqlite3.SQLITE_READONLY: (DatabaseReadOnly, "the database cannot be written"),
    sqlite3.SQLITE_CANTOPEN: (DatabaseReadOnly, "the database cannot be opened"),
    sqlite3.SQLITE_PERM: (DatabaseReadOnly, "the database may not be opened"),
    sqlite3.SQLITE_FULL: (DatabaseFull, "the disk is full"),
    sqlite3.SQLITE_BUSY: (DatabaseBusy, "another program holds the database's write lock"),
    sqlite3.SQLITE_LOCKED: (DatabaseBusy, "another program holds the database's write lock"),
}


def storage_error(error: sqlite3.Error, path: Path) -> StorageError:
    """The typed error for one of SQLite's, by its primary result code."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    kind, words = _BY_SQLITE_CODE.get(code, (StorageError, "the database failed"))
    return kind(f"{path}: {words} ({error})")


class Database:
    """The open database. One writer, used by one transaction at a time; readers that never wait for it."""

    def __init__(
        self, path: Path, lock_fd: int, writer: aiosqlite.Connection, readers: list[aiosqlite.Connection]
    ) -> None:
        self.path = path
        self._lock_fd = lock_fd
        self._writer = writer
        self._writing = asyncio.Lock()
        self._readers = readers
        self._idle: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._idle.put_nowait(reader)

    @classmethod
    async def open(cls, data_dir: Path, *, readers: int = 2) -> Database:
        """Open ``sidecar.sqlite`` in ``data_dir``, made with mode 0700 and migrated where needed.

        Raises a ``StorageError``; see the top of this module for the kinds.
        """
        path = data_dir / FILE_NAME
        lock_fd = _lock(data_dir)
        opened: list[aiosqlite.Connection] = []
        try:
            with _typed_errors(path):
                opened.append(await _connect(path, read_only=False))
                await _migrate(opened[0], path)
                opened += [await _connect(path, read_only=True) for _ in range(readers)]
        except BaseException:
            for connection in reversed(opened):
                await connection.close()
            os.close(lock_fd)
            raise
        return cls(path, lock_fd, opened[0], opened[1:])

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """The writer, inside a transaction that commits at the end and rolls back on any error.

        Transactions queue up in order of arrival; keep them short. SQLite's errors come out typed,
        ``sqlite3.IntegrityError`` apart, which tells about the data and not about the database.
        """
        async with self._writing:
            with _typed_errors(self.path):
                try:
                    await self._writer.execute("BEGIN IMMEDIATE")
                    yield self._writer
                    await self._writer.commit()
                except BaseException:
                    # Runs after whatever the writer's thread still has queued, a cancelled BEGIN included.
                    await asyncio.shield(self._writer.rollback())
                    raise

    @asynccontextmanager
    async def maintenance(self) -> AsyncIterator[aiosqlite.Connection]:
        """The writer outside a transaction, for statements that cannot run inside one."""
        async with self._writing:
            with _typed_errors(self.path):
                yield self._writer

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[aiosqlite.Connection]:
        """A read-only connection; it sees what was committed when its statement began."""
        connection = await self._idle.get()
        try:
            with _typed_errors(self.path):
                yield connection
        finally:
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        """Fold the write-ahead log into the file, close everything, release the data directory."""
        try:
            for reader in self._readers:
                await reader.close()
            async with self._writing:
                await self._writer.close()
        finally:
            os.close(self._lock_fd)


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise storage_error(error, path) from error


def _lock(data_dir: Path) -> int:
    """Make the directory and take its lock for as long as the returned descriptor stays open."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock_fd = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseReadOnly(f"{data_dir}: the data directory cannot be used ({error.strerror})") from error
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(lock_fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock_fd)
        raise DataDirInUse(f"{data_dir}: another sidecar, pid {pid}, uses this data directory") from error
    os.ftruncate(lock_fd, 0)
    os.pwrite(lock_fd, f"{os.getpid()}\n".encode(), 0)
    return lock_fd


async def _connect(path: Path, *, read_only: bool) -> aiosqlite.Connection:
    """A connection on its own thread. Raises ``sqlite3.Error``."""
    failure: list[sqlite3.Error] = []

    def connect() -> sqlite3.Connection:
        try:
            return _connect_reader(path) if read_only else _connect_writer(path)
        except sqlite3.Error as error:
            # When this raises, aiosqlite abandons its thread instead of waiting for it.
            failure.append(error)
            return sqlite3.connect(":memory:")

    connection = await aiosqlite.Connection(connect, iter_chunk_size=64)
    if failure:
        await connection.close()
        raise failure[0]
    return connection


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = _sqlite(path, "rwc")
    connection.create_function("histogram_merge", 2, merge_stored, deterministic=True)
    try:
        # Takes effect only before the first table is made; retention gives pages back step by step.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 67108864")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect_reader(path: Path) -> sqlite3.Connection:
    connection = _sqlite(path, "ro")
    connection.create_aggregate("percentiles", 1, PercentilesAggregate)  # type: ignore[arg-type]
    connection.create_aggregate("quantiles", 1, QuantilesAggregate)  # type: ignore[arg-type]
    return connection


def _sqlite(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    # The system's cache holds the file anyway; pages kept here count for the process.
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def _migrations() -> list[tuple[int, str]]:
    """The files ``schema/NNN_*.sql`` in order, as (number, SQL); the ledger's own are named otherwise."""
    files = resources.files("sidecar.storage").joinpath("schema").iterdir()
    return sorted((int(file.name[:3]), file.read_text()) for file in files if file.name[:3].isdecimal())


async def _migrate(writer: aiosqlite.Connection, path: Path) -> None:
    """Run the migrations that the database has not seen, each in its own transaction."""
    # A file that cannot be written would otherwise be noticed only by the first call.
    await writer.execute("BEGIN IMMEDIATE")
    await writer.rollback()
    ((version,),) = await writer.execute_fetchall("PRAGMA user_version")
    migrations = _migrations()
    newest = migrations[-1][0]
    if version > newest:
        raise DatabaseTooNew(f"{path}: written by a newer sidecar: schema {version}, this one knows {newest}")
    for number, sql in migrations:
        if number > version:
            script = f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA user_version = {number};\nCOMMIT;"
            try:
                await writer.executescript(script)
            except BaseException:
                await writer.rollback()
                raise
