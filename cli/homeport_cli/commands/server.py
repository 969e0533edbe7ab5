"""`homeport server`: becomes the server process; its own flags and errors."""

import typer

from homeport_cli.commands import verbs
from homeport_cli.programs import PASS_ALL, become

app = verbs()


@app.command("server", context_settings=PASS_ALL, add_help_option=False)
def server(ctx: typer.Context) -> None:
    """Run the server: `homeport server --help` lists its flags."""
    become("homeport_control", "server", ctx.args)
