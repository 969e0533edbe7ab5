"""Stopping runs as `stop` and `delete` do it: ask, tell the server, wait; and the question after Ctrl-C."""

from collections.abc import Sequence

from homeport import Client

from homeport_cli.context import Terminal
from homeport_cli.watch import until_stopped


def offer_to_stop(api: Client, terminal: Terminal, name: str) -> None:
    """After Ctrl-C: ask whether the run shall stop too. Without anybody to ask, or on another Ctrl-C, it goes on."""
    try:
        if terminal.interactive and terminal.ask(f"\nStop the run {name} too?"):
            api.stop(name, wait=False)
            terminal.say(f"Stopping {name}")
            return
    except KeyboardInterrupt:
        pass
    terminal.say(f"The run {name} goes on: `homeport ps`, `homeport logs {name}`, `homeport stop {name}`")


def stop_and_wait(
    api: Client, terminal: Terminal, names: Sequence[str], *, verb: str, abort: bool, yes: bool, wait: bool
) -> None:
    """Ctrl-C while waiting leaves them stopping. Raises Error."""
    names = list(dict.fromkeys(names))
    if not terminal.confirm(f"{verb} the run{'s' if len(names) > 1 else ''} {', '.join(names)}?", yes=yes):
        terminal.say("Nothing was stopped.")
        return
    answer = api.stop(*names, abort=abort, wait=False)
    for name in answer.already_stopped:
        terminal.say(f"{name} is stopped already")
    for name in answer.stopping:
        terminal.say(f"Stopping {name}")
    if not answer.stopping or not wait:
        return
    try:
        until_stopped(api, terminal, answer.stopping)
    except KeyboardInterrupt:
        terminal.say("Not waiting any longer; it goes on stopping: `homeport ps -a`")
        raise
    terminal.say(f"Stopped {', '.join(answer.stopping)}")
