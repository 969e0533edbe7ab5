from homeport_cli.logtext import LogText
from homeport_protos.api.v1 import api_pb2


def entry(text: bytes, replica: int = 0) -> api_pb2.LogEntry:
    return api_pb2.LogEntry(text=text, replica=replica, timestamp="2026-11-23T10:00:00.123456789Z")


def test_bytes_of_one_replica_go_through_as_they_are() -> None:
    text = LogText(timestamps=False, several=False)
    assert text.line(entry(b"\xff\x1b[31m [x]")) == b"\xff\x1b[31m [x]\n"


def test_a_line_that_brings_its_end_gets_no_second_one() -> None:
    assert LogText(timestamps=False, several=False).line(entry(b"a\n")) == b"a\n"


def test_several_replicas_are_told_apart_by_their_index() -> None:
    assert LogText(timestamps=False, several=True).line(entry(b"a", 3)) == b"[3] a\n"


def test_a_second_replica_that_appears_later_begins_the_prefixes() -> None:
    text = LogText(timestamps=False, several=False)
    lines = [text.line(entry(b"a", 0)), text.line(entry(b"b", 1)), text.line(entry(b"c", 0))]
    assert lines == [b"a\n", b"[1] b\n", b"[0] c\n"]


def test_the_time_stands_between_prefix_and_line() -> None:
    line = LogText(timestamps=True, several=True).line(entry(b"a"))
    assert line == b"[0] 2026-11-23T10:00:00.123456789Z a\n"
