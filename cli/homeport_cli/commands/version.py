"""`homeport version`: which Homeport this is."""

from importlib.metadata import PackageNotFoundError, version

import typer

from homeport_cli.commands import verbs

app = verbs()


@app.command("version")
def show() -> None:
    """Print the version."""
    try:
        typer.echo(version("homeport"))
    except PackageNotFoundError:
        typer.echo("unknown (run from its sources)")
