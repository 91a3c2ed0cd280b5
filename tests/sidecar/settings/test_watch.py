"""A file that changes under a running sidecar: applied, refused, mended, replaced."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.settings import Settings, SettingsError
from sidecar.settings.watch import ReloadRefusal, SettingsSource
from tests.sidecar.settings.configurations import SMALL, changed

MORE = changed("usd: 10", "usd: 20")
BROKEN = changed("usd: 10", "usd: ten")


def usd(source: SettingsSource) -> int:
    return int(source.current.budgets.caps[0].usd)


def rejected(source: SettingsSource) -> ReloadRefusal | None:
    return source.rejected


def write(file: Path, text: str | None) -> None:
    """Have ``text`` in the file; None: have no file."""
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def source(file: Path) -> SettingsSource:
    return SettingsSource(file, {}, clock=itertools.count(1000).__next__)


async def settle(source: SettingsSource) -> None:
    """Two looks: a change counts when it is seen twice."""
    await source.look()
    await source.look()


def test_a_file_that_is_refused_at_the_start_gives_no_source(file: Path) -> None:
    write(file, BROKEN)
    with pytest.raises(SettingsError, match="usd"):
        SettingsSource(file, {}, clock=int)


def test_without_a_file_it_is_the_embedded_default() -> None:
    source = SettingsSource(None, {}, clock=int)
    assert list(source.current.tiers) == ["local_ollama", "ollama_cloud", "openai"]


async def test_a_valid_change_is_applied_and_told(
    file: Path, source: SettingsSource, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Settings, Settings, Settings]] = []

    async def on_change(old: Settings, new: Settings) -> None:
        told.append((old, new, source.current))

    source.subscribe(on_change)
    before = source.current
    write(file, MORE)
    with caplog.at_level(logging.INFO):
        await settle(source)
    assert usd(source) == 20
    assert told == [(before, source.current, source.current)]
    assert caplog.messages == [f"{file} is applied, changed: budgets"]
    await settle(source)
    assert len(told) == 1


async def test_a_change_counts_once_it_is_seen_twice(file: Path, source: SettingsSource) -> None:
    write(file, SMALL.partition("budgets:")[0])
    await source.look()
    write(file, MORE)
    await source.look()
    assert usd(source) == 10, "half a file, valid without its caps, is never in force"
    await source.look()
    assert usd(source) == 20


async def test_a_broken_file_leaves_the_old_in_force_until_it_is_mended(
    file: Path, source: SettingsSource, caplog: pytest.LogCaptureFixture
) -> None:
    before = source.current
    write(file, BROKEN)
    await settle(source)
    assert source.current is before
    problem = f'{file}:14: budgets.caps[0].usd: the text "ten"; expected an amount such as 80 or 0.015'
    assert rejected(source) == ReloadRefusal(1000, (problem,))
    assert caplog.messages == [f"{file} is not applied, what was in force stays:\n{problem}"]

    await settle(source)
    assert rejected(source) == ReloadRefusal(1000, (problem,)), "it stays refused since when it was"

    write(file, MORE)
    await settle(source)
    assert rejected(source) is None
    assert usd(source) == 20


async def test_going_back_to_what_is_in_force_clears_the_refusal(file: Path, source: SettingsSource) -> None:
    before = source.current
    write(file, BROKEN)
    await settle(source)
    assert rejected(source) is not None
    write(file, SMALL)
    await settle(source)
    assert rejected(source) is None
    assert source.current == before


async def test_a_file_that_vanishes_is_a_refusal(file: Path, source: SettingsSource) -> None:
    write(file, None)
    await settle(source)
    assert rejected(source) == ReloadRefusal(
        1000, (f"{file}: No such file or directory; expected a file that can be read",)
    )
    assert usd(source) == 10
    write(file, MORE)
    await settle(source)
    assert (rejected(source), usd(source)) == (None, 20)


def write_in_place(file: Path) -> None:
    """The same size and the same times as before."""
    times = file.stat()
    file.write_text(MORE)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def rename_over(file: Path) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(MORE)
    fresh.replace(file)


@pytest.mark.parametrize("replace", [write_in_place, rename_over])
async def test_however_the_file_is_replaced(
    file: Path, source: SettingsSource, replace: Callable[[Path], None]
) -> None:
    replace(file)
    await settle(source)
    assert usd(source) == 20


async def test_a_config_map_that_turns_its_symlink(tmp_path: Path) -> None:
    """Kubernetes: app.yaml -> ..data/app.yaml, and ..data -> a directory that is swapped."""
    for name, text in (("..1", SMALL), ("..2", MORE)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.yaml").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "app.yaml").symlink_to("..data/app.yaml")
    source = SettingsSource(tmp_path / "app.yaml", {}, clock=int)
    assert usd(source) == 10
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    await settle(source)
    assert usd(source) == 20


async def test_what_periods_and_alerts_go_by_is_kept_until_the_next_start(
    file: Path, source: SettingsSource
) -> None:
    before = source.current.budgets
    write(
        file, MORE.replace("  caps:", "  timezone: Asia/Tokyo\n  reset_day: 9\n  webhook: http://x\n  caps:")
    )
    await settle(source)
    after = source.current.budgets
    assert (after.timezone, after.reset_day, after.webhook) == (before.timezone, before.reset_day, "")
    assert usd(source) == 20
    restart = "changed in the file, takes effect at the next start"
    assert [words for words in source.current.warnings if restart in words] == [
        f"budgets.timezone: {restart}",
        f"budgets.reset_day: {restart}",
        f"budgets.webhook: {restart}",
    ]


async def test_what_is_bound_at_the_start_is_kept_with_a_warning(file: Path, source: SettingsSource) -> None:
    before = source.current
    write(file, MORE + "listen: {host: 0.0.0.0, port: 9}\ndata_dir: /elsewhere\ndrain_s: 3\n")
    await settle(source)
    after = source.current
    assert (after.listen, after.data_dir) == (before.listen, before.data_dir)
    assert (usd(source), after.drain_s) == (20, 3)
    assert after.warnings == (
        "listen: changed in the file, takes effect at the next start",
        "data_dir: changed in the file, takes effect at the next start",
    )
    write(file, MORE)
    await settle(source)
    assert source.current.warnings == ()


async def test_a_change_that_means_the_same_is_told_to_nobody(file: Path, source: SettingsSource) -> None:
    told: list[Settings] = []

    async def on_change(old: Settings, new: Settings) -> None:
        told.append(new)

    source.subscribe(on_change)
    write(file, "# a comment\n" + SMALL)
    await settle(source)
    assert told == []
    assert rejected(source) is None


async def test_a_change_that_a_part_cannot_take_up_is_refused_and_the_old_stays_with_all(
    file: Path, source: SettingsSource, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[Settings, Settings]] = []
    room = False

    async def on_change(old: Settings, new: Settings) -> None:
        told.append((old, new))

    async def fails(old: Settings, new: Settings) -> None:
        if not room:
            raise RuntimeError("no room")

    source.subscribe(on_change)
    source.subscribe(fails)
    before = source.current
    write(file, MORE)
    await settle(source)
    assert source.current is before
    assert told[1] == told[0][::-1], "who had taken it up is told to go back"
    assert rejected(source) == ReloadRefusal(1000, (f"{file}: cannot be taken up: RuntimeError: no room",))
    assert "no room" in caplog.text
    assert "is applied" not in caplog.text

    room = True
    write(file, SMALL)
    await settle(source)
    assert (rejected(source), source.current) == (None, before)
    write(file, MORE)
    await settle(source)
    assert (rejected(source), usd(source)) == (None, 20)


async def test_what_deserves_a_look_is_logged_when_it_is_new(
    file: Path, source: SettingsSource, caplog: pytest.LogCaptureFixture
) -> None:
    for text in (changed("    api_key: sk-secret\n", ""), MORE.replace("    api_key: sk-secret\n", "")):
        write(file, text)
        await settle(source)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [f"{file}: tiers.cloud: off, no api_key is configured"]


async def test_watching_applies_changes_until_it_is_cancelled(file: Path, source: SettingsSource) -> None:
    applied: asyncio.Queue[Settings] = asyncio.Queue()

    async def on_change(old: Settings, new: Settings) -> None:
        await applied.put(new)

    source.subscribe(on_change)
    watching = asyncio.create_task(source.watch(interval_s=0.01))
    try:
        for text, amount in ((MORE, 20), (SMALL, 10)):
            write(file, text)
            new = await asyncio.wait_for(applied.get(), timeout=10)
            assert new.budgets.caps[0].usd == amount
            assert new is source.current
    finally:
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
