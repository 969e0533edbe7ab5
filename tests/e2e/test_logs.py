"""Logs end to end: of what runs and of what is gone; followed over the death of everything; a reader that stalls.

The tests of this module share one stack and run in their order; each applies what it needs.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

TICKER = """
type: service
name: ticker
image: homeport-test/hello:1
commands:
  - "read S _ < /proc/uptime"
  - "(i=0; while true; do i=$((i+1)); echo $S $i; echo $S e$i >&2; sleep 0.02; done) & exec python3 /hello.py >/dev/null 2>&1"
port: 8000
replicas: %d
stop_duration: 5s
env: [COLOUR=%s]
"""
FLOOD = """
type: service
name: flood
image: homeport-test/hello:1
commands:
  - "flood() { python3 -c 'for i in range(500000): print(i, 90 * chr(120))'; echo over; }"
  - "(until [ -e /go ]; do sleep 0.1; done; flood) & exec python3 /hello.py"
port: 8000
stop_duration: 5s
"""
FAILING = """
type: service
name: failing
image: homeport-test/busybox:1
commands: ["echo it is broken; sleep 1; exit 3"]
port: 8000
retry: false
"""
GROWTH_MIB = 30  # of an agent or a server, under a flood that nobody reads


class Reader:
    """`homeport logs …` in the background, with what it wrote so far."""

    def __init__(self, homeport: Stack, *arguments: str) -> None:
        command = [str(Path(sys.executable).parent / "homeport"), *arguments]
        self.process = subprocess.Popen(
            command, env=homeport.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        )
        self.lines: list[str] = []
        self._go = threading.Event()
        self._go.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stall(self) -> None:
        self._go.clear()

    def read_on(self) -> None:
        self._go.set()

    def ended(self, timeout_s: float = 60) -> int:
        code = self.process.wait(timeout_s)
        self._thread.join(timeout_s)
        return code

    @property
    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._go.wait()
            self.lines.append(line)


@contextmanager
def reader(homeport: Stack, *arguments: str) -> Iterator[Reader]:
    made = Reader(homeport, *arguments)
    try:
        yield made
    finally:
        made.read_on()
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait(10)


def apply_ticker(homeport: Stack, replicas: int = 1, colour: str = "red") -> dict[str, Any]:
    done = homeport.apply(TICKER % (replicas, colour))
    assert done.returncode == 0, done.stderr
    return homeport.run("ticker")


def replica_ids(homeport: Stack) -> set[str]:
    return {container.labels["homeport.replica"] for container in homeport.containers("ticker", everything=False)}


def gaps(rows: list[dict[str, Any]]) -> list[str]:
    """What is missing, or there twice: each start of each replica counts from 1, on both of its streams."""
    counts: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        start, _, number = row["text"].partition(" ")
        counts.setdefault((row["replica_id"], start, row["stream"]), []).append(int(number.removeprefix("e")))
    assert counts
    wrong = []
    for key, found in counts.items():
        missing, doubled = set(range(1, max(found) + 1)) - set(found), {it for it in found if found.count(it) > 1}
        if missing or doubled or found != sorted(found):
            wrong.append(f"{key}: missing {sorted(missing)}, twice {sorted(doubled)}, of {len(found)}")
    return wrong


def more_lines(followed: Reader, count: int = 30) -> None:
    reached = len(followed.lines) + count
    wait_for(f"{count} more lines", lambda: len(followed.lines) >= reached)


def test_a_follow_goes_on_over_the_death_of_everything_and_loses_nothing(homeport: Stack) -> None:
    apply_ticker(homeport)
    with reader(homeport, "logs", "ticker", "-f", "--json") as followed:
        more_lines(followed)
        homeport.containers("ticker")[0].kill()  # the agent starts the same container again
        more_lines(followed)
        homeport.server.kill()
        homeport.server.start()
        more_lines(followed, 100)
        homeport.agent.kill()
        homeport.agent.start()
        more_lines(followed, 100)
        before = replica_ids(homeport)
        apply_ticker(homeport, colour="blue")  # another replica takes its place
        assert not before & replica_ids(homeport)
        more_lines(followed)
        homeport.server.stop()
        homeport.server.start()
        more_lines(followed, 100)
        assert homeport.homeport("stop", "ticker", "-y").returncode == 0
        assert followed.ended() == 0, followed.errors
        rows = [json.loads(line) for line in followed.lines]
        assert gaps(rows) == []
        assert len({row["replica_id"] for row in rows}) == 2
        assert {row["revision"] for row in rows} == {1, 2}
        assert len({row["text"].split()[0] for row in rows if row["text"][:1].isdigit()}) == 3
        assert "trying again" in followed.errors
    # And the same once more, from what was kept.
    done = homeport.homeport("logs", "ticker", "--json")
    again = [json.loads(line) for line in done.stdout.splitlines()]
    last = again[0]["replica_id"]
    assert [row for row in rows if row["replica_id"] == last] == again
    before_it = homeport.homeport("logs", "ticker", "-p", "--json")
    first = [json.loads(line) for line in before_it.stdout.splitlines()]
    assert first == [row for row in rows if row["replica_id"] != last]


def test_kept_logs_take_the_same_filters(homeport: Stack) -> None:
    whole = homeport.homeport("logs", "ticker").stdout.splitlines()
    assert homeport.homeport("logs", "ticker", "--tail", "5").stdout.splitlines() == whole[-5:]
    assert homeport.homeport("logs", "ticker", "--replica", "0", "--tail", "1").stdout.splitlines() == whole[-1:]
    assert homeport.homeport("logs", "ticker", "--since", "1h").stdout.splitlines() == whole
    assert homeport.homeport("logs", "ticker", "-f").stdout.splitlines() == whole
    stamped = homeport.homeport("logs", "ticker", "--timestamps", "--tail", "1").stdout
    assert stamped.split(" ", 1)[1].splitlines() == whole[-1:]
    mode = [path.stat().st_mode & 0o777 for path in (homeport.agent_state / "logs").glob("*.log.gz")]
    assert mode
    assert set(mode) == {0o600}


def test_lines_of_several_replicas_come_in_the_order_of_their_times(homeport: Stack) -> None:
    apply_ticker(homeport, 2)
    rows = [json.loads(line) for line in homeport.homeport("logs", "ticker", "--json").stdout.splitlines()]
    assert {row["replica"] for row in rows} == {0, 1}
    stamps = [row["timestamp"] for row in rows if row["stream"] == "stdout"]
    assert stamps == sorted(stamps)
    lines = homeport.homeport("logs", "ticker", "--tail", "3").stdout.splitlines()
    assert {line[:4] for line in lines} == {"[0] ", "[1] "}
    assert homeport.homeport("logs", "ticker", "--replica", "1", "--tail", "1").stdout[0] != "["


def test_what_has_no_logs_says_so(homeport: Stack) -> None:
    done = homeport.homeport("logs", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: no run nobody; `homeport ps -a` shows all\n"
    done = homeport.homeport("logs", "ticker", "--replica", "9")
    assert done.returncode == 1
    assert "has no replica 9" in done.stderr


def test_ctrl_c_ends_a_follow_quietly(homeport: Stack) -> None:
    with reader(homeport, "logs", "ticker", "-f", "--tail", "0") as followed:
        more_lines(followed, 3)
        followed.process.send_signal(signal.SIGINT)
        assert followed.ended() == 130
        assert followed.errors == ""


def test_a_host_that_is_away_is_named(homeport: Stack) -> None:
    apply_ticker(homeport, 2)
    homeport.agent.kill()
    try:
        done = homeport.homeport("logs", "ticker")
        assert done.returncode == 1
        assert "host test-host is not connected now" in done.stderr
    finally:
        homeport.agent.start()
        homeport.ready()
    assert homeport.homeport("stop", "ticker", "-y").returncode == 0


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines if line.rstrip().endswith("xxx")]


def test_a_reader_that_stalls_holds_up_nobody_and_misses_nothing(homeport: Stack) -> None:
    assert homeport.apply(FLOOD).returncode == 0
    processes = {process: psutil.Process(process.pid) for process in (homeport.server, homeport.agent)}
    at_rest = {process.name: about.memory_info().rss >> 20 for process, about in processes.items()}
    most = dict(at_rest)
    with reader(homeport, "logs", "flood", "-f") as stalled:
        wait_for("it reads", lambda: stalled.lines)
        stalled.stall()
        assert homeport.containers("flood")[0].exec_run(["sh", "-c", "true > /go"]).exit_code == 0

        def is_over() -> bool:
            for process, about in processes.items():
                most[process.name] = max(most[process.name], about.memory_info().rss >> 20)
            assert homeport.run("flood")["state"] == "running"  # the host reports, the API answers
            return homeport.homeport("logs", "flood", "--tail", "1").stdout == "over\n"

        wait_for("the flood is over", is_over, 60)
        kept = numbers(homeport.homeport("logs", "flood").stdout.splitlines())  # a second reader
        assert [host["connection"] for host in homeport.hosts()] == ["connected"]
        is_over()
        assert len(stalled.lines) < 10
        stalled.read_on()
        wait_for("the stalled reader is up to date", lambda: stalled.lines[-1] == "over\n", 60)
        print("MiB at rest:", at_rest, "at most:", most, "lines kept:", len(kept))
        assert all(most[name] - at_rest[name] < GROWTH_MIB for name in most)
        read = numbers(stalled.lines)
        assert kept == list(range(kept[0], 500_000))  # what the rotation kept is whole
        assert read[-len(kept) :] == kept  # and the reader has all of it
        assert sum(after != before + 1 for before, after in itertools.pairwise(read)) <= 1
        assert read == sorted(set(read))
        assert homeport.homeport("stop", "flood", "-y").returncode == 0
        assert stalled.ended() == 0, stalled.errors
    wait_for("its container is gone", lambda: not homeport.containers("flood"))
    sizes = [path.stat().st_size for path in (homeport.agent_state / "logs").glob("*.log.gz")]
    assert max(sizes) < 2 * 10**6
    tail = homeport.homeport("logs", "flood").stdout.splitlines()
    assert numbers(tail)[-1] == 499_999
    assert 75_000 < len(tail) < 100_000  # the newest 10 MB, whole parts of it


def test_attach_follows_a_run_to_its_end(homeport: Stack) -> None:
    assert homeport.apply(TICKER % (1, "red"), "-d").returncode == 0
    with reader(homeport, "attach", "ticker") as attached:
        more_lines(attached)
        assert homeport.homeport("stop", "ticker", "-y").returncode == 0
        assert attached.ended() == 0
        errors = attached.errors
        assert "in rotation" in errors
        assert "The run ticker has ended: terminated" in errors


def test_attach_says_that_a_run_failed(homeport: Stack) -> None:
    assert homeport.apply(FAILING, "-d").returncode == 0
    done = homeport.homeport("attach", "failing")
    assert done.returncode == 1
    assert "it is broken" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("Error: the run failing failed: ")


def test_attach_goes_when_it_is_interrupted_and_the_run_goes_on(homeport: Stack) -> None:
    apply_ticker(homeport)
    with reader(homeport, "attach", "ticker", "--tail", "1") as attached:
        more_lines(attached, 5)
        os.kill(attached.process.pid, signal.SIGINT)
        assert attached.ended() == 130
        assert "The run ticker goes on" in attached.errors
    assert homeport.run("ticker")["state"] == "running"
    assert homeport.homeport("stop", "ticker", "-x", "-y").returncode == 0
