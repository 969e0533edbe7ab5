"""The messages of an upload: what a server needs to take them, and that a changed file is never sent as what it was."""

import hashlib
import os
from pathlib import Path

import pytest
from homeport.code.bundle import Bundle, gather
from homeport.code.upload import messages, missing_bytes
from homeport.errors import Invalid
from homeport_protos.api.v1.api_pb2 import UploadCodeRequest
from homeport_protos.code import CHUNK_BYTES

LARGE = os.urandom(2 * CHUNK_BYTES + 5)
CONTENTS = [LARGE, b"small", b"", b"x" * CHUNK_BYTES]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    for number, data in enumerate(CONTENTS):
        (tmp_path / str(number)).write_bytes(data)
    made = gather(str(tmp_path / "x.yml"), [], repo=True)
    assert made is not None
    return made


def test_each_missing_content_comes_whole_in_pieces_that_the_wire_takes(bundle: Bundle) -> None:
    sent: list[int] = []
    wanted = [sha256(data) for data in CONTENTS]
    pieces = list(messages(bundle, "c0de", wanted, sent.append))
    assert [piece.code_id for piece in pieces] == ["c0de"] + [""] * (len(pieces) - 1)
    assert max(len(piece.data) for piece in pieces) == CHUNK_BYTES
    assert [(piece.sha256, len(piece.data), piece.last) for piece in pieces] == [
        (wanted[0], CHUNK_BYTES, False),
        (wanted[0], CHUNK_BYTES, False),
        (wanted[0], 5, True),
        (wanted[1], 5, True),
        (wanted[2], 0, True),
        (wanted[3], CHUNK_BYTES, True),
    ]
    assert b"".join(piece.data for piece in pieces) == b"".join(CONTENTS)
    assert sum(sent) == missing_bytes(bundle, wanted) == sum(map(len, CONTENTS))


def test_only_what_is_missing_is_sent(bundle: Bundle) -> None:
    assert list(messages(bundle, "c", [sha256(b"small")])) == [
        UploadCodeRequest(sha256=sha256(b"small"), data=b"small", last=True, code_id="c")
    ]
    assert list(messages(bundle, "c", [])) == []


@pytest.mark.parametrize("change", ["other bytes", "shorter", "gone"])
def test_a_file_that_changes_after_it_was_hashed_ends_the_upload_before_its_last_piece(
    bundle: Bundle, tmp_path: Path, change: str
) -> None:
    match change:
        case "other bytes":
            (tmp_path / "0").write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
        case "shorter":
            (tmp_path / "0").write_bytes(LARGE[:-1])
        case _:
            (tmp_path / "0").unlink()
    sent: list[UploadCodeRequest] = []
    with pytest.raises(Invalid, match=r"/0 changed while it was read; run the command again"):
        sent.extend(messages(bundle, "c", [sha256(LARGE)]))
    assert not any(piece.last for piece in sent)


def test_what_a_log_has_grown_by_is_not_sent(bundle: Bundle, tmp_path: Path) -> None:
    with (tmp_path / "1").open("ab") as file:
        file.write(b" and more")
    (piece,) = messages(bundle, "c", [sha256(b"small")])
    assert (piece.data, piece.last) == (b"small", True)
