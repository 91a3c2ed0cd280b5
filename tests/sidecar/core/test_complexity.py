"""The estimator's table of examples, written so that an operator can agree or disagree with each row."""

from __future__ import annotations

import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.complexity import CallShape, estimate_complexity, shape_of
from sidecar.core.vocabulary import Complexity

LOW, MEDIUM, HIGH, VERY_HIGH = Complexity

#: About 600 characters of prose, as a retriever returns it.
PARAGRAPH = (
    "Returns are accepted within thirty days of delivery when the goods are unused and in their original "
    "packaging. The carrier's receipt counts as proof of the date on which the parcel was handed over. "
    "Refunds are made by the means of payment that was used for the order, usually within five working days "
    "after the goods have come back to the warehouse in Leipzig. Shipping charges for the return are borne "
    "by the customer if the value of the order was below forty euros. Goods made to measure, opened software "
    "and hygiene articles are excluded from the right of return, as are gift cards once they have been used."
)
FUNCTION = '''def settle(hold, usage, price):
    """Post what was used and release the rest."""
    cost = price.input * usage.input_tokens + price.output * usage.output_tokens
    if cost > hold.amount:
        raise Overrun(hold, cost)
    for entry in hold.entries:
        entry.close()
    return Settlement(hold.id, cost)
'''
RAG_SYSTEM = (
    "You are an assistant for question-answering tasks. Use the following pieces of retrieved context to "
    "answer the question. If you don't know the answer, just say that you don't know. Use three sentences "
    "maximum and keep the answer concise."
)


def numbered(count: int, paragraphs: int = 1) -> str:
    return "\n\n".join(f"Document {n}: " + "\n".join([PARAGRAPH] * paragraphs) for n in range(1, count + 1))


def rag(question: str, documents: int) -> str:
    return f"Context:\n{numbered(documents)}\n\nQuestion: {question}\nAnswer:"


def user(text: str) -> list[tuple[str, str]]:
    return [("user", text)]


def asked(system: str, text: str) -> list[tuple[str, str]]:
    return [("system", system), ("user", text)]


Row = tuple[str, Complexity, list[tuple[str, str]], dict[str, object]]

