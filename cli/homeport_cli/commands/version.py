"""`homeport version`: which Homeport this is."""

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from homeport_cli.commands import verbs

app = verbs()


@app.command("version")
def show(as_json: Annotated[bool, typer.Option("--json", help='As {"version": "…"}.')] = False) -> None:
    """Print the version."""
    try:
        number = version("homeport")
    except PackageNotFoundError:
        number = "unknown (run from its sources)"
    typer.echo(json.dumps({"version": number}) if as_json else number)
