"""A LangGraph app with OpenTelemetry of its own: its spans, ours and what the upstreams see are one trace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypedDict, cast

import httpx
import pytest
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr

from tests.rig.otlp import OtlpReceiver, ReceivedSpan
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import CRITICAL, PUBLIC, RunningSidecar, World

QUESTION = "How long may a tool be lent?"


class State(TypedDict, total=False):
    """What goes from node to node."""

    question: str
    found: list[float]
    answer: str


class App:
    """The app: an embedding, then a streamed answer, each node a span, its HTTP client instrumented."""

    def __init__(self, sidecar: RunningSidecar) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._tracer = provider.get_tracer("the app")
        self._http = httpx.AsyncClient(trust_env=False)
        HTTPXClientInstrumentor.instrument_client(self._http, tracer_provider=provider)
        base, key = f"{sidecar.base}/v1", SecretStr("unused")
        self._chat = ChatOpenAI(
            base_url=base,
            api_key=key,
            model="auto",
            default_headers=CRITICAL,
            streaming=True,
            http_async_client=self._http,
            max_retries=0,
        )
        self._embeddings = OpenAIEmbeddings(
            base_url=base,
            api_key=key,
            model="nomic-embed-text",
            default_headers=PUBLIC,
            check_embedding_ctx_length=False,
            http_async_client=self._http,
            max_retries=0,
        )
        graph = StateGraph(State)
        graph.add_node("retrieve", self._retrieve)
        graph.add_node("answer", self._answer)
        graph.add_edge(START, "retrieve")
        graph.add_edge("retrieve", "answer")
        graph.add_edge("answer", END)
        self._graph = graph.compile()

    async def _retrieve(self, state: State) -> State:
        with self._tracer.start_as_current_span("retrieve"):
            return {"found": await self._embeddings.aembed_query(state["question"])}

    async def _answer(self, state: State) -> State:
        with self._tracer.start_as_current_span("answer"):
            pieces = [piece.content async for piece in self._chat.astream(state["question"])]
            return {"answer": "".join(str(piece) for piece in pieces)}

    async def ask(self, question: str) -> State:
        with self._tracer.start_as_current_span("ask", kind=trace.SpanKind.SERVER):
            state: Any = await self._graph.ainvoke({"question": question})
        return cast(State, state)

    async def aclose(self) -> None:
        await self._http.aclose()

    def spans(self, name: str) -> list[ReadableSpan]:
        """The app's spans of a name, oldest first."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
async def app(world: World, receiver: OtlpReceiver) -> AsyncIterator[App]:
    """The app on a sidecar that exports to ``receiver``."""
    app = App(await world.sidecar())
    yield app
    await app.aclose()


async def told(upstream: ScriptedUpstream) -> str:
    """The trace context that the upstream got with its only request."""
    (entry,) = await upstream.log()
    (value,) = [value for name, value in entry.headers if name.lower() == "traceparent"]
    return value


async def test_its_spans_are_the_parents_of_ours_and_ours_of_the_upstreams(
    world: World, receiver: OtlpReceiver, app: App
) -> None:
    await world.openai.fault(status=503)
    state = await app.ask(QUESTION)
    assert state["answer"].startswith("How long")
    assert state["found"]
    (root,) = app.spans("ask")
    assert root.context is not None
    trace_id = f"{root.context.trace_id:032x}"

    def whole() -> bool:
        return sum(span.kind == "SERVER" for span in receiver.spans) == 2

    await receiver.until(whole)
    ours = receiver.spans
    assert {span.trace_id for span in ours} == {trace_id}
    servers = [span for span in ours if span.kind == "SERVER"]
    assert [span.name for span in servers] == ["POST /v1/embeddings", "POST /v1/chat/completions"]
    # Above: the app's HTTP span, its node, its root.
    for server, node in zip(servers, ("retrieve", "answer"), strict=True):
        (http,) = [span for span in app.spans("POST") if span_id(span) == server.parent_id]
        (above,) = app.spans(node)
        assert parent_id(http) == span_id(above)
        assert parent_id(above) == span_id(root)
        assert server.flags == 0x301, "sampled, and its parent is another process's"
    # Below: each attempt was told of the CLIENT span that stands for it.
    clients = {str(span.attributes["sidecar.tier"]): span for span in ours if span.kind == "CLIENT"}
    chat = [span for span in ours if span.kind == "CLIENT" and span.parent_id == servers[1].span_id]
    assert [span.attributes["sidecar.tier"] for span in chat] == ["openai", "ollama_cloud"]
    assert chat[0].failed
    for tier, upstream in (
        ("openai", world.openai),
        ("ollama_cloud", world.cloud),
        ("local_ollama", world.local),
    ):
        assert await told(upstream) == context_of(clients[tier])


async def test_a_trace_that_the_app_does_not_keep_is_not_kept_here(
    world: World, receiver: OtlpReceiver
) -> None:
    sidecar = await world.sidecar()
    headers = {**PUBLIC, "traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    for _ in range(2):
        response = await sidecar.http.post(
            "/v1/embeddings", json={"model": "auto", "input": "a"}, headers=headers
        )
        assert response.status_code == 200
    await world.aclose()
    assert receiver.spans == []
    told = [
        value for entry in await world.local.log() for name, value in entry.headers if name == "traceparent"
    ]
    assert len(told) == 2
    assert all(value.startswith(f"00-{'a' * 32}-") and value.endswith("-00") for value in told)


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_id(span: ReadableSpan) -> str:
    assert span.parent is not None
    return f"{span.parent.span_id:016x}"


def context_of(span: ReceivedSpan) -> str:
    return f"00-{span.trace_id}-{span.span_id}-01"
