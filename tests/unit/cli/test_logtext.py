import base64
import json

from homeport_cli.logtext import LogText, json_line
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


def replica(replica_id: str, revision: int, index: int = 0) -> api_pb2.LogEntry:
    return api_pb2.LogEntry(text=b"a", replica=index, replica_id=replica_id, revision=revision)


def test_two_of_the_same_index_are_told_apart_by_their_revision() -> None:
    text = LogText(timestamps=False, several=False)
    lines = [text.line(replica("r1", 1)), text.line(replica("r2", 2)), text.line(replica("r1", 1))]
    assert lines == [b"a\n", b"[0 r2] a\n", b"[0 r1] a\n"]


def test_two_of_the_same_index_and_revision_are_told_apart_by_their_id() -> None:
    text = LogText(timestamps=False, several=False)
    text.line(replica("3f9a1c77", 1))
    assert text.line(replica("bb00aa11", 1)) == b"[0 bb00aa] a\n"
    assert text.line(replica("3f9a1c77", 1)) == b"[0 3f9a1c] a\n"
    assert text.line(replica("cc", 4, index=1)) == b"[1] a\n"


def test_prefixes_are_coloured_by_their_index_on_a_terminal() -> None:
    text = LogText(timestamps=False, several=True, colour=True)
    first, second = text.line(entry(b"a", 0)), text.line(entry(b"a", 1))
    assert first == b"\x1b[36m[0]\x1b[0m a\n"
    assert second.endswith(b"[1]\x1b[0m a\n")
    assert first[:5] != second[:5]


def test_an_object_holds_the_line_and_where_it_is_from() -> None:
    row = api_pb2.LogEntry(text="é\t".encode(), replica=1, replica_id="r1", revision=3, stream="stderr", timestamp="T")
    assert json.loads(json_line(row)) == {
        "replica": 1, "replica_id": "r1", "revision": 3, "stream": "stderr", "timestamp": "T", "text": "é\t",
    }  # fmt: skip
    assert json_line(row).endswith(b"}\n")


def test_bytes_that_are_no_text_are_in_an_object_too() -> None:
    found = json.loads(json_line(entry(b"\xff\x00")))
    assert base64.b64decode(found["text_base64"]) == b"\xff\x00"
    assert found["text"] == "�\x00"
