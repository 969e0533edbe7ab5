"""`homeport rollback`: back to the revision before the present one, and waits until it serves."""

from typing import Annotated

import typer
from homeport import Failed
from homeport.verdicts import Failure

from homeport_cli.commands import verbs
from homeport_cli.completing import run_names
from homeport_cli.context import connect, terminal
from homeport_cli.watch import until_rolled_back

app = verbs()


@app.command("rollback")
def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The run.", autocompletion=run_names)],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    detach: Annotated[bool, typer.Option("-d", "--detach", help="Do not wait until it serves.")] = False,
) -> None:
    """Go back to the revision before the present one, make before break.

    The present one is given up, also for later: once more goes one further back, and an apply makes a new revision.
    """
    screen = terminal()
    with connect() as api:
        plan = api.plan_rollback(name)
        by = f" (applied by {plan.to_user}, {plan.to_created_at.ToDatetime():%Y-%m-%d %H:%M} UTC)"
        screen.say(f"{name}: from revision {plan.from_revision} back to revision {plan.to_revision}{by}")
        if not screen.confirm(f"Roll {name} back?", yes=yes):
            screen.say("Nothing was changed.")
            return
        done = api.rollback(name, from_revision=plan.from_revision, wait=False)
        if detach:
            screen.say(f"{name} goes back to revision {done.to_revision}: `homeport ps`")
            return
        try:
            end = until_rolled_back(api, screen, done.run_id, name, done.to_revision)
        except KeyboardInterrupt:
            screen.say(f"Not waiting any longer; {name} goes on going back: `homeport ps`")
            raise
    if isinstance(end, Failure):
        raise Failed(end.reason, end.log_tail)
    screen.say(f"{name} is back at revision {done.to_revision}")
