"""The database opens once, migrates, and says plainly why it cannot."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

import pytest

from sidecar.storage.database import (
    FILE_NAME,
    LOCK_NAME,
    Database,
    DatabaseBusy,
    DatabaseCorrupt,
    DatabaseReadOnly,
    DatabaseTooNew,
    DataDirInUse,
    StorageError,
)

NOBODY = 65_534


async def test_the_data_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "deep" / "var")
    await database.close()
    assert stat.S_IMODE((tmp_path / "deep" / "var").stat().st_mode) == 0o700


async def test_a_second_sidecar_is_refused_by_name_and_may_have_the_directory_later(tmp_path: Path) -> None:
    first = await Database.open(tmp_path)
    with pytest.raises(DataDirInUse, match=f"pid {os.getpid()}"):
        await Database.open(tmp_path)
    await first.close()
    second = await Database.open(tmp_path)
    await second.close()


async def test_a_lock_file_left_by_a_dead_process_does_not_refuse(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("4194304\n")
    database = await Database.open(tmp_path)
    await database.close()
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


async def test_what_is_committed_is_seen_by_readers_and_by_the_next_start(tmp_path: Path) -> None:
    database = await Database.open(tmp_path)
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO policies VALUES ('p', '{}', 1)")
    assert await policies(database) == ["p"]
    await database.close()
    assert not (tmp_path / (FILE_NAME + "-wal")).exists(), "closing folds the write-ahead log into the file"
    database = await Database.open(tmp_path)
    assert await policies(database) == ["p"]
    await database.close()


async def test_an_error_inside_a_transaction_undoes_all_of_it(database: Database) -> None:
    async def fails() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO policies VALUES ('p', '{}', 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()
    assert await policies(database) == []


async def test_a_cancelled_transaction_is_undone_and_leaves_the_writer_usable(database: Database) -> None:
    inside = asyncio.Event()

    async def never_ends() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO policies VALUES ('lost', '{}', 1)")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO policies VALUES ('kept', '{}', 1)")
    assert await policies(database) == ["kept"]


async def test_a_transaction_cancelled_at_any_point_leaves_the_writer_usable(database: Database) -> None:
    async def write(policy_id: str) -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO policies VALUES (?, '{}', 1)", (policy_id,))

    for turns in range(12):
        task = asyncio.create_task(write(f"cancelled-{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await write(f"kept-{turns}")
    kept = [policy for policy in await policies(database) if policy.startswith("kept-")]
    assert len(kept) == 12


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseReadOnly):
        async with database.reader() as connection:
            await connection.execute("INSERT INTO policies VALUES ('p', '{}', 1)")


async def test_a_reader_does_not_wait_for_the_writer(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO policies VALUES ('p', '{}', 1)")
        assert await policies(database) == []


async def test_a_lock_held_by_another_program_is_told_as_such(database: Database) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy, match="another program"):
            async with database.transaction():
                raise AssertionError("must not be reached")
    async with database.transaction():
        pass


async def test_a_database_of_a_newer_sidecar_is_refused_untouched(tmp_path: Path) -> None:
    await (await Database.open(tmp_path)).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("PRAGMA user_version = 999")
    with pytest.raises(DatabaseTooNew, match="schema 999"):
        await Database.open(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (999,)


async def test_an_older_database_is_migrated_and_keeps_its_rows(tmp_path: Path) -> None:
    with closing(old_database(tmp_path)) as old:
        old.execute("INSERT INTO policies VALUES ('from-before', '{}', 1)")
        old.commit()
    database = await Database.open(tmp_path)
    assert await policies(database) == ["from-before"]
    async with database.reader() as connection:
        assert list(await connection.execute_fetchall("SELECT * FROM rollout")) == []
    await database.close()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    with closing(old_database(tmp_path)) as old:
        old.execute("CREATE TABLE audit (in_the_way)")
        old.commit()
    with pytest.raises(StorageError, match="audit already exists"):
        await Database.open(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as old:
        assert old.execute("PRAGMA user_version").fetchone() == (1,)
        assert old.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'rollout'").fetchone() == (0,)
        old.execute("DROP TABLE audit")
    await (await Database.open(tmp_path)).close()


async def test_a_file_that_is_no_database_is_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(DatabaseCorrupt, match=FILE_NAME):
        await Database.open(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    await (await Database.open(tmp_path)).close()


async def test_damage_inside_the_file_is_called_corrupt(tmp_path: Path) -> None:
    await (await Database.open(tmp_path)).close()
    with (tmp_path / FILE_NAME).open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_000)
    with pytest.raises(DatabaseCorrupt, match="damaged"):
        await Database.open(tmp_path)


async def test_something_else_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(DatabaseReadOnly, match="cannot be opened"):
        await Database.open(tmp_path)


async def test_a_directory_that_cannot_be_written_is_told() -> None:
    with (
        foreign_directory() as data_dir,
        unprivileged(),
        pytest.raises(DatabaseReadOnly, match="Permission denied"),
    ):
        await Database.open(data_dir)


async def test_a_file_that_cannot_be_written_is_told_at_the_start() -> None:
    with foreign_directory() as data_dir:
        await (await Database.open(data_dir)).close()
        (data_dir / FILE_NAME).chmod(0o444)
        (data_dir / LOCK_NAME).chmod(0o666)
        data_dir.chmod(0o777)
        with unprivileged(), pytest.raises(DatabaseReadOnly, match="cannot be written"):
            await Database.open(data_dir)


async def policies(database: Database) -> list[str]:
    async with database.reader() as connection:
        rows = await connection.execute_fetchall("SELECT policy_id FROM policies ORDER BY policy_id")
        return [policy_id for (policy_id,) in rows]


def old_database(data_dir: Path) -> sqlite3.Connection:
    """A database as the first migration alone leaves it."""
    connection = sqlite3.connect(data_dir / FILE_NAME)
    connection.executescript(
        resources.files("sidecar.storage").joinpath("schema", "001_decisions.sql").read_text()
    )
    connection.execute("PRAGMA user_version = 1")
    return connection


@contextmanager
def foreign_directory() -> Iterator[Path]:
    """A directory that everybody may look into and only its owner may write."""
    with tempfile.TemporaryDirectory() as name:
        data_dir = Path(name)
        data_dir.chmod(0o555)
        try:
            yield data_dir
        finally:
            data_dir.chmod(0o755)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everything; give that up for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
