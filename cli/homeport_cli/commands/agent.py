"""`homeport agent`: becomes the agent process; its own flags and errors."""

import typer

from homeport_cli.commands import verbs
from homeport_cli.programs import PASS_ALL, become

app = verbs()


@app.command("agent", context_settings=PASS_ALL, add_help_option=False)
def agent(ctx: typer.Context) -> None:
    """Run the agent of this host: `homeport agent --help` lists its flags."""
    become("homeport_agent", "agent", ctx.args)
