"""`homeport ps`: the runs and their replicas."""

import time
from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2
from rich.console import RenderableType
from rich.live import Live

from homeport_cli import render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal

app = verbs()


@app.command("ps")
def ps(
    finished: Annotated[bool, typer.Option("-a", "--all", help="Also runs that are finished.")] = False,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on, showing each change, until Ctrl-C.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="A row for each replica.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The API's own objects; with -w one after each change.")
    ] = False,
) -> None:
    """List runs."""
    screen = terminal()

    def shown(runs: list[api_pb2.Run]) -> RenderableType:
        if as_json:
            return render.json_text(api_pb2.ListRunsResponse(runs=runs))
        return render.runs(runs, time.time(), verbose=verbose, width=screen.out.width)

    with connect() as api:
        if not watch:
            screen.data(shown(api.runs(finished=finished)))
        elif as_json or not screen.out.is_terminal:
            before = ""
            for runs in api.watch_runs(finished=finished, on_notice=screen.say):
                before = screen.news(shown(runs), before)
        else:
            with Live(console=screen.out, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as picture:
                for runs in api.watch_runs(finished=finished, on_notice=screen.say):
                    picture.update(shown(runs), refresh=True)
