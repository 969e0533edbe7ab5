"""`homeport logs`: what the replicas of a run wrote, as they wrote it."""

import sys
from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli.commands import verbs
from homeport_cli.context import connect
from homeport_cli.durations import seconds
from homeport_cli.logtext import LogText

app = verbs()


@app.command("logs")
def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.")],
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as more is written.")] = False,
    replica: Annotated[int | None, typer.Option("--replica", min=0, help="This replica only, by its number.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Not older than this: 30s, 5m, 2h, 3d.")] = None,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="The last lines only, of each replica.")] = None,
    timestamps: Annotated[bool, typer.Option("--timestamps", help="The time before each line.")] = False,
) -> None:
    """Print a run's logs."""
    request = api_pb2.LogsRequest(
        run_name=name,
        follow=follow,
        replica=replica,
        tail=-1 if tail is None else tail,
        since_s=seconds(since, "--since") if since else 0,
    )
    with connect() as api:
        runs = api.list_runs(names=[name]).runs
        indexes = {each.index for run in runs for each in run.replicas}
        text = LogText(timestamps=timestamps, several=replica is None and len(indexes) > 1)
        out = sys.stdout.buffer
        for answer in api.logs(request):
            out.writelines(map(text.line, answer.entries))
            out.flush()
