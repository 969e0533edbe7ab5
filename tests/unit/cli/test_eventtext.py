"""eventtext: a head once, then a line for each event, in columns that stay."""

import json

from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli.eventtext import EventText, json_lines
from homeport_protos.api.v1 import api_pb2


def an_event(number: int = 1, name: str = "web", sentence: str = "web is running") -> api_pb2.Event:
    return api_pb2.Event(
        id=number, at=Timestamp(seconds=1_700_000_000), kind="run", name=name, actor="user ann", cause_id="3f0c9a6be21d",
        sentence=sentence,
    )  # fmt: skip


def test_the_head_comes_with_the_first_event_and_once() -> None:
    text = EventText()
    assert text.lines([]) == []
    head, line = text.lines([an_event()])
    assert head.split() == ["TIME", "OBJECT", "ACTOR", "CAUSE", "WHAT", "HAPPENED"]
    assert line.index("web is running") == head.index("WHAT HAPPENED")
    assert line.split("  ")[1] == "run web"
    (again,) = text.lines([an_event(2)])
    assert again == line


def test_columns_grow_for_a_long_name_and_never_shrink() -> None:
    text = EventText()
    *_, short, long = text.lines([an_event(), an_event(2, "a-very-long-name-of-a-service")])
    assert short.index("user ann") == long.index("user ann")
    (later,) = text.lines([an_event(3)])
    assert later == short


def test_json_is_one_object_on_one_line_with_the_apis_names() -> None:
    (line,) = json_lines([an_event(7, sentence="two\nlines")])
    assert "\n" not in line
    found = json.loads(line)
    assert (found["id"], found["cause_id"], found["object_id"], found["sentence"]) == (
        "7",
        "3f0c9a6be21d",
        "",
        "two\nlines",
    )
