"""Whatever is sent: valid calls reach an upstream of their dialect whole, others get their dialect's error.

One sidecar and its event loop serve all examples of a test, for starting one takes longer than a hundred.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.core.vocabulary import DOORS, Dialect, Operation
from tests.rig.serving import Serve, ServedSidecar
from tests.rig.upstream import ScriptedUpstream
from tests.rig.world import PUBLIC

HEADERS = {**PUBLIC, "anthropic-version": "2023-06-01"}
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

#: Words without digits or marks: what looks like personal data stays at home, and so arrives nowhere.
words = st.text('abc déß日本\\"\n\t☕', min_size=1, max_size=20).filter(str.strip)
numbers = st.integers(-9, 99) | st.floats(0, 1, width=16)
futures = st.dictionaries(
    st.from_regex(r"x_[a-z]{1,6}", fullmatch=True),
    st.recursive(
        st.none() | st.booleans() | numbers | words,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2)
        ),
        max_leaves=6,
    ),
    max_size=2,
)
schema = st.just({"type": "object", "properties": {"a": {"type": "string"}}})


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda each: {key: value for part in each for key, value in part.items()})


def turns(text: Callable[[str], st.SearchStrategy[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A user's and an assistant's turns in order, ending with the user's."""

    def turn(role: str) -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({"role": st.just(role), "content": text(role)})

    past = st.lists(st.tuples(turn("user"), turn("assistant")), max_size=2)
    return st.tuples(past, turn("user")).map(
        lambda each: [message for pair in each[0] for message in pair] + [each[1]]
    )


def in_parts(kind: str) -> st.SearchStrategy[Any]:
    part = st.fixed_dictionaries({"type": st.just(kind), "text": words})
    return words | st.lists(part, min_size=1, max_size=3)


sampling = optional(
    temperature=st.floats(0, 1, width=16), top_p=st.floats(0, 1, width=16), stream=st.booleans()
)
options = optional(seed=st.integers(0, 99), top_k=st.integers(1, 50), stop=st.lists(words, max_size=2))
function = st.fixed_dictionaries({"name": st.sampled_from(["f", "look_up"]), "parameters": schema})
wrapped = st.lists(
    st.fixed_dictionaries({"type": st.just("function"), "function": function}), min_size=1, max_size=2
)
VALID: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "/v1/chat/completions": joined(
        st.fixed_dictionaries({"messages": turns(lambda _: in_parts("text"))}),
        sampling,
        optional(
            n=st.integers(1, 2),
            seed=st.integers(0, 99),
            user=words,
            tools=wrapped,
            max_tokens=st.integers(1, 30),
        ),
        futures,
    ),
    "/v1/completions": joined(
        st.fixed_dictionaries({"prompt": words | st.lists(words, min_size=1, max_size=2)}),
        sampling,
        optional(max_tokens=st.integers(1, 30), n=st.integers(1, 2), echo=st.booleans()),
        futures,
    ),
    "/v1/responses": joined(
        st.fixed_dictionaries(
            {"input": words | turns(lambda role: in_parts("input_text" if role == "user" else "output_text"))}
        ),
        sampling,
        optional(instructions=words, max_output_tokens=st.integers(16, 30), user=words),
        futures,
    ),
    "/v1/messages": joined(
        st.fixed_dictionaries(
            {"messages": turns(lambda _: in_parts("text")), "max_tokens": st.integers(1, 30)}
        ),
        sampling,
        optional(system=in_parts("text"), top_k=st.integers(1, 9), metadata=st.just({"user_id": "u"})),
        futures,
    ),
    "/api/chat": joined(
        st.fixed_dictionaries({"messages": turns(lambda _: words)}),
        optional(
            stream=st.booleans(), options=options, format=schema, tools=wrapped, keep_alive=st.just("9m")
        ),
        futures,
    ),
    "/api/generate": joined(
        st.fixed_dictionaries({"prompt": words}),
        optional(stream=st.booleans(), options=options, system=words, raw=st.booleans()),
        futures,
    ),
}
#: The tier that relays each dialect, and the model that it is asked for.
RELAYS = {
    "/v1/chat/completions": ("openai", "gpt-4o"),
    "/v1/completions": ("openai", "gpt-3.5-turbo-instruct"),
    "/v1/responses": ("openai", "gpt-4o"),
    "/v1/messages": ("anthropic", "claude-x"),
    "/api/chat": ("local_ollama", "llama3.2"),
    "/api/generate": ("local_ollama", "llama3.2"),
}
#: What the sidecar itself sets where the caller has not.
_SET_HERE = ("max_tokens", "max_completion_tokens", "max_output_tokens", "stream_options")


