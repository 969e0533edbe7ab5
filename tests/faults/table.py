"""docs/reliability.md, made of the promises and of what their tests measured.

PYTHONPATH=tests python -m faults.table             writes it
PYTHONPATH=tests python -m faults.table --check     writes nothing, exits 1 when it is stale (tests/house looks too)
"""

import json
import sys
from collections.abc import Iterator, Mapping
from operator import itemgetter
from pathlib import Path

from faults.measure import RESULTS, Measured
from faults.promises import ABSENT, PROMISES, of
from faults.words import Promise, Struck

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
INTRODUCTION = Path(__file__).with_name("introduction.md")
MADE = "<!-- Made by tests/faults/table.py of tests/faults/results. Do not edit. -->\n"


def results(folder: Path = RESULTS) -> dict[str, Measured]:
    return {path.stem: Measured(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))}


def page(measured: Mapping[str, Measured]) -> str:
    lines = [MADE, INTRODUCTION.read_text()]
    for struck in Struck:
        lines += [f"## The {struck}\n", "| fault | promise | measured |", "|---|---|---|"]
        lines += [_row(promise, measured.get(promise.key)) for promise in of(struck)]
        lines.append("")
        absent = [it for it in ABSENT if it.struck is struck]
        if absent:
            lines += [f"- — {', '.join(it.faults)}: {it.why}" for it in absent]
            lines.append("")
    return "\n".join(lines)


def _row(promise: Promise, measured: Measured | None) -> str:
    fault = f"{promise.fault}: {promise.variant}" if promise.variant else str(promise.fault)
    words = promise.words + (f". {promise.note}" if promise.note else "")
    return f"| {fault} | {words} | {'; '.join(_numbers(measured)) if measured else 'not yet'} |"


def _numbers(it: Measured) -> Iterator[str]:
    yield f"{it.failed} of {it.requests} plain requests failed" if it.failed else f"0 of {it.requests} requests failed"
    if it.broken:
        yield f"{it.broken} POSTs and streams cut"
    yield f"longest silence {it.silent_s:g} s"
    yield from (f"{what} after {after_s:g} s" for what, after_s in sorted(it.times_s.items(), key=itemgetter(1)))
    yield f"{it.day}, {it.commit}"


def main() -> None:
    text = page(results())
    unknown = set(results()) - set(PROMISES)
    if unknown:
        sys.exit(f"results without a promise: {', '.join(sorted(unknown))}; remove them or add the promise")
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text() != text:
            sys.exit("docs/reliability.md is stale; run: PYTHONPATH=tests .venv/bin/python -m faults.table")
        return
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
