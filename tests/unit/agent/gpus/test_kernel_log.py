"""gpus/kernel_log: XIDs as the kernel writes them, from now on and never waiting."""

import os
from pathlib import Path

import pytest
from homeport_agent.gpus.kernel_log import MOST_RECORDS, KernelLog, bus_key, parse

LINE = "NVRM: Xid (PCI:0000:17:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("bus_id", "key"),
    [("0000:17:00.0", "0000:17:00"), ("00000000:17:00", "0000:17:00"), ("00010000:9A:00.0", "10000:9a:00"),
     ("17:00.0", "0000:17:00"), ("nonsense", ""), ("", "")],
)  # fmt: skip
def test_a_pci_device_is_written_in_one_way(bus_id: str, key: str) -> None:
    assert bus_key(bus_id) == key


@pytest.mark.parametrize(
    ("line", "xid"),
    [
        (LINE, 79),
        ("NVRM: Xid (PCI:0000:17:00): 48, An uncorrectable double bit error", 48),
        ("NVRM: Xid (PCI:0000:17:00): 8", 8),
        ("NVRM: GPU at PCI:0000:17:00: GPU-5d3c", None),
        ("NVRM: Xid (PCI:0000:17:00): 79x", None),
        ("usb 1-1: new device", None),
    ],
)
def test_an_xid_is_read_from_its_record_and_nothing_else_is(line: str, xid: int | None) -> None:
    told = parse(f"4,1234,5678,-;{line}\n SUBSYSTEM=pci")
    assert (told.xid if told else None) == xid
    if told:
        assert (told.bus, told.line) == ("0000:17:00", line)


def test_a_line_is_kept_no_longer_than_it_may_be() -> None:
    told = parse(f"4,1,2,-;{LINE}{'x' * 5000}")
    assert told is not None
    assert len(told.line) == 300


def test_what_was_before_is_not_told_and_what_comes_is_told_once(tmp_path: Path) -> None:
    file = tmp_path / "kmsg"
    file.write_text(f"4,1,2,-;{LINE}\n")
    log = KernelLog(file)
    assert log.is_readable
    assert log.read() == []
    with file.open("a") as more:
        more.write(f"4,3,4,-;something else\n4,5,6,-;{LINE.replace('79', '48')}\n")
    assert [it.xid for it in log.read()] == [48]
    assert log.read() == []
    log.close()
    assert not log.is_readable


def test_a_log_that_nobody_may_read_has_nothing(tmp_path: Path) -> None:
    log = KernelLog(tmp_path / "none")
    assert not log.is_readable
    assert log.read() == []
    log.close()


def test_a_look_is_bounded_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    log = KernelLog(tmp_path / "pipe")
    with (tmp_path / "pipe").open("w") as writer:
        assert log.read() == [], "nothing is there, and it came back"
        writer.write(f"4,1,2,-;{LINE}\n")
        writer.flush()
        assert [it.xid for it in log.read()] == [79]
    flood = tmp_path / "flood"
    flood.write_text("")
    log = KernelLog(flood)
    flood.write_text(f"4,1,2,-;{LINE}\n" * 200_000)
    assert 0 < len(log.read()) < 200_000
    assert MOST_RECORDS == 1000
