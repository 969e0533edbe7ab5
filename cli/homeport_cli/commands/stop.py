"""`homeport stop`: stops runs and waits until nothing of them is left."""

from typing import Annotated

import typer

from homeport_cli.commands import verbs
from homeport_cli.completing import run_names
from homeport_cli.context import connect, terminal
from homeport_cli.stopping import stop_and_wait

app = verbs()


@app.command("stop")
def stop(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The runs.", autocompletion=run_names)],
    abort: Annotated[bool, typer.Option("-x", "--abort", help="At once: no drain, SIGKILL.")] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Do not wait until they are stopped.")] = False,
) -> None:
    """Stop runs: drain, then SIGTERM, then SIGKILL after the run's stop_duration."""
    with connect() as api:
        stop_and_wait(api, terminal(), names, verb="Abort" if abort else "Stop", abort=abort, yes=yes, wait=not detach)
