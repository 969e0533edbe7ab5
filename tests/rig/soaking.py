"""What goes on in a soak: services under checked traffic, and a rollout, a scale, a stop and apply, a killed replica in turn.

Three services on a stack: `web` has all kinds of requests and changes, so does `extra` between its stops; a replica of `once`
is killed, under requests that may be sent again. Covers the doing; what the processes take meanwhile: process_samples.
"""

import calendar
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rig.load_client import Flow, Kind, LoadClient, loading
from rig.nothing_lost import Stage, flows
from rig.stack import Stack, stack, wait_for

WATCHERS = {"cli ps": ["ps", "-w"], "cli event": ["event", "-w"], "cli logs": ["logs", "web", "-f", "--tail", "1"]}
PATIENCE_S = 120.0
BACK_OFF_S = 360.0  # what dies again and again is started again after five minutes at the longest (agent/restarts)


class Soak:
    """`step()` does the next of the things, again and again. Made by `soaking`."""

    def __init__(self, made: Stack, *, longest_s: float) -> None:
        stop_s = int(longest_s) + 10
        self.stack = made
        self.web = Stage(made, "web", replicas=2, stop_duration_s=stop_s)
        self.extra = Stage(made, "extra", replicas=1, stop_duration_s=stop_s)
        self.once = Stage(made, "once", replicas=2, stop_duration_s=stop_s)
        self.clients: dict[str, LoadClient] = {}
        self.watchers: dict[str, subprocess.Popen[bytes]] = {}
        self.done: list[tuple[float, str]] = []  # when (time.monotonic) and what
        things = (self.roll, self.scale, self.kill_replica, self.stop_and_apply)
        self._things = itertools.cycle(things)

    def step(self) -> str:
        thing = next(self._things)
        self.done.append((time.monotonic(), thing.__name__))
        thing()
        return thing.__name__

    def roll(self) -> None:
        """A new revision of `web` replaces the one that serves."""
        self.web.apply("-d")
        self.web.settled()

    def scale(self) -> None:
        """`web` gets a third replica, and loses it."""
        for count in (3, 2):
            self.web.replicas = count
            self.web.apply(new=False)
            self.web.settled()

    def kill_replica(self) -> None:
        """A container of `once` dies; another one takes its place."""
        killed_s = time.time()
        self.stack.containers("once", everything=False)[0].kill()

        def is_replaced() -> bool:
            runs = self.stack.containers("once", everything=False)
            is_new = any(_started_s(it) > killed_s for it in runs)
            return is_new and len(self.once.in_rotation()) == self.once.replicas

        wait_for("a replica takes its place", is_replaced, BACK_OFF_S)

    def stop_and_apply(self) -> None:
        """`extra` is stopped when nothing is under way, and comes back."""
        client = self.clients["extra"]
        client.speed = 0.0
        wait_for("nothing is under way", lambda: client.results.answered == client.results.sent, PATIENCE_S)
        done = self.stack.homeport("stop", "-y", "extra", timeout_s=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        self.extra.apply()
        self.extra.settled()
        client.speed = 1.0

    def faults(self) -> list[str]:
        """What was not as it must be: answers, and watchers that ended."""
        wrong = []
        for name, client in self.clients.items():
            failed = sum(tally.failed.total() for tally in client.results.tallies.values())
            if name == "once":  # odd ones are POSTs: when a replica dies that has read one, nobody may send it again
                failed = sum(it.number % 2 == 0 for it in client.results.failures)
            if failed:
                log = self.stack.homeport("logs", name, "--access").stdout.splitlines()
                lines = [line for line in log if '"status":50' in line.replace(" ", "")][:20]
                wrong.append("\n".join([f"{name}: {failed} requests failed", client.results.table(), *lines]))
        gone = {name: it.poll() for name, it in self.watchers.items()}
        ended = {name: status for name, status in gone.items() if status is not None}
        return wrong + [f"{name} ended with {it}: {_log(self.stack, name).read_text()}" for name, it in ended.items()]


def _log(made: Stack, watcher: str) -> Path:
    return made.folder / f"{watcher}.log".replace(" ", "-")


def _started_s(container: Any) -> float:
    started = str(container.attrs["State"]["StartedAt"])
    return calendar.timegm(time.strptime(started[:19], "%Y-%m-%dT%H:%M:%S")) + float(f"0{started[19:26]}")


@contextmanager
def soaking(*, plain_per_s: float, longest_s: float) -> Iterator[Soak]:
    """All stands, traffic and watchers run. Ends all of it; requests under way are waited for."""
    with ExitStack() as held:
        made = held.enter_context(stack())
        soak = Soak(made, longest_s=longest_s)
        for stage in (soak.web, soak.extra, soak.once):
            stage.apply("-d")
        for stage in (soak.web, soak.extra, soak.once):
            stage.settled()
        half = flows(plain_per_s=plain_per_s / 2, longest_s=longest_s)
        once = (Flow(Kind.PLAIN, workers=8, rate_per_s=plain_per_s / 4),)
        wanted = {"web": (soak.web, half), "extra": (soak.extra, half), "once": (soak.once, once)}
        for name, (stage, kinds) in wanted.items():
            soak.clients[name] = held.enter_context(loading(stage.target, kinds))
        for name, words in WATCHERS.items():
            command = [str(Path(sys.executable).parent / "homeport"), *words]
            log = held.enter_context(_log(made, name).open("wb"))
            watcher = subprocess.Popen(
                command, env=made.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, cwd="/"
            )
            held.callback(watcher.wait, 30)
            held.callback(watcher.terminate)
            soak.watchers[name] = watcher
        yield soak
