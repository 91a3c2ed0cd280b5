"""The ``sidecar`` command: serve, demo, check, scan."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sidecar import __version__

USAGE_EXIT = 2
WORKERS_MAX = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 when all is well, 2 for bad usage or configuration."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Routes one app's LLM calls: privacy first, hard budget caps, staged rollout.",
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="start the sidecar")
    serve.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML configuration (default: the built-in one)"
    )
    serve.add_argument(
        "--workers",
        type=_count,
        default=1,
        metavar="N",
        help="processes that serve calls (default: 1); each takes one core's load, see docs/workers.md",
    )
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", help="check a configuration and say what it means")
    check.add_argument("file", type=Path, nargs="?", metavar="FILE", help="default: the built-in one")
    check.set_defaults(run=_check)

    scan = commands.add_parser("scan", help="try the privacy gate on a text")
    scan.add_argument("file", metavar="FILE", help="a text file, or - for standard input")
    scan.add_argument(
        "--config", type=Path, metavar="FILE", help="whose privacy settings (default: built-in)"
    )
    scan.add_argument("--show", action="store_true", help="print the values found, on your own terminal")
    scan.set_defaults(run=_scan)

    demo = commands.add_parser("demo", help="see it work: no keys, no Ollama needed")
    _add_demo_arguments(demo)
    demo.set_defaults(run=_demo)
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= WORKERS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {WORKERS_MAX}")
    return int(text)


# The commands import what they need when they run, so that `--version` and `check` stay instant.


def _serve(arguments: argparse.Namespace) -> int:
    from sidecar.pattern_compiler import pattern_compiler

    # The import of the server takes as long as the compiling: they run side by side.
    with pattern_compiler() as patterns:
        from sidecar.server import leave, serve

        code = serve(arguments.config, os.environ, patterns, arguments.workers)
    return leave(code)


def _check(arguments: argparse.Namespace) -> int:
    from sidecar.settings import run_check

    return run_check(arguments.file, os.environ, sys.stdout, sys.stderr)


def _scan(arguments: argparse.Namespace) -> int:
    from sidecar.privacy_desk import print_scan
    from sidecar.settings import SettingsError, load_settings

    try:
        settings = load_settings(arguments.config, os.environ)
        text = (
            sys.stdin.read() if arguments.file == "-" else Path(arguments.file).read_text("utf-8", "replace")
        )
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE_EXIT
    except OSError as error:
        sys.stderr.write(f"{arguments.file}: {error.strerror}\n")
        return USAGE_EXIT
    return print_scan(settings.privacy, arguments.file, text, show=arguments.show, out=sys.stdout)


def _add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    from sidecar.demo import add_arguments

    add_arguments(parser)


def _demo(arguments: argparse.Namespace) -> int:
    from sidecar.demo.command import run_demo

    return asyncio.run(run_demo(arguments))


if __name__ == "__main__":
    sys.exit(main())
