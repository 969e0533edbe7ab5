"""Code against a server whose answers stand here: the row of the plan, and what is sent and said."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from fakes.api import TOKEN, FakeApi
from homeport import Client, Error, Invalid, Prepared, Refused
from homeport_cli import sending
from homeport_cli.context import Terminal
from homeport_protos.api.v1 import api_pb2
from rich.console import Console

Make = Callable[[dict[str, bytes]], Prepared]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def calls(api: FakeApi) -> Iterator[Client]:
    api.answers["UploadCode"] = api_pb2.UploadCodeResponse()
    with Client(api.address, token=TOKEN, ca=api.certificate.pem.decode()) as made:
        yield made


@pytest.fixture
def prepared(calls: Client, tmp_path: Path) -> Make:
    def make(files: dict[str, bytes]) -> Prepared:
        (tmp_path / "p").mkdir(exist_ok=True)
        for name, data in files.items():
            (tmp_path / "p" / name).write_bytes(data)
        (tmp_path / "p" / "x.homeport.yml").write_text("type: service\nname: x\n")
        return calls.prepare(tmp_path / "p")

    return make


def screen(*, is_terminal: bool = False) -> Terminal:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=100)
    return Terminal(out=console, err=console, interactive=False)


def said(terminal: Terminal) -> str:
    assert isinstance(terminal.err.file, io.StringIO)
    return terminal.err.file.getvalue()


def answer(api: FakeApi, *missing: bytes) -> None:
    api.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c0de", missing_sha256=map(sha256, missing))


def test_the_row_says_what_goes_along_and_what_is_left_to_send(api: FakeApi, prepared: Make, tmp_path: Path) -> None:
    files = {"a": b"a" * 1000, "b": b"b" * 2000, "c": b""}

    def row() -> str:
        code = prepared(files).code
        assert code is not None
        return sending.row(code)

    answer(api, b"a" * 1000)
    assert row() == f"3 files, 3kB from {tmp_path / 'p'} (1 file, 1kB to upload)"
    answer(api)
    assert row() == f"3 files, 3kB from {tmp_path / 'p'} (nothing to upload)"


def test_a_refusal_of_the_server_is_told_with_its_reasons(api: FakeApi, prepared: Make) -> None:
    api.answers["CheckCode"] = api_pb2.CheckCodeResponse(problems=["a: is\x1bodd"])
    with pytest.raises(Invalid, match="the server does not take the code of") as caught:
        prepared({"a": b""})
    assert caught.value.details == ("  a: is\\x1bodd",)


def test_a_server_that_asks_for_what_is_not_there_gets_nothing(api: FakeApi, prepared: Make) -> None:
    answer(api, b"other")
    with pytest.raises(Error, match="the server asks for 1 content that this code has not"):
        prepared({"a": b""})


def test_only_what_is_missing_is_sent_and_one_line_says_so(api: FakeApi, calls: Client, prepared: Make) -> None:
    answer(api, b"new")
    terminal = screen()
    sending.send(calls, terminal, prepared({"a": b"old", "b": b"new"}))
    assert api.requests("UploadCode") == [
        [api_pb2.UploadCodeRequest(code_id="c0de", sha256=sha256(b"new"), data=b"new", last=True)]
    ]
    assert said(terminal) == "Uploading 1 file, 3B\n"


def test_nothing_missing_is_no_upload_and_no_word(api: FakeApi, calls: Client, prepared: Make) -> None:
    answer(api)
    terminal = screen()
    sending.send(calls, terminal, prepared({"a": b"old"}))
    assert api.requests("UploadCode") == []
    assert said(terminal) == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_large_upload_shows_its_progress_on_a_terminal_only(
    api: FakeApi, calls: Client, prepared: Make, is_terminal: bool
) -> None:
    large = os.urandom(3_000_000)
    answer(api, large)
    terminal = screen(is_terminal=is_terminal)
    sending.send(calls, terminal, prepared({"a": large}))
    (sent,) = api.requests("UploadCode")
    assert b"".join(piece.data for piece in sent) == large
    if is_terminal:
        assert "3.0/3.0 MB" in said(terminal)
        assert "Uploaded 1 file, 3MB" in said(terminal)
    else:
        assert said(terminal) == "Uploading 1 file, 3MB\n"


def test_a_file_that_changes_meanwhile_is_its_own_error_and_the_server_sees_no_end(
    api: FakeApi, calls: Client, prepared: Make, tmp_path: Path
) -> None:
    answer(api, b"before")
    made = prepared({"a": b"before"})
    (tmp_path / "p" / "a").write_bytes(b"after!")
    with pytest.raises(Invalid, match=r"/a changed while it was read"):
        sending.send(calls, screen(), made)
    assert not [piece for pieces in api.requests("UploadCode") for piece in pieces]


def test_a_server_that_breaks_off_is_one_line_with_its_reason(api: FakeApi, calls: Client, prepared: Make) -> None:
    answer(api, b"x" * 2_000_000)
    api.answers["UploadCode"] = (grpc.StatusCode.FAILED_PRECONDITION, "the disk is full;\nfree some space")
    made = prepared({"a": b"x" * 2_000_000})
    with pytest.raises(Refused, match=r"^the disk is full; free some space$"):
        sending.send(calls, screen(), made)
