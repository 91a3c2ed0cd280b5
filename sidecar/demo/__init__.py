"""`sidecar demo`: a RAG workload over a small real model and two scripted clouds."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``sidecar demo`` on ``parser``."""
    parser.add_argument(
        "--keep", action="store_true", help="leave it running afterwards, with its dashboard, until Ctrl-C"
    )
    parser.add_argument(
        "--ollama",
        action="store_true",
        help="use the running Ollama instead of the small model that comes along",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep the decisions there (default: forgotten at the end)",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="where the sidecar listens (default: any free port)"
    )
