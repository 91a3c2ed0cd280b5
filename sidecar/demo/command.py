"""Runs `sidecar demo`: sets the stage, plays the workload, tells what came of it, ends everything."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable

from sidecar.demo.child import ChildFailed
from sidecar.demo.player import Played, Player, RecordsMissing, read_costs
from sidecar.demo.real_model import NotInstalled
from sidecar.demo.stage import TIERS, OllamaMissing, Stage, ollama_host
from sidecar.demo.summary import show
from sidecar.demo.terminal import Terminal

#: How often progress is told where lines cannot be replaced.
_CALLS_PER_LINE = 10

FINE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


async def run_demo(options: argparse.Namespace) -> int:
    """Run the demo with the options of ``add_arguments``; returns the exit code.

    0 when every call was answered, 1 when one was not, 2 when the demo cannot start here, 130 when it
    was interrupted on the way. Whatever happens, nothing it started is left running.
    """
    terminal = Terminal(sys.stdout, os.environ)
    interrupt = _Interrupt()
    try:
        return await _run(options, terminal, interrupt)
    except asyncio.CancelledError:
        if not interrupt.came:
            raise
        terminal.line("stopped")
        return INTERRUPTED
    except (NotInstalled, OllamaMissing, ChildFailed) as error:
        terminal.line(terminal.colour("the demo cannot start: ", "red") + str(error))
        return BAD_USAGE
    except RecordsMissing as error:
        terminal.line(terminal.colour("the demo failed: ", "red") + str(error))
        return FAILED
    except BrokenPipeError:
        # Whoever read the output has gone; what Python still holds of it must go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    finally:
        interrupt.disarm()


async def _run(options: argparse.Namespace, terminal: Terminal, interrupt: _Interrupt) -> int:
    terminal.line(terminal.colour("Aegis Sidecar demo", "bold"))
    terminal.passing("starting the model, two scripted clouds and the sidecar ...")
    started = time.monotonic()
    stage = Stage(
        data_dir=options.data_dir,
        port=options.port,
        ollama_host=ollama_host(os.environ) if options.ollama else None,
    )
    async with stage:
        _introduce(terminal, stage, time.monotonic() - started)
        player = Player(
            stage.base_url, stage.local.chat_model, stage.local.embedding_model, _progress(terminal)
        )
        played = await player.play()
        await read_costs(stage.base_url, stage.admin_token, played)
        show(terminal, TIERS, played)
        if options.keep:
            await _keep(terminal, stage, interrupt)
        return FAILED if any(each.error for each in played) else FINE


def _introduce(terminal: Terminal, stage: Stage, seconds: float) -> None:
    local, cloud, openai = TIERS
    what = "a small real model" if stage.local.provider == "llamacpp" else "your Ollama"
    terminal.line(f"  {local}: {what} ({stage.local.chat_model}) on this machine, free")
    terminal.line(f"  {cloud}: a script that speaks as Ollama Cloud does, $0.001 per 1k tokens")
    terminal.line(f"  {openai}: a script that speaks as OpenAI does, $0.015 per 1k tokens")
    terminal.line(f"  the sidecar: {stage.base_url}, ready after {seconds:.1f} s")


def _progress(terminal: Terminal) -> Callable[[Played], None]:
    done = 0

    def tell(played: Played) -> None:
        nonlocal done
        done += 1
        said = played.error or " ".join(played.text.split())
        terminal.passing(f"{done:3}  {played.tier or 'nobody'}: {played.ask.label}: {said}")
        if not terminal.live and done % _CALLS_PER_LINE == 0:
            terminal.line(f"  {done} calls made")

    return tell


async def _keep(terminal: Terminal, stage: Stage, interrupt: _Interrupt) -> None:
    """Leave everything running until Ctrl-C."""
    terminal.line()
    terminal.line(f"  dashboard        {stage.base_url}/dashboard")
    terminal.line(f"  OpenAI base URL  {stage.base_url}/v1")
    terminal.line(f"  Ollama host      {stage.base_url}")
    terminal.line(f"  admin token      in {stage.data_dir / 'admin-token'}")
    terminal.line("  Ctrl-C ends it")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not interrupt.came:
            raise
        interrupt.forgive()


class _Interrupt:
    """Turns the first SIGINT or SIGTERM into a cancellation of the demo; further ones change nothing."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self.came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupt)

    def _interrupt(self) -> None:
        if not self.came:
            self.came = True
            self._task.cancel()

    def forgive(self) -> None:
        """The interruption was expected: the demo goes on to its end."""
        self._task.uncancel()

    def disarm(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
