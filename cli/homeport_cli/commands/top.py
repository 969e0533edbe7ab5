"""`homeport top`: the hosts and their GPUs, live."""

from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2
from rich.live import Live

from homeport_cli.commands import verbs
from homeport_cli.completing import host_names
from homeport_cli.context import connect, terminal
from homeport_cli.toptext import picture
from homeport_cli.usage import json_line

PIPED_HEIGHT = 1_000_000  # a pipe has no last line
app = verbs()


@app.command("top")
def top(
    host: Annotated[
        list[str] | None, typer.Argument(metavar="[HOST]...", help="Only these.", autocompletion=host_names)
    ] = None,
    fleet: Annotated[str, typer.Option("--fleet", metavar="NAME", help="Only hosts of it.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="The API's own objects, one per line, as they change, until Ctrl-C.")
    ] = False,
) -> None:
    """Show all GPUs live: memory, load, temperature, health, who holds them. Once when it is piped."""
    screen = terminal()
    names = host or []
    with connect() as api:
        if as_json:
            for hosts in api.watch_hosts(fleet=fleet, names=names, telemetry=True, on_notice=screen.say):
                screen.data(json_line(api_pb2.ListHostsResponse(hosts=hosts)))
            return
        if not screen.out.is_terminal:
            hosts = api.hosts(fleet=fleet, names=names, telemetry=True)
            screen.data(picture(hosts, screen.out.width, PIPED_HEIGHT))
            return
        hosts = []

        def drawn(trouble: str = "") -> None:
            live.update(picture(hosts, screen.out.width, screen.out.height, trouble), refresh=True)

        # On the terminal's second screen, as other tops are: what was on it before is back at the end.
        with Live(console=screen.out, auto_refresh=False, screen=True) as live:
            for found in api.watch_hosts(fleet=fleet, names=names, telemetry=True, on_notice=drawn):
                hosts = found
                drawn()
