"""Watching runs until something is true: drawn over on a terminal, a line per change elsewhere, on standard error.

What it does not cover: what the lines say (`progress`) and when it is over (`homeport.verdicts`).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from homeport import Client
from homeport.verdicts import LEAVING, Failure, Published, Stopping, deployed, pick, rolled_back, stopped
from homeport_protos.api.v1 import api_pb2
from rich.console import Group
from rich.live import Live

from homeport_cli.context import Terminal
from homeport_cli.errors import CliError
from homeport_cli.progress import Announcer, live

Verdict = TypeVar("Verdict")
End = Published | Failure


def until_deployed(
    api: Client, terminal: Terminal, applied: api_pb2.ApplyResponse
) -> tuple[api_pb2.Run, Published | Failure]:
    """Wait until the applied revision serves or has failed. Raises Error, KeyboardInterrupt."""

    def look(listed: list[api_pb2.Run]) -> list[api_pb2.Run]:
        run = pick(listed, applied.run_id, applied.run_name)
        return [run] if run else []

    def verdict(runs: list[api_pb2.Run]) -> tuple[api_pb2.Run, Published | Failure] | None:
        if not runs:
            raise CliError(f"the run {applied.run_name} is not listed any more; see `homeport ps -a`")
        end = deployed(runs[0], applied.revision)
        return (runs[0], end) if end else None

    return _watch(api, terminal, [applied.run_name], look, verdict)


def until_rolled_back(api: Client, terminal: Terminal, run_id: str, name: str, revision: int) -> End:
    """Wait until only replicas of an earlier revision are there. Raises Error, KeyboardInterrupt."""

    def look(listed: list[api_pb2.Run]) -> list[api_pb2.Run]:
        run = pick(listed, run_id)
        return [run] if run else []

    def verdict(runs: list[api_pb2.Run]) -> tuple[End] | None:
        if not runs:
            raise CliError(f"the run {name} is not listed any more; see `homeport ps -a`")
        end = rolled_back(runs[0], revision)
        return (end,) if end else None

    return _watch(api, terminal, [name], look, verdict)[0]


def until_serving(api: Client, terminal: Terminal, run_id: str, name: str) -> None:
    """Wait until a replica of the run is in rotation, or the run ends. Raises Error, KeyboardInterrupt."""

    def look(listed: list[api_pb2.Run]) -> list[api_pb2.Run]:
        run = pick(listed, run_id)
        return [run] if run else []

    def verdict(runs: list[api_pb2.Run]) -> bool | None:
        is_serving = any(replica.in_rotation for run in runs for replica in run.replicas)
        return True if is_serving or all(stopped(run) or run.state in LEAVING for run in runs) else None

    _watch(api, terminal, [name], look, verdict)


def until_stopped(api: Client, terminal: Terminal, names: Sequence[str]) -> None:
    """Wait until the runs that have these names now are ended; a later run of the same name is another one."""
    _watch(api, terminal, names, Stopping(names).runs, lambda runs: True if all(map(stopped, runs)) else None)


def until_upgraded(api: Client, terminal: Terminal, names: Sequence[str], build: str) -> dict[str, str]:
    """Wait until each of these hosts has the build, or could not get it; why, by name, of those. Raises Error."""
    left, failed = set(names), dict[str, str]()
    for hosts in api.watch_hosts(names=names, on_notice=terminal.say):
        for host in hosts:
            if host.name not in left:
                continue
            if host.build == build and host.connection == "connected":
                terminal.say(f"{host.name} has the agent {build}")
                left.discard(host.name)
            elif host.upgrade_error.startswith(f"{build}: "):
                failed[host.name] = host.upgrade_error.removeprefix(f"{build}: ")
                left.discard(host.name)
        if not left:
            return failed
    raise CliError("the server ended the watch; see `homeport fleet list`")


def until_empty(api: Client, terminal: Terminal, host: str) -> None:
    """Wait until a host that is drained has no replicas; a line each time that fewer are left. Raises Error."""
    before = 0
    for hosts in api.watch_hosts(names=[host], on_notice=terminal.say):
        count = hosts[0].replicas
        if count == 0:
            return
        if count != before:
            terminal.say(f"{count} replica{'s' if count > 1 else ''} of {host} still to move; Ctrl-C leaves it drained")
            before = count
    raise CliError("the server ended the watch; see `homeport fleet list`")


def _watch(
    api: Client,
    terminal: Terminal,
    names: Sequence[str],
    look: Callable[[list[api_pb2.Run]], list[api_pb2.Run]],
    verdict: Callable[[list[api_pb2.Run]], Verdict | None],
) -> Verdict:
    announcers: dict[str, Announcer] = {}
    is_terminal = terminal.err.is_terminal
    # Drawn only when something came, so the terminal is left alone between; the last picture stays.
    with Live(console=terminal.err, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as picture:
        for listed in api.watch_runs(finished=True, names=names, on_notice=terminal.say):
            runs = look(listed)
            if is_terminal:
                picture.update(Group(*map(live, runs)), refresh=True)
            else:
                for run in runs:
                    for line in announcers.setdefault(run.id, Announcer()).news(run):
                        terminal.say(line)
            end = verdict(runs)
            if end is not None:
                return end
    raise CliError("the server ended the watch; see `homeport ps`")
