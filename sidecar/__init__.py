"""Aegis Sidecar: one page for a newcomer.

A sidecar proxy that stands next to one RAG application and answers its LLM calls from one of three
tiers: local Ollama, Ollama Cloud, OpenAI. It decides call by call.

The words
---------
Call             one intercepted request; the original bytes stay with it
Hints            task type, data classification, quality, complexity, batch size: told or estimated
Verdict          the privacy gate's answer: SENSITIVE, UNKNOWN or CLEAN, with kinds and counts
MayLeave         the permit, minted only by the privacy gate, without which no off-box upstream acts
Arm              ``legacy`` (what the app did before) or ``routed`` (the tiers)
Plan             the ordered tiers to try with the reason for each, and the rejected ones with theirs
Hold, Settlement two-phase money: reserve the worst case, then post what was really used
Attempt          one try at one upstream
Outcome          one of the four endings
Decision record  the durable row of all this

The request line (``exchange.py`` reads like it)
------------------------------------------------
receive -> decode -> identify -> assign arm -> scan -> decide -> [hold -> attempt -> fold]* -> relay
-> settle -> record -> trace

The layers (``tests/project`` enforces them)
--------------------------------------------
``core`` and ``wire`` are pure: no I/O, no async, no clock, no randomness, no logging; clock and
randomness are arguments. ``upstreams``, ``storage``, ``telemetry``, ``settings`` and ``exchange``
import ``core``. ``endpoints`` import ``exchange``, ``wire`` and ``core``. The ``dashboard`` imports
``core`` and ``storage.reports`` and acts through the same services as the admin API. Only ``app.py``
sees all, and ``workers``, which spreads all that over processes for ``serve --workers``; what
``workers/worker.py`` joins needs neither the database nor a page. ``any_llm`` is imported in one module,
``aiosqlite`` only in ``storage``, ``opentelemetry`` only in ``telemetry``. The ``client`` is for apps: it
stands on the standard library and ``httpx``.
"""

__version__ = "0.1.0"
