"""What health remembers over a restart of the agent."""

import logging
from pathlib import Path

import pytest
from fakes.health import Watch, uuid
from homeport_agent.gpus.model import GpuNear
from homeport_agent.health import judge, memory
from homeport_agent.health.model import HostLook, Memory, Verdict


def sick() -> Watch:
    watch = Watch()
    watch.gpus[uuid(0)] = type(watch.gpus[uuid(0)])(
        uuid(0), "NVIDIA H100", 81920, 5, near=(GpuNear(uuid(1), "NV18"),), persistence_mode=True
    )
    watch.host = HostLook(docker_unavailable="no socket")
    watch.reads(throttled=("hw-thermal-slowdown",), ecc_volatile_uncorrected=1)
    watch.look(20)
    for _ in range(2):
        watch.xid(119, 1)
        watch.look(5)
        watch.checked(index=1)
        watch.look(5)
    watch.xid(63)
    watch.has_trouble("lost")
    watch.look(61)
    watch.checked(Verdict.FAILED, index=0, sentence="no")
    return watch


def test_what_was_found_and_what_was_known_is_there_after_a_restart() -> None:
    watch = sick()
    again = memory.decode(memory.encode(watch.memory))
    assert judge.findings(again) == watch.findings
    assert [(it.uuid, it.near) for it in judge.known_gpus(again)] == [
        (uuid(0), (GpuNear(uuid(1), "NV18"),)),
        (uuid(1), ()),
    ]
    assert again == memory.kept(watch.memory)


def test_a_gpu_that_fell_off_during_the_restart_is_missed() -> None:
    watch = Watch()
    watch.look(5)
    watch.memory = memory.decode(memory.encode(watch.memory))
    del watch.gpus[uuid(1)]
    watch.look(5)
    assert watch.codes == ["GPU-1 gpu-missing failing"]


def test_a_watch_that_goes_on_is_not_worth_a_write() -> None:
    watch = sick()
    before = memory.kept(watch.memory)
    watch.gpus[uuid(1)] = type(watch.gpus[uuid(1)])(uuid(1), "NVIDIA H100", 81920, 7000, pci_bus_id="0000:17:00.0")
    watch.reads(1, pcie_replays=1)
    watch.look(30)
    assert memory.kept(watch.memory) == before
    watch.xid(95)
    assert memory.kept(watch.memory) != before


def test_without_a_file_nothing_is_remembered(tmp_path: Path) -> None:
    assert memory.read(tmp_path / "health.json") == Memory()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "gpus": [{}], "host": []}', b"\xff"]
)
def test_a_broken_file_is_set_aside_with_a_line(tmp_path: Path, text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "health.json"
    path.write_bytes(text)
    with caplog.at_level(logging.WARNING):
        assert memory.read(path) == Memory()
    assert not path.exists()
    assert (tmp_path / "health.broken").read_bytes() == text
    (line,) = caplog.messages
    assert "moved to" in line


def test_a_file_that_cannot_be_read_is_left_with_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "health.json"
    path.mkdir()
    with caplog.at_level(logging.WARNING):
        assert memory.read(path) == Memory()
    assert "cannot be read" in caplog.text