EXAMPLES: list[Row] = [
    # What every chat does.
    ("a greeting", LOW, user("Hello there!"), {}),
    ("a question of fact", LOW, user("What is the capital of France?"), {}),
    ("a question of fact in German", LOW, user("Wann wurde die Firma gegründet?"), {}),
    ("a question after a reason, nothing else", LOW, user("Why is the sky blue?"), {}),
    ("a how-to", LOW, user("How do I reset my password?"), {}),
    ("no text at all", LOW, [], {}),
    # The steps of a RAG application.
    (
        "rewriting a question so that it stands alone",
        LOW,
        asked(
            "Given the chat history and the latest user question, reformulate it as a standalone question.",
            "User: what is your return policy?\nAssistant: Thirty days.\nUser: and for software?",
        ),
        {},
    ),
    (
        "rewriting a question with a long chat history",
        LOW,
        asked(
            "Rewrite the last question as a standalone question.", f"{PARAGRAPH}\n" * 6 + "And for software?"
        ),
        {},
    ),
    (
        "several versions of a question for retrieval",
        LOW,
        user("Generate five different versions of this question for a vector search: Who pays for returns?"),
        {},
    ),
    (
        "grading one document for relevance",
        LOW,
        asked(
            "You are a grader assessing relevance of a retrieved document to a user question. Give a binary "
            "score 'yes' or 'no'.",
            f"Retrieved document:\n\n{PARAGRAPH}\n\nUser question: who pays for returns?",
        ),
        {},
    ),
    (
        "grading a long document for relevance",
        LOW,
        user(f"Is this document about refunds? Answer yes or no.\n\n{PARAGRAPH * 8}"),
        {},
    ),
    (
        "classifying a ticket",
        LOW,
        user(f"Classify this ticket as billing, shipping or other:\n{PARAGRAPH}"),
        {},
    ),
    (
        "choosing a route with a one-token answer",
        LOW,
        user(f"Which collection fits the question best, A, B or C?\n{PARAGRAPH * 6}"),
        {"max_output_tokens": 4},
    ),
    ("a title for a chat", LOW, user(f"Give this conversation a short title:\n{PARAGRAPH}"), {}),
    ("a summary of one paragraph", LOW, user(f"Summarize:\n{PARAGRAPH}"), {}),
    ("a translation of a paragraph", LOW, user(f"Übersetze ins Englische:\n{PARAGRAPH}"), {}),
    ("an answer from one context document", LOW, asked(RAG_SYSTEM, rag("Who pays for returns?", 1)), {}),
    ("an answer from five context documents", MEDIUM, asked(RAG_SYSTEM, rag("Who pays?", 5)), {}),
    ("the same, asking why", MEDIUM, asked(RAG_SYSTEM, rag("Why are gift cards excluded?", 5)), {}),
    (
        "an answer from five documents that carry no marks",
        MEDIUM,
        asked(f"{RAG_SYSTEM}\n\n" + "\n\n".join([PARAGRAPH] * 5), "Who pays for returns?"),
        {},
    ),
    (
        "an answer from documents in XML",
        MEDIUM,
        user("\n".join(f"<document index='{n}'>{PARAGRAPH}</document>" for n in range(4)) + "\nWho pays?"),
        {},
    ),
    (
        "an answer with numbered citations",
        MEDIUM,
        asked("Cite your sources.", "\n".join(f"[{n}] {PARAGRAPH}" for n in range(1, 5)) + "\nWho pays?"),
        {},
    ),
    (
        "an answer from French documents",
        MEDIUM,
        user(f"Contexte :\n\n{PARAGRAPH}\n\n{PARAGRAPH}\n\n{PARAGRAPH}\n\nPourquoi cette exclusion ?"),
        {},
    ),
    ("extracting entities by schema", MEDIUM, user(f"Extract all names.\n{PARAGRAPH}"), {"has_schema": True}),
    ("extracting from one line by schema", MEDIUM, user("Order 12 from Ann"), {"has_schema": True}),
    ("a summary of a long report", MEDIUM, user(f"Summarize the report:\n{PARAGRAPH * 25}"), {}),
    ("a chat over many turns", MEDIUM, [("user", PARAGRAPH), ("assistant", PARAGRAPH)] * 12, {}),
    # Tools and code.
    ("a question with tools on offer", MEDIUM, user("What is the weather in Rome?"), {"tools": 3}),
    ("writing a small function", MEDIUM, user("Write a Python function that parses an ISO date."), {}),
    ("writing a query, in Spanish", MEDIUM, user("Escribe una función que ordene la lista."), {}),
    (
        "rewriting a function is code, not light work",
        MEDIUM,
        user(f"Rewrite in Rust:\n```\n{FUNCTION}```"),
        {},
    ),
    ("explaining a short function", MEDIUM, user(f"Explain this:\n```python\n{FUNCTION}```"), {}),
    ("a short function, not fenced", MEDIUM, user(f"What does this do?\n{FUNCTION}"), {}),
    ("an agent's turn with many tools and a long past", HIGH, user(PARAGRAPH * 6), {"tools": 12}),
    ("refactoring a function", HIGH, user(f"Refactor this function.\n```\n{FUNCTION}```"), {}),
    ("a review of long code", HIGH, user("Review this module.\n```python\n" + FUNCTION * 20 + "```"), {}),
    # Work that takes thought.
    ("comparing two things one knows", MEDIUM, user("Compare PostgreSQL and MySQL."), {}),
    ("deep work with a one-word answer", MEDIUM, user("Evaluate: a monarchy? Say yes or no."), {}),
    ("comparing two documents", HIGH, user(f"Compare the two policies.\n{numbered(2)}"), {}),
    ("comparing five documents", HIGH, user(f"Compare the policies.\n{numbered(5)}"), {}),
    ("comparing in German", HIGH, user(f"Vergleiche die Verträge.\n{numbered(3)}"), {}),
    ("comparing in French", HIGH, user(f"Comparez les contrats.\n{numbered(3)}"), {}),
    ("comparing in Spanish", HIGH, user(f"Compara los contratos.\n{numbered(3)}"), {}),
    (
        "a plan in steps with an explanation of each",
        MEDIUM,
        user("Explain how to move:\n1. the data\n2. the users\n3. the mail\n4. the backups"),
        {},
    ),
    (
        "a legal analysis under many constraints over many documents",
        VERY_HIGH,
        asked(
            "You are a lawyer. Cite every clause. Never guess. Use only the documents, without exception.",
            "Analyze the contracts, assess the risks and reconcile contradictions.\n"
            f"{numbered(20, paragraphs=2)}\n"
            "1. List the liability clauses.\n2. Compare them.\n3. Name gaps.\n4. Propose wording.",
        ),
        {"max_output_tokens": 8_000},
    ),
    (
        "a coding agent with its tools, a long past and plenty of code",
        HIGH,
        [
            ("system", "You are a coding agent."),
            ("user", f"Fix the tests.\n```\n{FUNCTION * 40}```\n{PARAGRAPH * 30}"),
        ],
        {"tools": 20, "has_schema": True, "max_output_tokens": 8_000},
    ),
    (
        "research over many sources in steps, with tools",
        VERY_HIGH,
        user(
            f"Evaluate and contrast the studies, then explain why they differ.\n{numbered(12)}\n"
            "1. methods\n2. data\n3. results"
        ),
        {"tools": 2},
    ),
]


