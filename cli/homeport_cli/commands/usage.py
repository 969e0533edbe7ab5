"""`homeport usage`: who called what, how often, and how many tokens models said it took."""

from typing import Annotated

import typer

from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError
from homeport_cli.render import json_text
from homeport_cli.usagetable import usage as table

app = verbs()
BY = ("token", "service", "model", "user", "hour", "day")


@app.command("usage")
def usage(
    since: Annotated[str | None, typer.Option("--since", help="Of this time, in whole hours: 2h, 1d, 4w.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", metavar="WHAT", help=f"A row for each of: {', '.join(BY)}; several with commas."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own object.")] = False,
) -> None:
    """Show who called what: requests, and the tokens that models counted.

    Kept by the hour for 31 days and by the day for 400. You see what your own tokens called, an admin all.
    """
    told = [word.strip() for text in by or ["token,service,model"] for word in text.split(",")]
    for word in told:
        if word not in BY:
            raise UsageError(f"--by: `{word}` is none of {', '.join(BY)}")
    if {"hour", "day"} <= set(told):
        raise UsageError("--by: choose hour or day, not both")
    with connect() as api:
        answer = api.usage(since_s=seconds(since, "--since") if since else 0, by=list(dict.fromkeys(told)))
    terminal().data(json_text(answer) if as_json else table(answer, list(dict.fromkeys(told))))
