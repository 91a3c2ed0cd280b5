"""``python -m benchmarks.privacy``: a table on the terminal, the same figures as JSON with ``--json``.

``--data FILE`` judges a gzipped JSON-lines file of ``text``, ``sensitive``, ``kinds``, ``lang`` too.
"""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path

import msgspec

from benchmarks.privacy.corpus import fields, generated, labelled, rewritten
from benchmarks.privacy.measure import Cost, Figures, KindFigures, cost, judged
from benchmarks.privacy.templates import TEST, TUNING
from benchmarks.privacy.values import Values


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.privacy", description=__doc__)
    parser.add_argument("--per-template", type=int, default=25, help="samples made of each template")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--data", type=Path, help="a labelled .jsonl.gz")
    parser.add_argument("--json", type=Path, help="where the figures are written as JSON")
    options = parser.parse_args()
    figures = {
        "tuning templates": judged(generated(TUNING, Values(options.seed), options.per_template)),
        "test templates": judged(generated(TEST, Values(options.seed + 1), options.per_template)),
    }
    # The same texts as programs rewrite them, a tenth as many of each, since there are many rewritings.
    few = max(1, options.per_template // 10)
    samples = chain(
        rewritten(generated(TEST, Values(options.seed + 2), few)),
        fields(Values(options.seed + 3), options.per_template),
    )
    figures["test templates, rewritten"] = judged(samples)
    if options.data is not None:
        figures[options.data.name] = judged(labelled(options.data))
    for title, part in figures.items():
        _print_figures(title, part)
    spent = cost()
    _print_cost(spent)
    if options.json is not None:
        options.json.write_bytes(
            msgspec.json.format(msgspec.json.encode({"figures": figures, "cost": spent}))
        )


def _print_figures(title: str, figures: Figures) -> None:
    print(f"\n== {title}: recall\n{'kind':22}{'n':>6}  {'SENSITIVE':24}{'not CLEAN':24}")
    for kind, row in figures.recall.items():
        _print_row(kind, row)
    print(f"\n== {title}: over-blocking\n{'class':22}{'n':>6}  {'SENSITIVE':24}{'not CLEAN':24}")
    for kind, row in figures.over_blocking.items():
        _print_row(kind, row)


def _print_row(kind: str, row: KindFigures) -> None:
    cells = []
    for share in (row.sensitive, row.not_clean):
        low, high = share.interval
        cells.append(f"{share.rate:7.2%} ({low:.1%} - {high:.1%})")
    print(f"{kind:22}{row.sensitive.total:6}  {cells[0]:26}{cells[1]:26}")


def _print_cost(spent: Cost) -> None:
    print(f"\n== cost, {spent.engine}, CPU per KB of text never seen (median, 99th percentile)")
    for size, (middle, high) in spent.us_per_kb.items():
        print(f"{size:>8}  {middle:6.0f} us  {high:6.0f} us")
    print(f"    seen  {spent.seen_us_per_kb:6.1f} us\nstart-up  {spent.build_cpu_ms:6.0f} ms CPU")
    print(f"  memory  {spent.memory_mb:6.1f} MB")


if __name__ == "__main__":
    main()
