"""agent/envoy/supervisor: the real script with a small program in Envoy's place."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from homeport_agent.envoy import supervisor


def eventually(met: Callable[[], bool], timeout_s: float = 10) -> None:
    """For what tells nobody when it happens."""
    deadline = time.monotonic() + timeout_s
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def program(folder: Path, text: str) -> Path:
    path = folder / "envoy"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    folder.mkdir()
    yield folder
    supervisor.stop(folder)


def test_it_runs_is_found_and_stops_with_its_child(tmp_path: Path, run_dir: Path) -> None:
    assert supervisor.find(run_dir) is None
    assert not supervisor.stop(run_dir)
    supervisor.start(program(tmp_path, 'echo "$@" > arguments\nexec sleep 1000'), run_dir, ("--concurrency", "1"))
    pid = supervisor.find(run_dir)
    assert pid is not None
    assert os.getsid(pid) == pid
    eventually(lambda: (run_dir / "arguments").exists() and supervisor.envoy_pid(run_dir) is not None)
    child = supervisor.envoy_pid(run_dir)
    assert child is not None
    arguments = (run_dir / "arguments").read_text().split()
    ours = ["-c", "bootstrap.json", "--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "250"]
    assert arguments == [*ours, "--concurrency", "1"]

    others = psutil.Process(pid).children(recursive=True)
    assert supervisor.stop(run_dir)
    assert supervisor.find(run_dir) is None
    assert not psutil.pid_exists(child)
    eventually(lambda: not any(process.is_running() for process in others))  # nor who keeps the access log bounded


def test_the_access_log_is_bounded_and_its_newest_files_are_kept(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program writes as Envoy does: into the file that it has open, and into a new one after SIGUSR1."""
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_BYTES", "100")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_FILES", "3")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_PAUSE", "0.05")
    (run_dir / "access.log.00000008").write_text("old\n")
    (run_dir / "access.log.note").write_text("not ours\n")
    text = """
    exec 3>>access.log; trap 'exec 3>>access.log' USR1; n=0
    while [ $n -lt 100 ]; do n=$((n + 1)); echo "line $n" >&3; sleep 0.02; done
    : > done; while :; do sleep 0.02; done"""
    supervisor.start(program(tmp_path, text), run_dir)

    def files() -> list[str]:
        return sorted(path.name for path in run_dir.glob("access.log*") if path.name != "access.log.note")

    def lines() -> list[str]:
        return [line for name in (*files()[1:], "access.log") for line in (run_dir / name).read_text().splitlines()]

    def is_settled() -> bool:
        """All is written, and the newest file is too small to be renamed."""
        with suppress(FileNotFoundError):
            return (run_dir / "done").exists() and (run_dir / "access.log").stat().st_size < 100
        return False

    eventually(is_settled)
    eventually(lambda: len(files()) == 4 and files()[1] > "access.log.00000010")
    # No line between the oldest one that is kept and the newest one is missing.
    kept = lines()
    first = int(kept[0].split()[1])
    assert kept == [f"line {number}" for number in range(first, 101)]
    assert (run_dir / "access.log.note").exists()


def test_it_is_bounded_too_when_no_file_is_to_be_kept(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_BYTES", "10")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_FILES", "0")
    monkeypatch.setenv("HOMEPORT_ACCESS_LOG_PAUSE", "0.05")
    supervisor.start(program(tmp_path, "exec sleep 1000"), run_dir)
    for number in (1, 2, 3):  # each is renamed, and the one before it goes
        (run_dir / "access.log").write_text("longer than ten bytes\n")
        eventually(lambda number=number: [it.name for it in run_dir.glob("access.log*")] == [f"access.log.{number:08}"])


def test_a_child_that_dies_is_started_again(tmp_path: Path, run_dir: Path) -> None:
    supervisor.start(program(tmp_path, "exec sleep 1000"), run_dir)
    eventually(lambda: supervisor.envoy_pid(run_dir) is not None)
    first = supervisor.envoy_pid(run_dir)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.envoy_pid(run_dir) not in (None, first))
    assert "Envoy ended with code 137" in (run_dir / "envoy.log").read_text()


def test_a_child_that_dies_at_once_is_started_ever_more_slowly(tmp_path: Path, run_dir: Path) -> None:
    supervisor.start(program(tmp_path, "date +%s.%N >> starts\nexit 3"), run_dir)
    eventually(lambda: (run_dir / "starts").exists() and len((run_dir / "starts").read_text().split()) >= 4)
    starts = [float(word) for word in (run_dir / "starts").read_text().split()]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert gaps[0] >= 0.2
    assert gaps[1] >= 0.4
    assert gaps[2] >= 0.8
    # Also between two starts it stops at once.
    began = time.monotonic()
    assert supervisor.stop(run_dir)
    assert time.monotonic() - began < 5


def test_a_child_that_does_not_heed_the_signal_is_killed(
    tmp_path: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_STOP_S", 0.3)
    text = "trap '' TERM\n: > deaf\nwhile :; do sleep 0.1; done"
    supervisor.start(program(tmp_path, text), run_dir)
    eventually((run_dir / "deaf").exists)
    child = supervisor.envoy_pid(run_dir)
    assert child is not None
    assert supervisor.stop(run_dir)
    eventually(lambda: not psutil.pid_exists(child))


def test_a_process_id_that_belongs_to_somebody_else_now_is_not_ours(run_dir: Path) -> None:
    mine = os.getpid()
    (run_dir / "supervisor.pid").write_text(f"{mine} 1\n")
    assert supervisor.find(run_dir) is None
    assert not supervisor.stop(run_dir)
    (run_dir / "supervisor.pid").write_text("")
    assert supervisor.find(run_dir) is None
