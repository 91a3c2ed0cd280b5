"""Estimates how hard a call is from its shape, for calls that do not say so themselves.

``shape_of`` counts what can be counted cheaply; ``estimate_complexity`` gives points for it:

===========================================================  ==========================================
material: all the text, or the context documents             0 to 3, the larger of the two
code in the text, or asked for                               2, and 3 when there is much of it
a JSON schema, or tools, that the answer must fit            2, and 3 for both or for many tools
words that ask for deep work (compare, analyse, prove)       2, and 3 for two different ones
deep work across two or more documents                       1
three or more steps                                          1
four or more constraints (only, must, unless)                1
three or more questions                                      1
a question after reasons (why, explain)                      1
a long answer is allowed for                                 1
light work (rewrite, grade, yes or no), or a short answer    2 less, unless the work is deep or code
===========================================================  ==========================================

From 2 points on a call is medium, from 4 high, from 8 very high. Very high sends calls to the dearest tier
and is meant to be rare, so it also takes much material (2 points) and two words that ask for deep work: an
agent with its tools, a long past and plenty of code stays high.

Words are looked for where instructions stand: at the beginning of the system prompt, and at both ends of
the last user message. They are known in English, German, French and Spanish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from sidecar.core.vocabulary import Complexity


class CallShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a call's form the estimate looks at.

    ``chars`` is the length of all texts in characters. ``documents`` counts the context documents.
    ``code_lines`` counts lines of code, and is 1 when code is asked for and none is there. ``deep``
    counts the different words that ask for deep work; ``steps``, ``constraints`` and ``questions`` what
    the instructions hold of each.
    """

    chars: int = 0
    documents: int = 0
    code_lines: int = 0
    deep: int = 0
    light: bool = False
    reasons: bool = False
    steps: int = 0
    constraints: int = 0
    questions: int = 0
    tools: int = 0
    has_schema: bool = False
    max_output_tokens: int | None = None


#: From how many points on a call is at each level.
_MEDIUM_POINTS, _HIGH_POINTS, _VERY_HIGH_POINTS = 2, 4, 8

#: From how many characters on the material scores 1, 2 and 3 points; about 750, 3,000 and 10,000 tokens.
_LENGTHS = (3_000, 12_000, 40_000)
#: The same in context documents.
_DOCUMENTS = (2, 3, 8)

_MUCH_CODE_LINES = 60
_MANY_TOOLS = 8
_LONG_ANSWER_TOKENS = 4_000
_SHORT_ANSWER_TOKENS = 32


def estimate_complexity(shape: CallShape) -> tuple[Complexity, str]:
    """How hard the call is, and why in words; the same shape always gives the same answer."""
    total = 0
    reasons = []
    for points, words in _score(shape):
        total += points
        reasons.append(words)
    return _level(total, shape), ", ".join(reasons) or "short and plain"


def _level(points: int, shape: CallShape) -> Complexity:
    if points < _MEDIUM_POINTS:
        return Complexity.LOW
    if points < _HIGH_POINTS:
        return Complexity.MEDIUM
    much = shape.chars >= _LENGTHS[1] or shape.documents >= _DOCUMENTS[1]
    if points >= _VERY_HIGH_POINTS and much and shape.deep >= 2:
        return Complexity.VERY_HIGH
    return Complexity.HIGH


def _score(shape: CallShape) -> Iterator[tuple[int, str]]:
    """The points and the words for each thing that counts."""
    length = sum(shape.chars >= limit for limit in _LENGTHS)
    documents = sum(shape.documents >= limit for limit in _DOCUMENTS)
    if length > documents:
        yield length, f"{shape.chars:,} characters of text"
    elif documents:
        yield documents, f"{shape.documents} context documents"
    if shape.code_lines:
        yield (3, "much code") if shape.code_lines >= _MUCH_CODE_LINES else (2, "code")
    if shape.tools:
        yield 3 if shape.has_schema or shape.tools >= _MANY_TOOLS else 2, f"{shape.tools} tools"
    elif shape.has_schema:
        yield 2, "an answer by schema"
    if shape.deep:
        yield 2 if shape.deep == 1 else 3, "deep work"
        if shape.documents >= _DOCUMENTS[0]:
            yield 1, "across documents"
    if shape.steps >= 3:
        yield 1, f"{shape.steps} steps"
    if shape.constraints >= 4:
        yield 1, f"{shape.constraints} constraints"
    if shape.questions >= 3:
        yield 1, f"{shape.questions} questions"
    if shape.reasons:
        yield 1, "reasons asked for"
    limit = shape.max_output_tokens
    if limit is not None and limit >= _LONG_ANSWER_TOKENS:
        yield 1, "a long answer"
    short = limit is not None and limit <= _SHORT_ANSWER_TOKENS
    if (shape.light or short) and not shape.deep and not shape.code_lines:
        yield -2, "light work" if shape.light else "a short answer"


