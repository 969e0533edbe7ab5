"""api/code: what a sender may send, what is refused in words, and that nothing of a wrong content stays."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from fixtures.code import manifest, pieces, sha256, stream
from fixtures.control import State
from fixtures.plane import Plane, refusal
from homeport_control.api.code import UPLOADS_AT_ONCE, CodeApi, code_size, files_of
from homeport_control.domain.errors import BadRequest, Conflict, HomeportError, NotReady
from homeport_control.store.code import CodeStore
from homeport_protos.api.v1 import api_pb2
from homeport_protos.code import CHUNK_BYTES, MAX_ENTRIES, code_id
from homeport_protos.common.v1 import code_pb2

APP, LARGE, EMPTY = b"print('hello')\n", b"\1" * (2 * CHUNK_BYTES + 5), b""
FILES = {"app.py": APP, "data/large.bin": LARGE, "empty": EMPTY, "copy.py": APP}
Piece = api_pb2.UploadCodeRequest


@pytest.fixture
def store(tmp_path: Path) -> CodeStore:
    return CodeStore(tmp_path / "code", keep_free_bytes=0)


@pytest.fixture
def api(store: CodeStore) -> CodeApi:
    return CodeApi(store, silence_s=5.0)


async def check(api: CodeApi, asked: code_pb2.CodeManifest) -> api_pb2.CheckCodeResponse:
    return await api.check(api_pb2.CheckCodeRequest(manifest=asked))


def kept(tmp_path: Path) -> list[str]:
    return sorted(os.listdir(tmp_path / "code" / "contents")) + os.listdir(tmp_path / "code" / "incoming")


async def test_only_what_is_missing_is_asked_for_and_each_content_once(api: CodeApi, store: CodeStore) -> None:
    checked = await check(api, manifest(FILES))
    assert checked.code_id == code_id(manifest(FILES))
    assert list(checked.missing_sha256) == sorted(map(sha256, (APP, LARGE, EMPTY)))
    await api.upload(stream(pieces(checked.code_id, (LARGE, EMPTY, APP))))
    assert list((await check(api, manifest(FILES))).missing_sha256) == []
    kept = await files_of(store, checked.code_id)
    assert kept is not None
    assert {place: file.size for place, file in kept.items()} == {f"/workflow/{p}": len(d) for p, d in FILES.items()}
    assert await code_size(store, checked.code_id) == 2 * len(APP) + len(LARGE)
    changed = await check(api, manifest({**FILES, "app.py": b"new"}))
    assert list(changed.missing_sha256) == [sha256(b"new")]


async def test_an_upload_of_nothing_is_done(api: CodeApi) -> None:
    assert await api.upload(stream([])) == api_pb2.UploadCodeResponse()


async def test_a_manifest_that_is_not_in_order_is_refused_and_not_kept(api: CodeApi, tmp_path: Path) -> None:
    checked = await check(api, manifest({"../x": APP}))
    assert (list(checked.problems), checked.code_id) == (["'../x' is no path inside the folder"], "")
    assert not (tmp_path / "code").exists()


def hostile(good: str) -> dict[str, tuple[list[Piece], str]]:
    app, large = sha256(APP), sha256(LARGE)
    return {
        "wrong hash": ([Piece(code_id=good, sha256=app, data=b"x" * len(APP), last=True)], "is not what its hash says"),
        "too long": ([Piece(code_id=good, sha256=app, data=APP + b"!", last=True)], "has more than its 15 bytes"),
        "too short": ([Piece(code_id=good, sha256=app, data=APP[:-1], last=True)], "ended after 14 of 15 bytes"),
        "never ending": (
            [Piece(code_id=good, sha256=app, data=b"x")] + [Piece(sha256=app, data=b"x")] * 100,
            "has more than its 15 bytes",
        ),
        "not of this code": ([Piece(code_id=good, sha256=sha256(b"?"), data=b"?", last=True)], "none of this code's"),
        "no hash": ([Piece(code_id=good, sha256="../../x", data=b"?", last=True)], "none of this code's"),
        "twice": (
            [Piece(code_id=good, sha256=app, data=APP, last=True), Piece(sha256=app, data=APP, last=True)],
            "or it came before",
        ),
        "broken off by another": (
            [Piece(code_id=good, sha256=app, data=APP[:3]), Piece(sha256=large, data=b"x")],
            "was broken off by another one",
        ),
        "ends within": ([Piece(code_id=good, sha256=app, data=APP[:3])], "the upload ended within the content"),
        "empty pieces": ([Piece(code_id=good, sha256=app)], "an empty piece that is not its last"),
        "large pieces": (
            [Piece(code_id=good, sha256=large, data=LARGE[: CHUNK_BYTES + 1])],
            f"a piece has {CHUNK_BYTES + 1} bytes",
        ),
        "of no code": ([Piece(sha256=app, data=APP, last=True)], "is not known to the server"),
        "a path as code": ([Piece(code_id="../x", sha256=app, data=APP, last=True)], "is not known to the server"),
    }


@pytest.mark.parametrize("kind", hostile(""))
async def test_a_hostile_upload_is_refused_in_words_and_nothing_of_it_stays(
    api: CodeApi, tmp_path: Path, kind: str
) -> None:
    messages, words = hostile((await check(api, manifest(FILES))).code_id)[kind]
    with pytest.raises(HomeportError, match=words) as caught:
        await api.upload(stream(messages))
    assert isinstance(caught.value, BadRequest | Conflict)
    assert kept(tmp_path) == ([sha256(APP)] if kind == "twice" else [])


async def test_what_came_whole_before_a_wrong_one_need_not_be_sent_again(api: CodeApi) -> None:
    checked = await check(api, manifest(FILES))
    messages = [*pieces(checked.code_id, (APP,)), Piece(sha256=sha256(EMPTY), data=b"!", last=True)]
    with pytest.raises(BadRequest):
        await api.upload(stream(messages))
    assert sha256(APP) not in (await check(api, manifest(FILES))).missing_sha256


async def silent_after(messages: list[Piece]) -> AsyncIterator[Piece]:
    for message in messages:
        yield message
    await asyncio.Event().wait()


async def test_a_sender_that_falls_silent_is_told_so(store: CodeStore, tmp_path: Path) -> None:
    api = CodeApi(store, silence_s=0.05)
    checked = await check(api, manifest(FILES))
    with pytest.raises(NotReady, match=r"nothing came for 0\.05 s; run the command again, it goes on"):
        await api.upload(silent_after(pieces(checked.code_id, (LARGE,))[:1]))
    assert kept(tmp_path) == []


async def test_an_upload_has_an_end_however_slow_it_is(store: CodeStore, tmp_path: Path) -> None:
    api = CodeApi(store, upload_s=0.05)
    checked = await check(api, manifest(FILES))
    with pytest.raises(NotReady, match=r"took more than 0\.05 s"):
        await api.upload(silent_after(pieces(checked.code_id, (LARGE,))[:1]))
    assert kept(tmp_path) == []


async def test_two_uploads_of_the_same_at_once_both_succeed(api: CodeApi, store: CodeStore) -> None:
    checked = await check(api, manifest(FILES))
    sent = pieces(checked.code_id, (LARGE, APP, EMPTY))
    await asyncio.gather(api.upload(stream(sent)), api.upload(stream(sent)))
    assert await store.missing(checked.code_id) == 0


async def test_so_many_uploads_at_once_and_no_more(api: CodeApi) -> None:
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(api.upload(silent_after([]))) for _ in range(UPLOADS_AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match=f"{UPLOADS_AT_ONCE} uploads are under way"):
            await api.upload(stream([]))
        for task in waiting:
            task.cancel()
    assert await api.upload(stream([])) == api_pb2.UploadCodeResponse()


async def test_code_that_is_not_whole_cannot_be_applied(api: CodeApi, store: CodeStore) -> None:
    assert await code_size(store, "") == 0
    with pytest.raises(Conflict, match="is not known to the server"):
        await code_size(store, "0" * 64)
    checked = await check(api, manifest(FILES))
    await api.upload(stream(pieces(checked.code_id, (APP,))))
    with pytest.raises(Conflict, match="2 files of the code have not arrived yet"):
        await code_size(store, checked.code_id)


async def test_the_largest_manifest_that_is_allowed_passes_the_wire(plane: Plane, state: State) -> None:
    files = {f"{index // 500:04}/a-file-with-quite-a-long-name-{index:05}.py": b"" for index in range(MAX_ENTRIES)}
    checked = manifest(files)
    for index, entry in enumerate(checked.trees[0].entries):
        entry.sha256 = f"{index:064x}"
    async with plane.api("hp_admin") as api:
        answer = await api("CheckCode", api_pb2.CheckCodeRequest(manifest=checked))
    assert (list(answer.problems), len(answer.missing_sha256)) == ([], MAX_ENTRIES)


async def test_code_is_sent_over_the_wire_and_a_refusal_is_one_line(plane: Plane) -> None:
    async with plane.api("hp_admin") as api:
        checked = await api("CheckCode", api_pb2.CheckCodeRequest(manifest=manifest(FILES)))
        wrong = Piece(code_id=checked.code_id, sha256=sha256(APP), data=APP, last=False)
        code, words = await refusal(api("UploadCode", iter([wrong])))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "ended within" in words
        await api("UploadCode", iter(pieces(checked.code_id, (LARGE, APP, EMPTY))))
        again = await api("CheckCode", api_pb2.CheckCodeRequest(manifest=manifest(FILES)))
    assert list(again.missing_sha256) == []
