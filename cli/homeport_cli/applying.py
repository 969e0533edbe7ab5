"""The steps of `apply`, each a function: code, plan, confirm, upload, submit, follow.

What it does not cover: flags, and how it all looks.
"""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from homeport_protos.api.v1 import api_pb2

from homeport_cli import config, render
from homeport_cli.client import Api
from homeport_cli.context import Terminal
from homeport_cli.documents import sends_code, sends_folder
from homeport_cli.errors import CliError
from homeport_cli.manifest import Manifest
from homeport_cli.progress import Failure
from homeport_cli.stopping import offer_to_stop
from homeport_cli.watch import until_deployed

if TYPE_CHECKING:
    from homeport_cli.code.sending import Checked


def code(api: Api, source: Manifest, wanted: api_pb2.Document, *, no_repo: bool) -> "Checked | None":
    """What code goes along: looked through, and known to the server from here on; None: none does. Sets `wanted.code_id`.

    Raises UsageError for what cannot be sent; with problems in `files`, those of the whole document are told too.
    """
    content = json.loads(wanted.json)
    if not sends_code(content):
        return None
    from homeport_cli.code import bundle, mappings, sending  # only `apply` of a service pays for it

    mapped, problems = mappings.read(content, os.path.dirname(os.path.abspath(source.path)))
    if problems:
        source.refuse([*api.plan(wanted).problems, *problems])
    gathered = bundle.gather(str(source.path), mapped, repo=not no_repo and sends_folder(content))
    if gathered is None:
        return None
    checked = sending.check(api, gathered)
    wanted.code_id = checked.code_id
    return checked


def upload(api: Api, terminal: Terminal, checked: "Checked | None") -> None:
    """Send what the server lacks. Raises CliError."""
    if checked is not None:
        from homeport_cli.code import sending

        sending.send(api, terminal, checked)


def plan(
    api: Api,
    terminal: Terminal,
    source: Manifest,
    wanted: api_pb2.Document,
    checked: "Checked | None" = None,
    *,
    as_data: bool,
    as_json: bool = False,
) -> api_pb2.PlanResponse:
    """Ask the server what would happen, and show it: with `as_data` it is what was asked for, and goes to standard output.

    Raises UsageError for a document with problems.
    """
    answer = api.plan(wanted)
    source.refuse(answer.problems)
    if checked is not None:
        from homeport_cli.code import sending

        # The server says which code it is; only we know where it comes from and what is left to send.
        row = next((row for row in answer.properties if row.name == "Code"), None) or answer.properties.add(name="Code")
        row.value = sending.row(checked)
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


def submit(
    api: Api, source: Manifest, wanted: api_pb2.Document, planned: api_pb2.PlanResponse, *, force: bool
) -> api_pb2.ApplyResponse:
    """Raises CliError, also when what was planned on has changed meanwhile."""
    # The name that was shown and confirmed: without one in the document the server would draw another.
    wanted.name = planned.run_name
    answer = api.apply(api_pb2.ApplyRequest(document=wanted, plan_token=planned.plan_token, force=force))
    source.refuse(answer.problems)
    return answer


def follow(api: Api, terminal: Terminal, applied: api_pb2.ApplyResponse, token: str) -> list[str]:
    """Watch until it serves; the lines to end with. Raises CliError when it fails, KeyboardInterrupt."""
    name = applied.run_name
    try:
        run, end = until_deployed(api, terminal, applied)
    except KeyboardInterrupt:
        offer_to_stop(api, terminal, name)
        raise
    if isinstance(end, Failure):
        tail = ["", "The last lines of its log:", *end.log_tail] if end.log_tail else []
        raise CliError(end.reason, tail)
    return render.published(run, token)


def shown_token(environ: Mapping[str, str], is_terminal: bool) -> str:
    """What stands for the token in the line to paste: the secret itself only on the user's own screen, never in a log."""
    settings = config.load(environ)
    if settings.token_is_from_environment or not is_terminal:
        return "$HOMEPORT_TOKEN"
    return settings.token
