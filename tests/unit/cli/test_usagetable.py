"""cli/usagetable: totals as a table."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli.usagetable import usage
from homeport_protos.api.v1 import api_pb2
from rich.console import Console, RenderableType


def lines(shown: RenderableType) -> list[list[str]]:
    console = Console(width=200, no_color=True)
    with console.capture() as captured:
        console.print(shown)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in captured.get().splitlines()]


ROW = api_pb2.UsageRow(
    token_id="3f9a",
    token_name="ci",
    service="llm",
    model="llama",
    requests=1200,
    prompt_tokens=5000,
    completion_tokens=7,
)


def test_a_row_for_each_and_one_for_all() -> None:
    open_row = api_pb2.UsageRow(service="web", requests=1)
    total = api_pb2.UsageRow(requests=1201, prompt_tokens=5000, completion_tokens=7)
    shown = lines(usage(api_pb2.UsageResponse(rows=[ROW, open_row], total=total), ["token", "service", "model"]))
    assert shown == [
        ["TOKEN", "SERVICE", "MODEL", "REQUESTS", "PROMPT TOKENS", "COMPLETION TOKENS", "TOKENS"],
        ["ci", "llm", "llama", "1,200", "5,000", "7", "5,007"],
        ["(no token)", "web", "-", "1", "0", "0", "0"],
        ["all", "1,201", "5,000", "7", "5,007"],
    ]


def test_one_row_needs_no_sum_and_a_token_that_is_gone_shows_its_id() -> None:
    row = api_pb2.UsageRow(token_id="3f9a", requests=1)
    assert lines(usage(api_pb2.UsageResponse(rows=[row], total=row), ["token"]))[1:] == [["3f9a", "1", "0", "0", "0"]]


@pytest.mark.parametrize(("by", "cell"), [("hour", "2026-01-01 13:00"), ("day", "2026-01-01")])
def test_times_are_in_utc(by: str, cell: str) -> None:
    row = api_pb2.UsageRow(requests=1, **{"from": Timestamp(seconds=1767225600 + 13 * 3600)})  # type: ignore[arg-type]
    assert lines(usage(api_pb2.UsageResponse(rows=[row], total=row), [by]))[1][0] == cell


def test_nothing_and_what_is_not_whole_is_said() -> None:
    assert lines(usage(api_pb2.UsageResponse(note="not whole"), ["token"])) == [["Nothing was called."], ["not whole"]]
    shown = lines(usage(api_pb2.UsageResponse(rows=[ROW], total=ROW, note="not whole"), ["model"]))
    assert shown[-1] == ["not whole"]
