"""The steps of `apply` that a user sees: plan, confirm, upload, follow. What they do is the client's (`homeport`).

What it does not cover: flags, and how it all looks.
"""

from collections.abc import Mapping

from homeport import Client, Failed, Prepared, config
from homeport.verdicts import Failure
from homeport_protos.api.v1 import api_pb2

from homeport_cli import render
from homeport_cli.context import Terminal
from homeport_cli.stopping import offer_to_stop
from homeport_cli.watch import until_deployed


def plan(
    api: Client, terminal: Terminal, prepared: Prepared, *, as_data: bool, as_json: bool = False
) -> api_pb2.PlanResponse:
    """Ask the server what would happen, and show it: with `as_data` it is what was asked for, and goes to standard output.

    Raises Invalid for a document with problems.
    """
    answer = api.plan(prepared)
    if prepared.code is not None:
        from homeport_cli import sending

        # The server says which code it is; only we know where it comes from and what is left to send.
        row = next((row for row in answer.properties if row.name == "Code"), None) or answer.properties.add(name="Code")
        row.value = sending.row(prepared.code)
    (terminal.data if as_data else terminal.say)(render.json_text(answer) if as_json else render.plan(answer))
    return answer


def confirm(terminal: Terminal, planned: api_pb2.PlanResponse, *, yes: bool, force: bool) -> bool:
    """False: there is nothing to do, or the user said no. Raises UsageError when there is nobody to ask."""
    name = planned.run_name
    if planned.action == "unchanged" and not force:
        terminal.say(f"The run {name} is unchanged: nothing to do (--force applies it all the same).")
        return False
    how = "rolling" if force or not planned.how else planned.how
    update = f"Update the run {name}? ({how})"
    question = f"Submit the run {name}?" if planned.action in {"create", "replace"} else update
    if terminal.confirm(question, yes=yes):
        return True
    terminal.say("Nothing was submitted.")
    return False


def upload(api: Client, terminal: Terminal, prepared: Prepared) -> None:
    """Send what the server lacks of the code. Raises Error."""
    if prepared.code is not None:
        from homeport_cli import sending

        sending.send(api, terminal, prepared)


def follow(api: Client, terminal: Terminal, applied: api_pb2.ApplyResponse, token: str) -> list[str]:
    """Watch until it serves; the lines to end with. Raises Error when it fails, KeyboardInterrupt."""
    name = applied.run_name
    try:
        run, end = until_deployed(api, terminal, applied)
    except KeyboardInterrupt:
        offer_to_stop(api, terminal, name)
        raise
    if isinstance(end, Failure):
        raise Failed(end.reason, end.log_tail)
    return render.published(run, token)


def shown_token(environ: Mapping[str, str], is_terminal: bool) -> str:
    """What stands for the token in the line to paste: the secret itself only on the user's own screen, never in a log."""
    settings = config.load(environ)
    if settings.token_is_from_environment or not is_terminal:
        return "$HOMEPORT_TOKEN"
    return settings.token
