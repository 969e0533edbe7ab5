"""agent/envoy/supervisor: the real script with a small program in Envoy's place."""

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator
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
    assert arguments == ["-c", "bootstrap.json", "--disable-hot-restart", "-l", "warning", "--concurrency", "1"]

    assert supervisor.stop(run_dir)
    assert supervisor.find(run_dir) is None
    assert not psutil.pid_exists(child)


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