@pytest.mark.parametrize(("what", "level", "parts", "form"), EXAMPLES, ids=[row[0] for row in EXAMPLES])
def test_an_operator_agrees(
    what: str, level: Complexity, parts: list[tuple[str, str]], form: dict[str, object]
) -> None:
    facts = {"tools": 0, "has_schema": False, "max_output_tokens": None, **form}
    shape = shape_of(parts, **facts)  # type: ignore[arg-type]
    estimated, why = estimate_complexity(shape)
    assert estimated is level, f"{what}: {why} ({shape})"


def test_the_reasons_are_words_a_person_can_check() -> None:
    parts = user(f"Compare the policies, then say why they differ.\n{numbered(5)}")
    assert estimate_complexity(shape_of(parts, 2, False, None)) == (
        Complexity.HIGH,
        "5 context documents, 2 tools, deep work, across documents, reasons asked for",
    )
    assert estimate_complexity(shape_of(user("Hi"), 0, False, None))[1] == "short and plain"


SHAPES = st.builds(
    CallShape,
    chars=st.integers(0, 100_000),
    documents=st.integers(0, 30),
    code_lines=st.integers(0, 300),
    deep=st.integers(0, 4),
    light=st.booleans(),
    reasons=st.booleans(),
    steps=st.integers(0, 9),
    constraints=st.integers(0, 9),
    questions=st.integers(0, 9),
    tools=st.integers(0, 20),
    has_schema=st.booleans(),
    max_output_tokens=st.none() | st.integers(1, 20_000),
)


@given(SHAPES)
def test_very_high_takes_much_material_and_deep_work(shape: CallShape) -> None:
    level, _ = estimate_complexity(shape)
    if level is VERY_HIGH:
        assert shape.deep >= 2
        assert shape.chars >= 12_000 or shape.documents >= 3


@given(SHAPES, st.sampled_from(["chars", "documents", "code_lines", "deep", "steps", "tools"]))
def test_more_of_anything_is_never_easier(shape: CallShape, field: str) -> None:
    more = msgspec.structs.replace(shape, **{field: getattr(shape, field) * 2 + 1})
    assert estimate_complexity(more)[0].rank >= estimate_complexity(shape)[0].rank


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=300)), max_size=6
    )
)
def test_any_text_has_a_shape_and_always_the_same_one(parts: list[tuple[str, str]]) -> None:
    shape = shape_of(parts, 0, False, None)
    assert shape == shape_of(list(parts), 0, False, None)
    assert shape.chars == sum(len(text) for _, text in parts)


def test_only_the_instructions_are_searched_for_words_of_deep_work() -> None:
    middle = user(f"Who pays?\n{PARAGRAPH * 2} Compare and analyze. {PARAGRAPH * 2}\nWho pays?")
    assert shape_of(middle, 0, False, None).deep == 0
    tail = user(f"{PARAGRAPH * 4}\nCompare, analyze.")
    assert shape_of(tail, 0, False, None).deep == 2


def test_the_last_user_message_counts_even_when_tools_have_answered_since() -> None:
    parts = [
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Compare them"),
        ("assistant", ""),
        ("tool", "42"),
    ]
    assert shape_of(parts, 1, False, None).deep == 1
    assert (
        shape_of([("user", "Compare them"), ("assistant", "Done"), ("user", "Thanks")], 0, False, None).deep
        == 0
    )


def test_a_very_long_prompt_costs_no_more_than_a_moment() -> None:
    parts = user(f"{PARAGRAPH}\n" * 2_000)
    started = time.process_time()
    for _ in range(20):
        shape_of(parts, 0, False, None)
    assert (time.process_time() - started) / 20 < 0.02
