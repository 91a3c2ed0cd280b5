"""What the demo asks: the calls of a small RAG application about a library that lends tools.

Every text is made up. What may leave says so; what is declared or looks sensitive is there to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from sidecar.core.vocabulary import Arm, Complexity, DataClassification, Quality, TaskType

PASSAGES = (
    "The tool library lends drills, ladders and saws. A loan lasts three weeks and can be renewed twice.",
    "Tools are returned clean and dry at the desk. A late return costs nothing, but blocks the next loan.",
    "Ladders over four metres are lent to two people together, after a short talk about safe use.",
    "Repair evenings are held every second week. Bring the broken thing, stay and help to mend it.",
)
QUESTIONS = (
    "how long can i keep the drill",
    "what happens when i bring it back late",
    "can i borrow the long ladder alone",
    "when can i get my toaster mended",
    "do i have to clean the saw",
    "how often may i renew",
)

#: The specimen in the registry of account numbers: well formed, and nobody's.
_ACCOUNT = "DE89370400440532013000"


class Ask(msgspec.Struct, frozen=True):
    """One call of the workload.

    ``label`` is what the table calls it. ``arm`` is the arm whose sessions it shall come from, None for
    any. ``inputs`` make it an embedding call; else ``instructions`` and ``question`` make it a chat.
    """

    label: str
    task_type: TaskType
    question: str = ""
    instructions: str = ""
    inputs: tuple[str, ...] = ()
    arm: Arm | None = None
    classification: DataClassification | None = DataClassification.INTERNAL
    quality: Quality = Quality.MEDIUM
    complexity: Complexity = Complexity.LOW
    batch_size: int = 1
    max_tokens: int = 24
    stream: bool = False


def rewriting(number: int) -> Ask:
    """A session's first call, and the one by which its arm is learned."""
    return Ask(
        "rewrite the question",
        TaskType.GENERATION,
        f"Question: {QUESTIONS[number % len(QUESTIONS)]}",
        "Rewrite the question so that it can be searched for. One line.",
    )


def workload() -> tuple[Ask, ...]:
    """All other calls, the arms mixed."""
    return tuple(
        ask
        for each in (_extraction(), _grading(), _embedding(), _sensitive(), _quality(), _batch(), _critical())
        for ask in each
    )


def _extraction() -> Iterator[Ask]:
    for number in range(6):
        yield Ask(
            "extract entities",
            TaskType.EXTRACTION,
            PASSAGES[number % 4],
            "Extract the tools that are named. Answer with a short list.",
            arm=Arm.LEGACY if number == 5 else Arm.ROUTED,
            max_tokens=16,
        )


def _grading() -> Iterator[Ask]:
    for number in range(6):
        yield Ask(
            "grade a document",
            TaskType.EXTRACTION,
            f"Question: {QUESTIONS[number]}\nDocument: {PASSAGES[number % 4]}",
            "Grade: does the document answer the question? Yes or no.",
            arm=Arm.LEGACY if number == 5 else Arm.ROUTED,
            max_tokens=16,
        )


def _embedding() -> Iterator[Ask]:
    yield Ask("embed the passages", TaskType.EMBEDDING, inputs=PASSAGES, arm=Arm.ROUTED)
    yield Ask("embed a question", TaskType.EMBEDDING, inputs=QUESTIONS[:1], arm=Arm.ROUTED)
    yield Ask("embed a question", TaskType.EMBEDDING, inputs=QUESTIONS[1:2], arm=Arm.ROUTED)
    yield Ask("embed a question", TaskType.EMBEDDING, inputs=QUESTIONS[2:3], arm=Arm.LEGACY)


def _sensitive() -> Iterator[Ask]:
    letter = "Sum up in one line: the member with card number 0817 asks for a longer loan after an operation."
    for quality in (Quality.MEDIUM, Quality.CRITICAL):
        yield Ask(
            "summarise, declared pii",
            TaskType.SUMMARIZATION,
            letter,
            arm=Arm.ROUTED,
            classification=DataClassification.PII,
            quality=quality,
        )
    yield Ask(
        "summarise, a bank account in it",
        TaskType.SUMMARIZATION,
        f"Sum up in one line: the deposit for the saw goes back to {_ACCOUNT}.",
        arm=Arm.ROUTED,
        quality=Quality.CRITICAL,
    )


def _quality() -> Iterator[Ask]:
    for number in range(4):
        yield Ask(
            "summarise, high quality",
            TaskType.SUMMARIZATION,
            f"Summarise for a notice board: {PASSAGES[number]} {PASSAGES[(number + 1) % 4]}",
            arm=Arm.ROUTED,
            quality=Quality.HIGH,
            complexity=Complexity.MEDIUM,
            max_tokens=40,
        )


def _batch() -> Iterator[Ask]:
    for number in range(4):
        yield Ask(
            "extract, batch of 12",
            TaskType.EXTRACTION,
            PASSAGES[number],
            "Extract the rules that are named. Answer with a short list.",
            arm=Arm.ROUTED,
            batch_size=12,
        )


def _critical() -> Iterator[Ask]:
    for number in range(5):
        yield Ask(
            "answer with context, critical",
            TaskType.ANSWER_GENERATION,
            f"Context: {PASSAGES[number % 4]}\nQuestion: {QUESTIONS[number]}",
            "Answer from the context alone, in one sentence.",
            arm=Arm.LEGACY if number == 4 else Arm.ROUTED,
            classification=DataClassification.PUBLIC,
            quality=Quality.CRITICAL,
            max_tokens=48,
            stream=True,
        )
