"""Log lines are written where somebody reads them, and nobody waits where nobody does."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.telemetry.log_stream import NeverWaiting


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def logger_to(descriptor: int) -> tuple[logging.Logger, NeverWaiting]:
    handler = NeverWaiting(descriptor)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.Logger("log-stream")
    logger.addHandler(handler)
    return logger, handler


def test_what_is_logged_can_be_read(pipe: tuple[int, int]) -> None:
    logger, handler = logger_to(pipe[1])
    logger.info("first %s", "line")
    logger.info("x" * 10_000)
    assert os.read(pipe[0], 65_536) == b"INFO first line\nINFO " + b"x" * 10_000 + b"\n"
    assert handler.lost == 0


def test_a_pipe_that_nobody_reads_holds_nobody_up_and_the_loss_is_told(pipe: tuple[int, int]) -> None:
    logger, handler = logger_to(pipe[1])
    for number in range(5_000):
        logger.info("line %d, and some more words to fill the pipe with", number)
    assert handler.lost > 1_000
    kept = os.read(pipe[0], 2**20)
    assert kept.endswith(b"fill the pipe with\n")
    lost = 5_000 - kept.count(b"\n")
    assert handler.lost == lost
    logger.error("read again")
    told = f"WARNING {lost} log lines were lost, because nobody read them\nERROR read again\n"
    assert os.read(pipe[0], 2**20) == told.encode()
    assert handler.lost == 0


def test_lines_that_are_logged_together_are_written_at_the_end(pipe: tuple[int, int]) -> None:
    logger, handler = logger_to(pipe[1])
    with handler.together():
        for number in range(300):
            logger.info("line %d of many", number)
        other = threading.Thread(target=logger.info, args=("another thread's line",))
        other.start()
        other.join()
        assert os.read(pipe[0], 65_536) == b"INFO another thread's line\n"
    lines = [f"INFO line {number} of many\n" for number in range(300)]
    assert os.read(pipe[0], 65_536) == "".join(lines).encode()
    logger.info("alone again")
    assert os.read(pipe[0], 65_536) == b"INFO alone again\n"


def test_of_lines_together_each_that_found_no_room_counts(pipe: tuple[int, int]) -> None:
    logger, handler = logger_to(pipe[1])
    with handler.together():
        for number in range(5_000):
            logger.info("line %d, and some more words to fill the pipe with", number)
    kept = os.read(pipe[0], 2**20)
    assert kept.endswith(b"fill the pipe with\n")
    assert handler.lost == 5_000 - kept.count(b"\n") > 1_000


def test_a_reader_that_is_gone_and_a_full_disk_are_borne(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    logger, handler = logger_to(write_end)
    logger.info("to nobody")
    os.close(write_end)
    assert handler.lost == 1
    full = os.open("/dev/full", os.O_WRONLY)
    logger, handler = logger_to(full)
    logger.info("to a full disk")
    os.close(full)
    assert handler.lost == 1
