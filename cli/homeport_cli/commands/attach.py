"""`homeport attach`: a run in the foreground."""

from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli import attaching
from homeport_cli.commands import verbs
from homeport_cli.completing import run_names
from homeport_cli.context import connect, terminal

app = verbs()


@app.command("attach")
def attach(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.", autocompletion=run_names)],
    replica: Annotated[int | None, typer.Option("--replica", min=0, help="This replica only, by its number.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="The last lines only, then what comes.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
) -> None:
    """Follow a run until it ends: its progress, then its logs. Ctrl-C asks whether to stop it."""
    request = api_pb2.LogsRequest(run_name=name, follow=True, replica=replica, tail=-1 if tail is None else tail)
    with connect() as api:
        attaching.attach(api, terminal(), name, request, timestamps=timestamps)
