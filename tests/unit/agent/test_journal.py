import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from fakes.agent import assignment, container, replica
from fixtures.threads import busy_threads
from homeport_agent.journal import Journal, decode, encode
from homeport_agent.machine import without_secrets
from homeport_agent.model import (
    DoorWish,
    EdgeHost,
    EdgeWish,
    GatewayRole,
    History,
    JournalEntry,
    Probe,
    ReachTarget,
    RegistryAuth,
    TunnelTo,
    Volume,
)

WHOLE = replica(
    env=(("TOKEN", "hunter2"),),
    registry_auth=RegistryAuth("me", "hunter3"),
    entrypoint=("sh",),
    command=("-c", "serve"),
    gpu_uuids=("GPU-1",),
    code_id="c" * 64,
    code_bytes=5,
    volumes=(Volume("/a", "/b", True),),
    probes=(
        Probe("/plain"),
        Probe("/h", headers=(("Authorization", "hunter4"),), body="hunter5"),
    ),
)
ENTRY = JournalEntry(
    assignment(7, WHOLE, replica("r2")),
    (("r1", History(restarts=2, was_ready=True, log_tail=("last words",), exit_code=3)),),
    (container("r1"),),
    "boot-1",
)


async def write(path: Path, entry: JournalEntry) -> None:
    journal = Journal(path)
    journal.keep(entry)
    await journal.flush()


async def test_what_is_kept_is_read_back_without_its_secrets(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    await write(path, ENTRY)
    read = Journal(path).read()
    assert read is not None
    assert read.assignment == without_secrets(ENTRY.assignment)
    assert (read.histories, read.serving, read.boot_id) == (ENTRY.histories, ENTRY.serving, ENTRY.boot_id)
    assert not any(it.secrets_known for it in read.assignment.replicas)


async def test_no_secret_ever_lies_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    await write(path, ENTRY)
    assert "hunter" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_gateway_roles_are_kept(tmp_path: Path) -> None:
    roles = (GatewayRole("local", 7401, "127.0.0.1", 7480), GatewayRole("main", 7401, "::1", 80, 443))
    entry = JournalEntry(type(ENTRY.assignment)("s", 1, (), roles))
    assert decode(encode(entry)).assignment.gateways == roles


async def test_the_ways_to_other_hosts_are_kept(tmp_path: Path) -> None:
    door = DoorWish(("g1", "g2"), (TunnelTo("g1", "", 7403, "mark"),))
    edge = EdgeWish(7403, "mark", (EdgeHost("h2", (40001, 40002)), EdgeHost("h3", ())))
    reach = (ReachTarget("h2", "10.0.0.5", 40001),)
    kept = type(ENTRY.assignment)("s", 1, door=door, reach=reach, edge=edge)
    assert decode(encode(JournalEntry(kept))).assignment == kept


@pytest.mark.parametrize("held", [None, {"name": "local", "xds_port": 1, "listen_address": "::1", "http_port": 2}])
async def test_what_an_agent_of_one_gateway_wrote_is_read(held: dict[str, Any] | None) -> None:
    document = json.loads(encode(ENTRY))
    document["assignment"].pop("gateways")
    document["assignment"]["gateway"] = held
    expected = (GatewayRole("local", 1, "::1", 2),) if held else ()
    assert decode(json.dumps(document).encode()).assignment.gateways == expected


async def test_only_the_newest_is_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    for generation in range(1, 50):
        journal.keep(JournalEntry(assignment(generation)))
    work = asyncio.ensure_future(journal.run())
    await journal.flush()
    work.cancel()
    await asyncio.wait([work])
    read = journal.read()
    assert read is not None
    assert read.assignment.generation == 49


async def test_what_waits_to_be_written_when_it_is_ended_is_written_by_the_last_flush(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json")
    async with busy_threads():
        journal.keep(ENTRY)
        work = asyncio.ensure_future(journal.run())
        await asyncio.sleep(0)  # the writing begins, and waits for a thread
        work.cancel()
        await asyncio.wait([work])
    assert journal.read() is None
    assert await journal.flush()
    assert journal.read() is not None


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    assert Journal(tmp_path / "journal.json").read() is None


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b'{"format": 0}', b'{"format": 1, "assignment": {}}', b"\xff\xfe", b"null"],
)
def test_a_broken_file_is_moved_aside(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(text)
    assert Journal(path).read() is None
    assert not path.exists()
    assert path.with_suffix(".broken").read_bytes() == text


def test_what_a_later_agent_has_kept_besides_is_left_out(tmp_path: Path) -> None:
    document = json.loads(encode(ENTRY))
    rows = [*document["assignment"]["replicas"], *document["histories"].values()]
    for row in (*rows, *document["assignment"]["gateways"]):
        row["later"] = 1
    path = tmp_path / "journal.json"
    path.write_text(json.dumps(document))
    assert Journal(path).read() == decode(encode(ENTRY))


def test_a_file_without_what_this_agent_needs_is_moved_aside(tmp_path: Path) -> None:
    document = json.loads(encode(ENTRY))
    del document["assignment"]["replicas"][0]["image"]
    path = tmp_path / "journal.json"
    path.write_text(json.dumps(document))
    assert Journal(path).read() is None


async def test_a_disk_that_refuses_is_no_reason_to_end(tmp_path: Path) -> None:
    (tmp_path / "journal.json").mkdir()  # cannot be replaced by a file
    await write(tmp_path / "journal.json", ENTRY)
    assert Journal(tmp_path / "journal.json").read() is None


async def test_what_a_disk_refused_is_written_when_it_takes_it_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.mkdir()
    journal = Journal(path, again_s=0.01)
    journal.keep(ENTRY)
    assert not await journal.flush()
    path.rmdir()
    work = asyncio.ensure_future(journal.run())
    async with asyncio.timeout(10):
        while not path.exists():  # noqa: ASYNC110
            await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait([work])
    read = Journal(path).read()
    assert read is not None
    assert read.assignment.generation == ENTRY.assignment.generation


def test_a_file_of_an_agent_that_knew_no_code_is_read() -> None:
    document = json.loads(encode(ENTRY))
    for row in document["assignment"]["replicas"]:
        del row["code_id"], row["code_bytes"]
    assert [it.code_id for it in decode(json.dumps(document).encode()).assignment.replicas] == ["", ""]
