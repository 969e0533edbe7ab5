"""`homeport doctor`: what works between this machine and a published service, and what does not."""

import json
import os
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from homeport_cli.commands import verbs
from homeport_cli.context import terminal
from homeport_cli.doctor import examine, examine_host
from homeport_cli.errors import CliError

app = verbs()
STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command("doctor")
def doctor(
    host: Annotated[
        bool, typer.Option("--host", help="Check this machine instead: what it needs to run services.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One object with all checks, once they are done.")] = False,
) -> None:
    """Check everything between this machine and a published service.

    Each line is `ok`, `warn` or `fail`, what was looked at, what was found and what to do. Every check has a deadline of
    seconds. The exit code is 1 when one of them fails.

    With --host, run on a host as root or as the user of its agent: the NVIDIA driver, whether a container can see a
    GPU, Docker, disk, clock and ports.
    """
    screen = terminal()
    done = []
    for check in examine_host() if host else examine(os.environ):
        done.append(check)
        if not as_json:
            line = str(check)
            screen.data(Text.assemble((line[:4], STYLES[check.state]), line[4:]) if screen.out.is_terminal else line)
    if as_json:
        screen.data(json.dumps({"checks": [asdict(check) for check in done]}, indent=2, ensure_ascii=False))
    if failed := sum(check.state == "fail" for check in done):
        raise CliError(f"{failed} of {len(done)} checks failed")
