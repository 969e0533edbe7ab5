from pathlib import Path

from homeport_agent.telemetry.host import HostReader


def test_this_machine_is_read() -> None:
    reader = HostReader()
    reader.read("answers", 5, None)
    reading = reader.read("answers", 5, 0.25)
    assert 0 <= reading.cpu <= 1
    assert reading.memory_used_mib > 0
    assert (len(reading.load), reading.disk_used_mib, reading.docker, reading.clock_offset_s) == (3, 5, "answers", 0.25)


def test_shares_and_rates_are_of_the_time_between_two_looks(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()

    def write(busy: int, idle: int, received: int) -> None:
        (tmp_path / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
        (tmp_path / "net/dev").write_text(
            f"head\nhead\n    lo: 9999 0 0 0 0 0 0 0 9999 0\n  eth0: {received} 0 0 0 0 0 0 0 0 0\n"
        )
        (tmp_path / "meminfo").write_text(
            "MemTotal: 4096 kB\nMemAvailable: 1024 kB\nSwapTotal: 2048 kB\nSwapFree: 0 kB\n"
        )

    write(100, 100, 0)
    reader = HostReader(tmp_path)
    first = reader.read("answers", 0, None)
    assert (first.cpu, first.network_received_bytes_s, first.memory_used_mib, first.swap_used_mib) == (0.0, 0.0, 3, 2)
    write(175, 125, 10**9)
    second = reader.read("answers", 0, None)
    assert second.cpu == 0.75
    assert second.network_received_bytes_s > 0
    assert second.network_sent_bytes_s == 0


def test_what_cannot_be_read_is_nothing(tmp_path: Path) -> None:
    assert HostReader(tmp_path).read("no", 0, None).memory_used_mib == 0