def shape_of(
    parts: Sequence[tuple[str, str]], tools: int, has_schema: bool, max_output_tokens: int | None
) -> CallShape:
    """The shape of a call made of ``parts``: its texts in order, each as (role, text).

    ``tools`` is the number of tools on offer, ``has_schema`` whether the answer must fit a JSON schema,
    ``max_output_tokens`` the limit the app named, if any.
    """
    chars = sum(len(text) for _, text in parts)
    asked = _instructions(parts)
    words = _KNOWN.intersection(asked.lower().translate(_PUNCTUATION).split())
    # Past this length the material scores full points by itself, and looking on would only take time.
    texts = [text for _, text in parts] if chars < _LENGTHS[-1] else [asked]
    code_lines = _code_lines(texts)
    if not code_lines and words & _CODE_VERBS and words & _CODE_NOUNS:
        code_lines = 1
    return CallShape(
        chars=chars,
        documents=_documents(texts, announced=bool(words & _CONTEXT)),
        code_lines=code_lines,
        deep=len(words & _DEEP) + (len(words & _DEEP_ON_CODE) if code_lines else 0),
        light=bool(words & _LIGHT) or any(pair <= words for pair in _LIGHT_PAIRS),
        reasons=bool(words & _REASONS),
        steps=len(_LIST_ITEM.findall(asked)) + len(words & _SEQUENCE),
        constraints=len(words & _CONSTRAINTS),
        questions=asked.count("?"),
        tools=tools,
        has_schema=has_schema,
        max_output_tokens=max_output_tokens,
    )


#: How many characters are looked at for instructions.
_SYSTEM_HEAD, _USER_HEAD, _USER_TAIL = 400, 300, 400


def _instructions(parts: Sequence[tuple[str, str]]) -> str:
    """The places where people write what they want, each after a newline."""
    system = next((text for role, text in parts if role in ("system", "developer")), "")
    last = len(parts)
    while last and parts[last - 1][0] != "user":
        last -= 1
    first = last
    while first and parts[first - 1][0] == "user":
        first -= 1
    user = "\n".join(text for _, text in parts[first:last])
    if len(user) > _USER_HEAD + _USER_TAIL:
        user = f"{user[:_USER_HEAD]}\n{user[-_USER_TAIL:]}"
    return f"\n{system[:_SYSTEM_HEAD]}\n{user}"


def _documents(texts: Sequence[str], *, announced: bool) -> int:
    """The marked documents; if a context is announced and none is marked, its paragraphs, at most 5.

    A document may carry several marks (its number, its source): the most frequent kind counts.
    """
    marks = [mark for text in texts for mark in _DOCUMENT_MARK.findall("\n" + text)]
    marked = max((marks.count(kind) for kind in set(marks)), default=0)
    if marked >= 2 or not announced:
        return marked
    return max(min(5, text.count("\n\n")) for text in texts)


def _code_lines(texts: Sequence[str]) -> int:
    """Lines within code fences; without fences, about twice the lines that begin as only code does."""
    lines = 0
    for text in texts:
        if text.count("`") >= 6:
            lines += sum(1 + block.count("\n") for block in text.split("```")[1::2])
        else:
            begins = len(_CODE_LINE.findall(text))
            lines += 2 * begins if begins >= 3 else 0
    return lines


# Each pattern begins with a plain newline, so that a search jumps from line to line.
_LIST_ITEM = re.compile(r"\n(?:[-*•]|\d\d?[.)]) ")
_CODE_LINE = re.compile(
    r"\n *(?:def |async def |class |import |from \w+ import |return\b|raise |elif |except\b|if \(|for \("
    r"|for \w+ in |while \(|const |let |var |function |func |fn |public |private |#include|SELECT |self\.)"
)
_DOCUMENT_MARK = re.compile(
    r"\n[#*= ]*(<doc(?:ument)?\b|\[(?=\d)|Source:|Quelle:|Fuente:"
    r"|(?:Document|document|Doc|Dokument|Documento|Passage|Chunk|Excerpt)(?= ?#?\d))"
)
_PUNCTUATION = str.maketrans(dict.fromkeys(".,;:!?()[]{}\"'*`/<>|¿¡«»„“”’", " "))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEEP = _words("""
    compare contrast analyze analyse evaluate assess critique prove derive design architect reconcile
    synthesize synthesise contradictions trade-offs tradeoffs implications
    vergleiche vergleichen analysiere analysieren bewerte bewerten beurteile entwirf beweise widersprüche
    comparez analysez évalue évaluez concevez démontrez synthétisez
    compara comparar analiza analizar evalúa evaluar diseña demuestra contradicciones
""")
_DEEP_ON_CODE = _words("""
    review debug refactor optimize optimise vulnerabilities prüfe überprüfe optimiere
    vérifie vérifiez optimisez revisa optimiza refactoriza
""")
_LIGHT = _words("""
    rewrite rephrase reformulate paraphrase classify grade label translate standalone
    formuliere umformulieren klassifiziere übersetze
    reformule reformulez classifie classez traduis traduisez
    reformula reescribe clasifica traduce
""")
_LIGHT_PAIRS = tuple(map(_words, ("yes no", "true false", "ja nein", "oui non", "sí no")))
_REASONS = _words("""
    why explain warum wieso weshalb erkläre erklären pourquoi explique expliquez explica
""")
_SEQUENCE = _words("""
    first second third then next finally zuerst dann danach anschließend schließlich
    ensuite puis enfin primero luego después finalmente
""")
_CONSTRAINTS = _words("""
    must only never always unless except without exactly least most cite
    muss müssen nur ohne mindestens höchstens außer genau
    doit doivent seulement sans sauf moins debe deben solo sin salvo exactamente
""")
_CODE_VERBS = _words("""
    write implement create fix debug refactor schreibe implementiere écris écrivez implémente
    escribe implementa
""")
_CODE_NOUNS = _words("""
    code python javascript typescript java rust golang sql regex bash function script unittest
    funktion skript fonction función código
""")
_CONTEXT = _words("context documents passages excerpts kontext dokumente contexte contexto documentos")
_KNOWN = frozenset().union(
    *(_DEEP, _DEEP_ON_CODE, _LIGHT, *_LIGHT_PAIRS, _REASONS, _SEQUENCE, _CONSTRAINTS),
    *(_CODE_VERBS, _CODE_NOUNS, _CONTEXT),
)