class Line:
    """A sidecar of its own process, its upstreams, and a client with a loop that lasts for all examples."""

    def __init__(self, sidecar: ServedSidecar, upstreams: dict[str, ScriptedUpstream]) -> None:
        self._upstreams = upstreams
        self._http = httpx.Client(base_url=sidecar.base, timeout=30, trust_env=False, headers=HEADERS)
        self._runner = asyncio.Runner()

    def post(self, path: str, body: bytes) -> httpx.Response:
        return self._http.post(path, content=body, headers={"content-type": "application/json"})

    def asked(self, tier: str) -> list[dict[str, Any]]:
        """The bodies that the tier's upstream was sent since the last time."""
        upstream = self._upstreams[tier]
        entries = self._runner.run(upstream.log())
        self._runner.run(upstream.reset())
        return [msgspec.json.decode(entry.body) for entry in entries]

    def close(self) -> None:
        self._http.close()
        self._runner.close()


@pytest.fixture
def line(
    serve: Serve, upstream_processes: tuple[ScriptedUpstream, ScriptedUpstream, ScriptedUpstream]
) -> Iterator[Line]:
    local, cloud, openai = upstream_processes
    tier = {
        "provider": "anthropic",
        "base_url": openai.url,
        "api_key": "openai-key",
        "models": {"default": "claude-x"},
    }
    changes = {
        "tiers": {"anthropic": {**tier, "price": {"usd_per_1k_tokens": 0.01}}},
        "rollout": {"percent": 100},
    }
    sidecar = serve("fuzz", changes)
    upstreams = {"local_ollama": local, "ollama_cloud": cloud, "openai": openai, "anthropic": openai}
    one = Line(sidecar, upstreams)
    for name in upstreams:
        one.asked(name)
    yield one
    one.close()


@pytest.mark.parametrize("path", VALID)
def test_a_valid_call_arrives_whole(line: Line, path: str) -> None:
    tier, model = RELAYS[path]

    @EXAMPLES
    @given(VALID[path], st.booleans())
    def one(fields: dict[str, Any], spaced: bool) -> None:
        body = {"model": f"{tier}/{model}", **fields}
        separators = (" , ", " : ") if spaced else (",", ":")
        response = line.post(path, json.dumps(body, ensure_ascii=spaced, separators=separators).encode())
        assert response.status_code == 200, response.text
        assert response.headers["x-sidecar-tier"] == tier
        (asked,) = line.asked(tier)
        for name in _SET_HERE:
            if name not in fields:
                asked.pop(name, None)
        assert asked == {**body, "model": model}

    one()


TRANSLATED = {
    "openai": "openai/gpt-4o",
    "ollama_cloud": "ollama_cloud/gpt-oss:120b",
    "anthropic": "anthropic/claude-x",
}


@pytest.mark.parametrize("path", VALID)
def test_a_valid_call_is_answered_or_refused_by_name_elsewhere(line: Line, path: str) -> None:
    dialect = DOORS[path].dialect

    @EXAMPLES
    @given(VALID[path], st.sampled_from(sorted(TRANSLATED)))
    def one(fields: dict[str, Any], tier: str) -> None:
        response = line.post(path, json.dumps({"model": TRANSLATED[tier], **fields}).encode())
        assert response.status_code in (200, 400), response.text
        if response.status_code == 400:
            check_error(response, dialect)
            return
        *_, asked = line.asked(response.headers["x-sidecar-tier"])
        arrived = "\n".join(texts_in(asked))
        for name in ("messages", "prompt", "input", "system", "instructions"):
            for text in texts_in(fields.get(name)):
                assert text in arrived

    one()


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for key in value:
            if isinstance(value, list):
                yield from texts_in(key)
            elif key not in ("role", "type"):
                yield from texts_in(value[key])


json_values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("path", DOORS)
def test_whatever_else_is_sent_gets_the_dialects_error(line: Line, path: str) -> None:
    door = DOORS[path]
    valid = VALID.get(path, VALID["/v1/messages"])

    @EXAMPLES
    @given(
        valid,
        st.data(),
        st.sampled_from(["auto", "openai/gpt-4o", "anthropic/claude-x", "local_ollama/llama3.2"]),
    )
    def one(fields: dict[str, Any], data: st.DataObject, model: str) -> None:
        broken = {"model": model, "input": "x", **fields}
        for name in data.draw(st.lists(st.sampled_from(sorted(broken)), min_size=1, max_size=2, unique=True)):
            broken[name] = data.draw(json_values)
        body = json.dumps(broken).encode()
        if data.draw(st.booleans()):
            body = body[: data.draw(st.integers(0, len(body)))]
        response = line.post(path, body)
        assert response.status_code < 500 or response.status_code == 503, (body, response.text)
        if response.status_code >= 400:
            check_error(response, door.dialect)
        elif door.operation is not Operation.EMBEDDINGS:
            assert response.content

    one()


def check_error(response: httpx.Response, dialect: Dialect) -> None:
    """The body is an error in the dialect's own shape."""
    fields = response.json()
    if dialect is Dialect.OLLAMA:
        assert set(fields) == {"error"}
        assert isinstance(fields["error"], str)
    elif dialect is Dialect.ANTHROPIC:
        assert fields["type"] == "error"
        assert {"type", "message"} <= set(fields["error"])
    else:
        assert {"message", "type", "param", "code"} <= set(fields["error"])
        assert fields.get("type") is None
