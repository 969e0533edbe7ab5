"""The examples of docs/python.md run as they stand, against a server whose answers stand here."""

import re
from pathlib import Path

import pytest
from fakes.api import TOKEN, FakeApi
from homeport_protos.api.v1 import api_pb2

PAGE = Path(__file__).resolve().parents[3] / "docs" / "python.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
RUN = api_pb2.Run(id="1", name="hello", state="running", revision=1, newest_revision=1, rolled_out=True, url="http://x")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_an_example_runs(
    block: str, api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = api_pb2.Run(id="1", name="hello", state="terminated")
    entry = api_pb2.LogEntry(text=b"a line")
    api.answers |= {
        "CheckCode": api_pb2.CheckCodeResponse(code_id="c"),
        "Plan": api_pb2.PlanResponse(run_name="hello", action="create", offers=[api_pb2.Offer(host="gpu-1")]),
        "Apply": api_pb2.ApplyResponse(run_name="hello", run_id="1", revision=1),
        "ListRuns": api_pb2.ListRunsResponse(runs=[RUN]),
        "WatchRuns": [api_pb2.ListRunsResponse(runs=[RUN]), api_pb2.ListRunsResponse(runs=[ended])],
        "Logs": [api_pb2.LogsResponse(entries=[entry])],
        "StopRuns": api_pb2.StopRunsResponse(stopping=["hello"]),
        "Events": [api_pb2.EventsResponse(events=[api_pb2.Event(sentence="hello is stopped")])],
    }
    api.finish_streams = True
    monkeypatch.setenv("HOMEPORT_SERVER", api.address)
    monkeypatch.setenv("HOMEPORT_TOKEN", TOKEN)
    monkeypatch.setenv("HOMEPORT_CA", api.certificate.pem.decode())
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "hello.homeport.yml").write_text("type: service\nname: hello\n")
    monkeypatch.chdir(folder)
    exec(compile(block, str(PAGE), "exec"), {})  # noqa: S102
    assert api.requests("Apply")
    capsys.readouterr()


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) >= 4
