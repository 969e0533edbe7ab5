"""`homeport logs`: what the replicas of a run wrote, as they wrote it."""

from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli.commands import verbs
from homeport_cli.completing import run_names
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError
from homeport_cli.reading import write_logs

app = verbs()


@app.command("logs")
def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.", autocompletion=run_names)],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run has ended.")] = False,
    replica: Annotated[int | None, typer.Option("--replica", min=0, help="This replica only, by its number.")] = None,
    previous: Annotated[bool, typer.Option("-p", "--previous", help="Of the replica before this one.")] = False,
    access: Annotated[
        bool, typer.Option("--access", help="The gateway's log of its requests instead: a line of JSON for each.")
    ] = False,
    since: Annotated[str | None, typer.Option("--since", help="Not older than this: 30s, 5m, 2h, 3d.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="The last lines only, of each replica.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object on each line.")] = False,
) -> None:
    """Print a run's logs, also those of replicas that have ended."""
    if access and (previous or replica is not None):
        raise UsageError("--access: it is the gateway's log, not one replica's; leave --replica and --previous out")
    if follow and previous:
        raise UsageError("--follow and --previous: what has ended writes no more; leave one of them out")
    request = api_pb2.LogsRequest(
        run_name=name,
        follow=follow,
        replica=replica,
        tail=-1 if tail is None else tail,
        since_s=seconds(since, "--since") if since else 0,
        previous=previous,
        access=access,
    )
    with connect() as api:
        write_logs(api, terminal(), request, timestamps=timestamps, as_json=as_json)
