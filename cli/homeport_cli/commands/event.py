"""`homeport event`: what changed, who did it and what it followed from; the audit log."""

from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli import render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError
from homeport_cli.eventtext import EventText, json_lines

app = verbs()
KINDS = ("run", "replica", "host", "gateway", "token", "user", "server")


@app.command("event")
def event(
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Go on as they happen, until Ctrl-C.")] = False,
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Of this run and its replicas.")] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="NAME", help="Of this host.")] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", metavar="NAME", help="Of this gateway.")] = None,
    token: Annotated[str | None, typer.Option("--token", metavar="NAME", help="Of tokens of this name.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Of this user.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help=f"Of things of this kind: {', '.join(KINDS)}.")] = None,
    cause: Annotated[str, typer.Option("--cause", metavar="ID", help="All that followed from one thing.")] = "",
    since: Annotated[str | None, typer.Option("--since", help="Not older than this: 30s, 5m, 2h, 3d.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The newest so many.")] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="The API's own objects; with -w one event on each line.")
    ] = False,
) -> None:
    """List what changed, who did it, and what it followed from. Kept for 30 days."""
    names = {"run": run, "host": host, "gateway": gateway, "token": token, "user": user}
    given = {flag: value for flag, value in names.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"--{' and --'.join(given)}: name one thing; `--cause` follows a story over several")
    if kind is not None and kind not in KINDS:
        raise UsageError(f"--kind: `{kind}` is not a kind; write one of {', '.join(KINDS)}")
    if kind is not None and given and not (run is not None and kind in {"run", "replica"}):
        raise UsageError(f"--kind and --{next(iter(given))}: only `--run NAME --kind replica` can go together")
    of_kind, name = next(iter(given.items()), ("", ""))
    request = api_pb2.EventsRequest(
        follow=watch,
        kind=kind or of_kind,
        name=name,
        cause_id=cause,
        since_s=seconds(since, "--since") if since else 0,
        limit=limit,
    )
    screen, text = terminal(), EventText()
    with connect() as api:
        answers = api.read_events(request, on_notice=screen.say)
        if watch:
            for answer in answers:
                for line in json_lines(answer.events) if as_json else text.lines(answer.events):
                    screen.data(line)
            return
        found = [event for answer in answers for event in answer.events]
    if as_json:
        screen.data(render.json_text(api_pb2.EventsResponse(events=found, last_id=found[-1].id if found else 0)))
    elif found:
        screen.data("\n".join(text.lines(found)))
    else:
        screen.say("No such events.")
