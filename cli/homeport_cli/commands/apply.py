"""`homeport apply`: plan, ask, submit, watch until it serves."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from homeport import manifest
from homeport.documents import kind_of

from homeport_cli import applying, gateways
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.documents import parse_settings
from homeport_cli.errors import UsageError

app = verbs()


@app.command("apply")
def apply(
    file: Annotated[Path | None, typer.Option("-f", "--file", help="The configuration file.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Do not wait until it serves.")] = False,
    only_plan: Annotated[bool, typer.Option("--plan", help="Show the plan and the offers, change nothing.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("-e", "--env", metavar="NAME[=VALUE]", help="An environment variable; repeat it."),
    ] = None,
    name: Annotated[str | None, typer.Option("-n", "--name", help="The run's name, over the file's.")] = None,
    reuse: Annotated[bool, typer.Option("-R", "--reuse", help="Only hosts that are connected now.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Apply even when nothing changed.")] = False,
    no_repo: Annotated[bool, typer.Option("--no-repo", help="Do not send the folder of the file along.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --plan: the API's own object.")] = False,
) -> None:
    """Apply a configuration: a new run, or an update in place of the one that runs."""
    if as_json and not only_plan:
        raise UsageError("--json goes with --plan; what runs is told by `homeport ps --json`")
    source = manifest.load(file)
    if kind_of(source.document_json) == "fleet":
        from homeport_cli.fleets import applying as fleet  # SSH costs a third of a second: only who needs it pays

        with connect() as api:
            fleet.apply(api, terminal(), source, yes=yes, only_plan=only_plan, as_json=as_json, force=force)
        return
    if kind_of(source.document_json) == "gateway":
        with connect() as api:
            gateways.apply(
                *(api, terminal(), source),
                yes=yes,
                detach=detach,
                only_plan=only_plan,
                as_json=as_json,
                force=force,
            )
        return
    env = parse_settings(settings or [], os.environ)
    screen = terminal()
    with connect() as api:
        prepared = api.prepare(source, name=name, env=env, reuse=reuse, repo=not no_repo)
        planned = applying.plan(api, screen, prepared, as_data=only_plan, as_json=as_json)
        if only_plan or not applying.confirm(screen, planned, yes=yes, force=force):
            return
        applying.upload(api, screen, prepared)
        applied = api.submit(prepared, planned, force=force)
        if detach:
            screen.data(applied.run_name)
            return
        for line in applying.follow(api, screen, applied, applying.shown_token(os.environ, sys.stdout.isatty())):
            screen.data(line)
