"""A scripted upstream: a real HTTP server that speaks all three dialects, without a model behind it.

It stands in for clouds in ``sidecar demo`` and for every upstream in the tests: strict about what it is
sent, deterministic in what it answers, truthful about what it bills, and broken on command.

::

    python -m sidecar.demo.scripted_upstream --port 0 --name openai --models gpt-4o,gpt-4o-mini

prints ``{"ready": true, "port": N}`` when it listens. Beside the dialects it serves its own control:

``GET /_rig/log[?quiet_within_s=S]``  every request and what it cost; waits until none is under way
``POST /_rig/reset``                  forget requests and faults
``POST /_rig/faults``                 a list of rules to add (``scripted.faults.Rule``)
``DELETE /_rig/faults``               no more faults
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import signal
import sys
from functools import partial
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from sidecar.demo.child import when_parent_is_gone
from sidecar.demo.scripted.anthropic_dialect import AnthropicDialect
from sidecar.demo.scripted.delivery import Delivery, spoil
from sidecar.demo.scripted.faults import Fault, FaultBook, Rule
from sidecar.demo.scripted.models import Models
from sidecar.demo.scripted.ollama_dialect import OllamaDialect
from sidecar.demo.scripted.openai_dialect import OpenAIDialect
from sidecar.demo.scripted.reply import Inbound, Refusal, Reply, encode
from sidecar.demo.scripted.request_log import RequestLog
from sidecar.demo.scripted.script import Script, Style

BODY_BYTES_MAX = 256 * 1024 * 1024
_NO_FAULT = Fault()


class ScriptedServer:
    """Answers requests in the dialect of their path."""

    def __init__(
        self,
        script: Script,
        models: Models,
        log: RequestLog,
        *,
        require_key: str = "",
        header_faults: bool = False,
    ) -> None:
        self._openai = OpenAIDialect(script, models)
        self._ollama = OllamaDialect(script, models)
        self._anthropic = AnthropicDialect(script, models)
        self._log = log
        self._faults = FaultBook()
        self._require_key = require_key
        self._header_faults = header_faults
        self._numbers = itertools.count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, whatever it is."""
        if request.path.startswith("/_rig/"):
            return await self._control(request)
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return web.Response(text="Ollama is running")
        body = await request.read()
        headers = [(str(name), str(value)) for name, value in request.headers.items()]
        # Whoever stands in between asks this of itself; it is no part of what an app sends.
        log = RequestLog() if request.path == "/api/show" else self._log
        entry = log.receive(request.method, request.path_qs, headers, body)
        dialect = self._dialect(request.path)
        drawn = self._draw(request, body)
        fault = drawn or _NO_FAULT
        entry.fault = drawn
        try:
            self._authorize(request)
            reply = dialect.answer(Inbound(request.method, request.path, body, fault.usage or ""))
        except Refusal as refusal:
            reply = dialect.refuse(refusal)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Deep inside a request something is not of the type that it must be.
            reply = dialect.refuse(Refusal(400, "The request is not shaped as it must be."))
        else:
            reply = self._spoil(dialect, reply, fault)
        error = dialect.error_event(
            Refusal(500, "The server had an error while processing.", kind="server_error")
        )
        return await Delivery(request, reply, fault, log, entry).run(error)

    def _dialect(self, path: str) -> OpenAIDialect | OllamaDialect | AnthropicDialect:
        if path.startswith("/api/"):
            return self._ollama
        return self._anthropic if path.startswith("/v1/messages") else self._openai

    def _draw(self, request: web.BaseRequest, body: bytes) -> Fault | None:
        asked = request.headers.get("x-rig-fault") if self._header_faults else None
        if asked is not None:
            return msgspec.json.decode(asked, type=Fault)
        return self._faults.draw(request.path, body)

    def _authorize(self, request: web.BaseRequest) -> None:
        if not self._require_key or request.headers.get("Authorization") == f"Bearer {self._require_key}":
            return
        if request.path.startswith("/v1/messages"):
            if request.headers.get("x-api-key") != self._require_key:
                raise Refusal(401, "invalid x-api-key")
            if not request.headers.get("anthropic-version"):
                raise Refusal(400, "anthropic-version: header is required")
            return
        if request.path.startswith("/api/"):
            raise Refusal(401, "unauthorized")
        raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")

    def _spoil(
        self, dialect: OpenAIDialect | OllamaDialect | AnthropicDialect, reply: Reply, fault: Fault
    ) -> Reply:
        """The reply as the fault leaves it, with the headers that go with it; its true cost stays."""
        headers = [("x-request-id", f"req_scripted{next(self._numbers):08d}"), ("openai-processing-ms", "7")]
        if (refusal := fault.refusal) is not None:
            reply = msgspec.structs.replace(dialect.refuse(refusal), tokens=reply.tokens)
            if fault.retry_after is not None:
                headers.append(("Retry-After", str(fault.retry_after)))
            if fault.redirect is not None:
                headers.append(("Location", fault.redirect))
        return msgspec.structs.replace(spoil(reply, fault), headers=tuple(headers))

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.method, request.path:
            case "GET", "/_rig/log":
                quiet_within_s = float(request.query.get("quiet_within_s", "0"))
                return _control_reply(await self._log.read(quiet_within_s))
            case "POST", "/_rig/reset":
                self._log.reset()
                self._faults.clear()
            case "DELETE", "/_rig/faults":
                self._faults.clear()
            case "POST", "/_rig/faults":
                try:
                    self._faults.add(msgspec.json.decode(await request.read(), type=list[Rule]))
                except msgspec.MsgspecError as error:
                    return _control_reply({"error": str(error)}, status=400)
            case _:
                return _control_reply({"error": "no such control"}, status=404)
        return _control_reply({})


def _control_reply(value: object, status: int = 200) -> web.Response:
    return web.Response(body=encode(value), status=status, content_type="application/json")


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM, SIGINT, or the parent's end when that was asked for."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.exit_with_parent:
        when_parent_is_gone(lambda: loop.call_soon_threadsafe(stop.set))
    log = RequestLog(options.log)
    script = Script(options.name, Style(options.answer_style))
    server = ScriptedServer(
        script,
        Models(options.models),
        log,
        require_key=options.require_key,
        header_faults=options.header_faults,
    )
    runner = web.ServerRunner(
        web.Server(
            server.handle,
            request_factory=partial(web.BaseRequest, loop=loop, client_max_size=BODY_BYTES_MAX),
            handler_cancellation=True,
            access_log=None,
        ),
        shutdown_timeout=0.1,
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"ready": True, "port": port}), flush=True)
    await stop.wait()
    await runner.cleanup()
    log.close()


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="sidecar.demo.scripted_upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--name", default="openai", help="stands in the label of its answers")
    parser.add_argument("--models", default="*", help="comma-separated; *: any name")
    parser.add_argument("--answer-style", choices=[style.value for style in Style], default=Style.ECHO.value)
    parser.add_argument("--require-key", default="", help="refuse requests without this bearer token")
    parser.add_argument("--header-faults", action="store_true", help="obey the header x-rig-fault")
    parser.add_argument("--log", type=Path, help="append every request to this JSON lines file")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when stdin is closed")
    return parser.parse_args(arguments)


def main() -> None:
    """Run the server in this process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parse(sys.argv[1:])))


if __name__ == "__main__":
    main()
